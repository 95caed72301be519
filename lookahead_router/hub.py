"""The border to huggingface_hub: names of repositories, files in its cache that are mended, and whatever goes wrong as
`HubError`, with what to do next and without the token."""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict
from urllib.parse import urlsplit

from lookahead_router.errors import CheckpointError, HubError, LookaheadRouterError

# Read when huggingface_hub is imported: what else is installed here, and which agent runs it, is nobody's business.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

_REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
COMMIT = re.compile(r"[0-9a-f]{40}")
"""What a full commit reads like."""


class HubOptions(TypedDict, total=False):
    """How to reach a repository of the Hub; what is absent is as huggingface_hub has it from the environment."""

    revision: str | None
    """Branch, tag or 40-digit commit; the main branch when absent. A commit that is in the cache is read
    without asking the Hub."""
    token: str | bool | None
    """A token, or `False` to send none."""
    cache_dir: str | Path | None
    local_files_only: bool
    """Read the cache and never the network."""
    endpoint: str | None
    """Base URL of a server that speaks the Hub's protocol."""


def is_repo_id(location: str | Path | None) -> bool:
    """Whether a location reads `org/name`, as a string, and is no folder here."""
    return isinstance(location, str) and bool(_REPO_ID.fullmatch(location)) and not os.path.exists(location)


@dataclass(frozen=True)
class Snapshot:
    """Files of one commit of a repository, in the cache of huggingface_hub."""

    repo_id: str
    path: Path
    """`<cache>/models--org--name/snapshots/<commit>`, whose files are links into `models--org--name/blobs`."""
    patterns: tuple[str, ...]
    """Patterns of the names that were asked for."""
    options: HubOptions = field(repr=False)
    repo_type: str = "model"

    @property
    def commit(self) -> str:
        """40 hex digits."""
        return self.path.name

    @property
    def root(self) -> Path:
        """The repository's folder in the cache, which links point into."""
        return self.path.parent.parent

    def names(self) -> list[str]:
        """The files that are there."""
        return sorted(path.relative_to(self.path).as_posix() for path in self.path.rglob("*") if path.is_file())

    def damaged(self) -> list[str]:
        """The files whose content is not what their blob is called after; mirrors may call theirs otherwise."""
        return [name for name in self.names() if not _is_as_named((self.path / name).resolve())]

    def mend(self, names: Iterable[str]) -> None:
        """Fetches files again that are damaged in the cache.

        Raises:
            CheckpointError: the Hub cannot be reached; says what to delete.
        """
        names = list(names)
        try:
            if self.options.get("local_files_only"):
                raise HubError("only the cache was to be used", repo_id=self.repo_id)
            import huggingface_hub

            options: dict[str, Any] = {**self.options, "revision": self.commit, "repo_type": self.repo_type}
            with hub_errors(self.repo_id, self.commit):
                for name in names:
                    huggingface_hub.hf_hub_download(self.repo_id, name, force_download=True, **who_asks(), **options)
        except HubError as error:
            reason = str(error).partition(": ")[2]
            raise CheckpointError(
                f"{', '.join(names)} is damaged in the cache, and cannot be fetched again now: {reason}. Load it once "
                f"with the network, or delete {self.root}",
                location=self.repo_id,
            ) from None


def fetch_snapshot(
    repo_id: str, patterns: Sequence[str], options: HubOptions, *, repo_type: str = "model", instead: str = "folder"
) -> Snapshot:
    """The files of a repository whose names match, all of one commit.

    Args:
        repo_id: `org/name`.
        patterns: of names, with `*`.
        options: how to reach it; with `local_files_only`, whatever of them the cache holds.
        repo_type: `model` or `dataset`.
        instead: what the caller could be given in place of a repository, for messages.

    Raises:
        HubError: the repository cannot be read; says what to do.
    """
    import huggingface_hub

    _check_access(repo_id, options)
    with hub_errors(repo_id, options.get("revision"), instead=instead):
        path = huggingface_hub.snapshot_download(
            repo_id, repo_type=repo_type, allow_patterns=list(patterns), **who_asks(), **options
        )
    return Snapshot(repo_id, Path(path), tuple(patterns), options, repo_type)


