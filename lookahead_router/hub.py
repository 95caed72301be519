"""The border to huggingface_hub: names of repositories, and its errors as `HubError`, with what to do next."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

from lookahead_router.errors import HubError, LookaheadRouterError

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
    return isinstance(location, str) and bool(_REPO_ID.fullmatch(location)) and not Path(location).exists()


@contextmanager
def hub_errors(repo_id: str, revision: str | None = None, *, instead: str | None = "folder") -> Iterator[None]:
    """Raises `HubError` for whatever huggingface_hub raises in the block.

    Args:
        repo_id: `org/name`.
        revision: branch, tag or commit that was asked for.
        instead: what the caller could be given in place of a repository, for the message; `None` for nothing.
    """
    import huggingface_hub.errors as hub
    from huggingface_hub.utils import httpx  # the one that it uses itself, which differs between versions

    try:
        yield
    except LookaheadRouterError:
        raise
    except hub.LocalTokenNotFoundError as error:
        message = "no token is stored here; run 'hf auth login', set HF_TOKEN, or pass token="
        raise HubError(message, repo_id=repo_id, revision=revision) from error
    except hub.HFValidationError as error:
        raise HubError(f"no valid repository name or revision: {error}", repo_id=repo_id, revision=revision) from error
    except (hub.HfHubHTTPError, hub.LocalEntryNotFoundError, hub.OfflineModeIsEnabled) as error:
        raise _translate(error, repo_id, revision, instead) from error
    except (httpx.TransportError, hub.FileMetadataError) as error:
        raise HubError(_unreachable(error, instead), repo_id=repo_id, revision=revision, is_retryable=True) from error
    except RuntimeError as error:  # what stopped the thread of one file of an upload is its cause
        cause = error.__cause__
        if isinstance(cause, hub.HfHubHTTPError):
            raise _translate(cause, repo_id, revision, instead) from error
        is_transport = isinstance(cause, httpx.TransportError)
        message = _unreachable(cause, instead) if is_transport else f"the transfer failed: {error}"
        raise HubError(message, repo_id=repo_id, revision=revision, is_retryable=is_transport) from error
    except OSError as error:
        if error.errno is None:  # huggingface_hub's own, such as a file that came short
            message = f"the transfer failed: {error}; try again"
            raise HubError(message, repo_id=repo_id, revision=revision, is_retryable=True) from error
        message = f"cannot use the cache: {error}; free the disk, or set HF_HOME or cache_dir to a folder you may write"
        raise HubError(message, repo_id=repo_id, revision=revision) from error


def _or_pass(instead: str | None) -> str:
    return f", or pass a {instead}" if instead else ""


def _unreachable(error: BaseException | None, instead: str | None) -> str:
    reason = type(error).__name__ if error is not None else "no connection"
    return f"cannot reach the Hub ({reason}); check the connection and HF_ENDPOINT, try again{_or_pass(instead)}"


def _translate(error: Exception, repo_id: str, revision: str | None, instead: str | None) -> HubError:
    """The order matters: a gated repository is also one that is not found."""
    import huggingface_hub.errors as hub

    def make(message: str, *, is_retryable: bool = False) -> HubError:
        return HubError(
            message, repo_id=repo_id, revision=revision, status_code=_status_code(error), is_retryable=is_retryable
        )

    if isinstance(error, hub.LocalEntryNotFoundError):
        # Said of everything that kept it from the Hub when the cache could not help; the cause says which.
        cause = error.__cause__
        if isinstance(cause, hub.HfHubHTTPError):
            return _translate(cause, repo_id, revision, instead)
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
