"""Hooks for other routers and proxies, which stand on the core alone."""
