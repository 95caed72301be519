"""Datasets and routers in, reports out."""
