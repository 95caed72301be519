"""`python -m lookahead_router` is the command `lookahead-router`."""

from lookahead_router.cli.main import main

if __name__ == "__main__":
    main()
