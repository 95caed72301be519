"""Which errors of a candidate are worth asking the next best one."""

from collections.abc import Mapping

_STATUSES = frozenset({408, 409, 425, 429})

# Errors of connection in clients that derive from neither TimeoutError nor ConnectionError: OpenAI's and Anthropic's,
# httpx's, aiohttp's, and the two of requests.
_NAMES = frozenset({"APIConnectionError", "TransportError", "ClientConnectionError", "ConnectionError", "Timeout"})


def is_transient(error: Exception) -> bool:
    """Whether the error tells of the moment and not of the request, so that another candidate may well answer.

    True of rate limits, timeouts, lost connections and server errors (5xx), whichever client raises them; false of a
    rejected request or key, which falling back would hide. The LangChain adapter decides alike.
    """
    if isinstance(error, TimeoutError | ConnectionError) or getattr(error, "is_retryable", None) is True:
        return True
    status = _status(error)
    if status is not None:
        return status in _STATUSES or 500 <= status < 600
    return any(base.__name__ in _NAMES for base in type(error).__mro__)


def _status(error: Exception) -> int | None:
    """The HTTP status, wherever the client keeps it."""
    response = getattr(error, "response", None)
    places = [getattr(error, name, None) for name in ("status_code", "http_status", "code", "status")]
    if isinstance(response, Mapping):  # boto
        places.append((response.get("ResponseMetadata") or {}).get("HTTPStatusCode"))
    else:
        places.append(getattr(response, "status_code", None))
    # A code may also be a client's own number.
    return next((int(each) for each in places if isinstance(each, int) and 100 <= each < 600), None)