def who_asks() -> dict[str, str]:
    """Who asks, for the Hub, and no more: a program may have imported huggingface_hub before this module could ask it
    to be silent."""
    from huggingface_hub import constants

    from lookahead_router import __version__

    if os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1":
        constants.HF_HUB_DISABLE_TELEMETRY = True

    return {"library_name": "lookahead-router", "library_version": __version__}


def _is_as_named(blob: Path) -> bool:
    """Whether a blob's content has the hash that it is called after; true where the name is no hash."""
    if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", blob.name):
        return True
    with blob.open("rb") as file:
        if len(blob.name) == 64:
            return hashlib.file_digest(file, "sha256").hexdigest() == blob.name
        content = file.read()  # small: large files are stored by SHA-256
    header = b"blob %d\0" % len(content)
    return blob.name in (hashlib.sha1(header + content).hexdigest(), hashlib.sha1(content).hexdigest())


def _check_access(repo_id: str, options: HubOptions) -> None:
    """Raises `HubError` for a token or an endpoint that no request can be made with, before it is in one."""
    from huggingface_hub import constants, get_token

    def refuse(message: str) -> None:
        raise HubError(message, repo_id=repo_id, revision=options.get("revision"))

    token = options.get("token")
    if token is None and not options.get("local_files_only"):
        token = get_token()
    if not isinstance(token, bool | None):
        if not isinstance(token, str) or not token:
            refuse("the token is empty or no text; pass one that begins with hf_, or token=False for none")
        if not re.fullmatch(r"[!-~]+", token):
            refuse("the token holds a line break, a space or another character that no token has; copy it again")
    endpoint = options.get("endpoint") or constants.ENDPOINT
    try:
        parts = urlsplit(str(endpoint))
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        is_url = False
    if not is_url:
        refuse("the endpoint is no URL; expected one like https://huggingface.co in endpoint= or HF_ENDPOINT")


@contextmanager
def hub_errors(repo_id: str, revision: str | None = None, *, instead: str | None = "folder") -> Iterator[None]:
    """Raises `HubError` for whatever goes wrong in the block, and for nothing else.

    What huggingface_hub raised is not kept as the cause: its requests hold the token.

    Args:
        repo_id: `org/name`.
        revision: branch, tag or commit that was asked for.
        instead: what the caller could be given in place of a repository, for the message; `None` for nothing.
    """
    try:
        yield
    except LookaheadRouterError:
        raise
    except Exception as error:
        translated = _translated(error, repo_id, revision, instead)
        try:
            raise translated
        except HubError:
            translated.__context__ = None
            raise


def _translated(error: Exception, repo_id: str, revision: str | None, instead: str | None) -> HubError:
    import huggingface_hub.errors as hub
    from huggingface_hub.utils import httpx  # the one that it uses itself, which differs between versions

    def make(message: str, *, is_retryable: bool = False) -> HubError:
        return HubError(message, repo_id=repo_id, revision=revision, is_retryable=is_retryable)

    if isinstance(error, ValueError) and isinstance(error.__cause__, hub.HfHubHTTPError | httpx.TransportError):
        error = error.__cause__  # what kept a file from being fetched again
    if isinstance(error, hub.LocalTokenNotFoundError):
        return make("no token is stored here; run 'hf auth login', set HF_TOKEN, or pass token=")
    if isinstance(error, hub.HFValidationError):
        return make(f"no valid repository name or revision: {error}")
    if isinstance(error, hub.HfHubHTTPError | hub.LocalEntryNotFoundError | hub.OfflineModeIsEnabled):
        return _answered(error, repo_id, revision, instead)
    if isinstance(error, httpx.TransportError | hub.FileMetadataError):
        return make(_unreachable(error, instead), is_retryable=True)
    if isinstance(error, RuntimeError):  # what stopped the thread of one file of an upload is its cause
        cause = error.__cause__
        if isinstance(cause, hub.HfHubHTTPError):
            return _answered(cause, repo_id, revision, instead)
        is_transport = isinstance(cause, httpx.TransportError)
        message = _unreachable(cause, instead) if is_transport else f"the transfer failed: {error}"
        return make(message, is_retryable=is_transport)
    if isinstance(error, OSError) and error.errno is None:  # huggingface_hub's own, such as a file that came short
        return make(f"the transfer failed: {error}; try again", is_retryable=True)
    if isinstance(error, OSError):
        advice = "free the disk, or set HF_HOME or cache_dir to a folder you may write"
        return make(f"cannot use the cache: {error}; {advice}")
    kind = type(error).__name__
    return make(f"huggingface_hub failed with {kind}; check token, endpoint and options{_or_pass(instead)}")


