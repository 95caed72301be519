"""The `lookahead-router` command, one file per subcommand."""
