"""Routing data: examples and outcomes, the columnar dataset, its readers and writers."""