def _or_pass(instead: str | None) -> str:
    return f", or pass a {instead}" if instead else ""


def _unreachable(error: BaseException | None, instead: str | None) -> str:
    reason = type(error).__name__ if error is not None else "no connection"
    return f"cannot reach the Hub ({reason}); check the connection and HF_ENDPOINT, try again{_or_pass(instead)}"


def _answered(error: Exception, repo_id: str, revision: str | None, instead: str | None) -> HubError:
    """The error for an answer of the Hub, or for none. The order matters: a gated repository is also not found."""
    import huggingface_hub.errors as hub

    def make(message: str, *, is_retryable: bool = False) -> HubError:
        return HubError(
            message, repo_id=repo_id, revision=revision, status_code=_status_code(error), is_retryable=is_retryable
        )

    if isinstance(error, hub.LocalEntryNotFoundError):
        # Said of everything that kept it from the Hub when the cache could not help; the cause says which.
        cause = error.__cause__
        if isinstance(cause, hub.HfHubHTTPError):
            return _answered(cause, repo_id, revision, instead)
        if cause is None:
            return make("not in the cache, and only the cache was to be used; fetch it once with the network")
        if not isinstance(cause, hub.OfflineModeIsEnabled):
            return make(_unreachable(cause, instead), is_retryable=True)
        error = cause
    if isinstance(error, hub.OfflineModeIsEnabled):
        missing = " and this is not in the cache" if instead else ""
        return make(f"HF_HUB_OFFLINE is set{missing}; unset it once to go on{_or_pass(instead)}")
    if isinstance(error, hub.GatedRepoError):
        return make("access is gated; accept its terms on its page, then run 'hf auth login' or pass token=")
    if isinstance(error, hub.DisabledRepoError):
        return make("the Hub has disabled this repository; choose another one")
    if isinstance(error, hub.RepositoryNotFoundError):
        here = f"no such {instead} here, and " if instead else ""
        return make(f"{here}no such repository or a private one; check the name, run 'hf auth login', or pass token=")
    if isinstance(error, hub.RevisionNotFoundError):
        return make("no such revision; pass a branch, a tag or a full commit")
    if isinstance(error, hub.EntryNotFoundError):
        return make("a file went missing while it was fetched; try again")
    status = _status_code(error)
    if status in (401, 403):
        return make("not allowed; run 'hf auth login' with a token that may do this, or pass token=")
    if status == 409:
        return make("it changed meanwhile, or exists already; look at it and try again")
    if status == 429:
        return make("the Hub asks to slow down; wait some minutes, or log in for a higher limit", is_retryable=True)
    if status is not None and status >= 500:
        return make(f"the Hub answered {status}; try again later{_or_pass(instead)}", is_retryable=True)
    return make(f"the Hub answered {status}: {getattr(error, 'server_message', None) or 'no reason given'}")


def _status_code(error: Exception) -> int | None:
    response = getattr(error, "response", None)
    return getattr(response, "status_code", None)
