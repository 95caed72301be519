"""`lookahead-router push`: a saved predictor to the Hugging Face Hub."""

from pathlib import Path
from typing import Annotated

import typer


def push(
    folder: Annotated[Path, typer.Argument(help="Folder of a saved predictor with its model card.")],
    repo_id: Annotated[str, typer.Argument(help="org/name on the Hub; created if need be.")],
    public: Annotated[bool, typer.Option("--public", help="A repository that is created is public.")] = False,
    revision: Annotated[str | None, typer.Option(help="Branch to commit to.")] = None,
    tag: Annotated[str | None, typer.Option(help="Tag of the new commit.")] = None,
    pull_request: Annotated[bool, typer.Option("--pull-request", help="Open a pull request instead.")] = False,
    message: Annotated[str | None, typer.Option(help="Of the commit.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and list; send nothing.")] = False,
) -> None:
    """Check a saved predictor and send it in one commit.

    The token is that of 'hf auth login' or HF_TOKEN, with the right to write. After a dropped connection
    run it again: files that have arrived are not sent twice.
    """
    from rich.console import Console
    from rich.table import Table

    from lookahead_router.saved.push import push_folder

    upload = push_folder(
        folder,
        repo_id,
        private=not public,
        revision=revision,
        tag=tag,
        create_pr=pull_request,
        message=message,
        dry_run=dry_run,
    )
    table = Table("file", "MB")
    for name, size in upload.files.items():
        table.add_row(name, f"{size / 1e6:.2f}")
    console = Console()
    console.print(table)
    console.print(f"sent to {upload.url}" if upload.url else f"dry run: nothing was sent to {repo_id}", highlight=False)
