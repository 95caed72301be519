"""`lookahead-router push`: a saved predictor to the Hugging Face Hub."""

from pathlib import Path
from typing import Annotated

import typer

from lookahead_router.cli._output import show, show_table, size


def push(
    folder: Annotated[Path, typer.Argument(help="Folder of a saved predictor with its model card.")],
    repo_id: Annotated[str, typer.Argument(help="org/name on the Hub; created if need be.")],
    public: Annotated[bool, typer.Option("--public", help="A repository that is created is public.")] = False,
    revision: Annotated[str | None, typer.Option(help="Branch to commit to.")] = None,
    tag: Annotated[str | None, typer.Option(help="Tag of the new commit.")] = None,
    pull_request: Annotated[bool, typer.Option("--pull-request", help="Open a pull request instead.")] = False,
    message: Annotated[str | None, typer.Option(help="Message of the commit.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and list; send nothing.")] = False,
) -> None:
    """Check a saved predictor and send it in one commit.

    The token is that of 'hf auth login' or HF_TOKEN, with the right to write. After a dropped connection
    run it again: files that have arrived are not sent twice.
    """
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
    show_table(("file", "size"), [(name, size(n_bytes)) for name, n_bytes in upload.files.items()])
    show(f"sent to {upload.url}" if upload.url else f"dry run: nothing was sent to {repo_id}")
