"""`python -m lookahead_router` is the command `lookahead-router`."""

from lookahead_router.cli.main import run

if __name__ == "__main__":
    run()
