"""Local stand-ins of remote services, for the tests of the core and of the adapters."""
