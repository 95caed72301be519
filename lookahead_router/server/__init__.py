"""The server: one OpenAI-compatible address, behind which the router chooses among the candidates of a pool file."""
