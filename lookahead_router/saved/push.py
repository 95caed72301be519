"""Saved predictors to the Hugging Face Hub."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lookahead_router.errors import CheckpointError, ConfigurationError, HubError
from lookahead_router.hub import hub_errors, who_asks
from lookahead_router.saved.card import PLACEHOLDER
from lookahead_router.saved.folder import PredictorFolder


@dataclass(frozen=True)
class Upload:
    """What a push sent, or would send."""

    repo_id: str
    files: dict[str, int]
    """Bytes of every file, by its name in the repository."""
    url: str | None = None
    """Address of the commit or the pull request; `None` for a dry run."""
    commit: str | None = None
    """40 hex digits; `None` for a dry run."""


def push_folder(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool = True,
    revision: str | None = None,
    tag: str | None = None,
    create_pr: bool = False,
    message: str | None = None,
    dry_run: bool = False,
    token: str | bool | None = None,
    endpoint: str | None = None,
) -> Upload:
    """Checks a saved predictor and sends it in one commit; files of the layout that it lacks are removed there.

    Nothing becomes visible before the commit, and a file that has arrived is not sent again: after a
    dropped connection, push once more.

    Args:
        folder: of a saved predictor; with a model card.
        repo_id: `org/name`; created if need be.
        private: of a repository that is created; one that exists stays as it is.
        revision: branch to commit to, created from the main branch if need be; the main branch when absent.
        tag: name to give the new commit, for users to pin.
        create_pr: open a pull request in place of a commit to the branch.
        message: of the commit.
        dry_run: check and list, and send nothing.
        token: with the right to write; the one of `hf auth login` when absent.
        endpoint: base URL of the Hub.

    Raises:
        ConfigurationError: a pull request with a branch or a tag.
        CheckpointError: the folder is incomplete, damaged, or without a card.
        HubError: the Hub refused or cannot be reached.
    """
    if create_pr and (tag is not None or revision is not None):
        raise ConfigurationError("a pull request is for the main branch, and is tagged once merged; leave both out")
    from lookahead_router import __version__

    saved = PredictorFolder(Path(folder))
    files = checked_files(saved)
    message = message or f"lookahead-router {__version__}: {saved.read_config().name}"
    if dry_run:
        return Upload(repo_id, files)
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint, token=token, **who_asks())
    with hub_errors(repo_id, revision, instead=None):
        api.create_repo(repo_id, private=private, exist_ok=True)
        if tag is not None and tag in {ref.name for ref in api.list_repo_refs(repo_id).tags}:
            raise HubError(f"the tag {tag!r} exists already; choose another", repo_id=repo_id, revision=revision)
        if revision is not None:
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        changes = _changes(saved, files, api.list_repo_files(repo_id, revision=revision), repo_id)
        info = api.create_commit(repo_id, changes, revision=revision, create_pr=create_pr, commit_message=message)
        if tag is not None:
            api.create_tag(repo_id, tag=tag, revision=info.oid)
    return Upload(repo_id, files, url=info.pr_url or info.commit_url, commit=info.oid)


def _changes(saved: PredictorFolder, files: Iterable[str], there: Iterable[str], repo_id: str) -> list[Any]:
    """What makes a repository hold these files, and of the layout no others; what is not of it stays."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    gone = [name for name in there if name in saved.names() and name not in files]
    return [
        *(CommitOperationAdd(name, _content(saved, name, repo_id)) for name in files),
        *(CommitOperationDelete(name) for name in gone),
    ]


def _content(saved: PredictorFolder, name: str, repo_id: str) -> Path | bytes:
    """A file to send; the card's snippets get the name of the repository that they will stand in."""
    path = saved.path / name
    return path.read_text(encoding="utf-8").replace(PLACEHOLDER, repo_id).encode() if path == saved.card else path


def checked_files(saved: PredictorFolder) -> dict[str, int]:
    """Bytes of every file of the layout by name, once all are as recorded.

    Raises:
        CheckpointError: a part is missing, was damaged, or there is no card.
    """
    saved.check()
    config = saved.read_config()
    saved.read_pool()
    if not saved.card.is_file():
        raise CheckpointError(
            "no README.md: a repository needs a model card; write one with 'lookahead-router card'",
            location=saved.location,
            missing=["README.md"],
        )
    saved.verify(config, {*saved.files(), *(saved.path / name for name in config.files)})
    return {path.relative_to(saved.path).as_posix(): path.stat().st_size for path in saved.files()}
