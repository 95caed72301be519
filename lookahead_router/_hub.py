"""The border to huggingface_hub: its errors become `HubError`, with what to do next."""

from collections.abc import Iterator
from contextlib import contextmanager

from lookahead_router.errors import HubError, LookaheadRouterError


@contextmanager
def hub_errors(repo_id: str, revision: str | None = None) -> Iterator[None]:
    """Raises `HubError` for whatever huggingface_hub raises in the block."""
    import huggingface_hub.errors as hub

    try:
        yield
    except LookaheadRouterError:
        raise
    except hub.LocalTokenNotFoundError as error:
        message = "no token is stored here; run 'hf auth login', set HF_TOKEN, or pass token="
        raise HubError(message, repo_id=repo_id, revision=revision) from error
    except hub.HFValidationError as error:
        raise HubError(f"no valid repository name or revision: {error}", repo_id=repo_id, revision=revision) from error
    except hub.OfflineModeIsEnabled as error:
        raise HubError(_OFFLINE, repo_id=repo_id, revision=revision) from error
    except (hub.HfHubHTTPError, hub.LocalEntryNotFoundError) as error:
        raise _translate(error, repo_id, revision) from error
    except (*_transport_errors(), hub.FileMetadataError) as error:
        raise HubError(_unreachable(error), repo_id=repo_id, revision=revision, is_retryable=True) from error
    except RuntimeError as error:  # what stopped the thread of one file of an upload is its cause
        cause = error.__cause__
        if isinstance(cause, hub.HfHubHTTPError):
            raise _translate(cause, repo_id, revision) from error
        is_transport = isinstance(cause, _transport_errors())
        message = _unreachable(cause) if is_transport else f"the transfer failed: {error}"
        raise HubError(message, repo_id=repo_id, revision=revision, is_retryable=is_transport) from error
    except OSError as error:
        if error.errno is None:  # huggingface_hub's own, such as a file that came short
            message = f"the transfer failed: {error}; try again"
            raise HubError(message, repo_id=repo_id, revision=revision, is_retryable=True) from error
        message = f"cannot use the cache: {error}; free the disk, or set HF_HOME or cache_dir to a folder you may write"
        raise HubError(message, repo_id=repo_id, revision=revision) from error


_OFFLINE = "HF_HUB_OFFLINE is set and this is not in the cache; unset it once to fetch, or pass a folder"


def _transport_errors() -> tuple[type[Exception], ...]:
    import huggingface_hub

    if int(huggingface_hub.__version__.partition(".")[0]) < 1:
        import requests

        return (requests.ConnectionError, requests.Timeout)
    httpx = getattr(huggingface_hub.utils, "httpx", None)  # its own copy, in newer versions
    if httpx is None:
        import httpx
    return (httpx.TransportError,)


def _unreachable(error: BaseException | None) -> str:
    reason = type(error).__name__ if error is not None else "no connection"
    return f"cannot reach the Hub ({reason}); check the connection and HF_ENDPOINT, try again, or pass a folder"


def _translate(error: Exception, repo_id: str, revision: str | None) -> HubError:
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
            return _translate(cause, repo_id, revision)
        if isinstance(cause, hub.OfflineModeIsEnabled):
            return make(_OFFLINE)
        if cause is None:
            return make("not in the cache, and only the cache was to be used; fetch it once with the network")
        return make(_unreachable(cause), is_retryable=True)
    if isinstance(error, hub.GatedRepoError):
        return make("access is gated; accept its terms on its page, then run 'hf auth login' or pass token=")
    if isinstance(error, hub.DisabledRepoError):
        return make("the Hub has disabled this repository; choose another one")
    if isinstance(error, hub.RepositoryNotFoundError):
        return make(
            "no such folder here, and no such repository or a private one; check the name, run 'hf auth login', or "
            "pass token="
        )
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
        return make(f"the Hub answered {status}; try again later, or pass a folder", is_retryable=True)
    return make(f"the Hub answered {status}: {getattr(error, 'server_message', None) or 'no reason given'}")


def _status_code(error: Exception) -> int | None:
    response = getattr(error, "response", None)
    return getattr(response, "status_code", None)
