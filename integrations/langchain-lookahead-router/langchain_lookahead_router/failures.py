"""Which failures of a candidate are worth another candidate."""

from typing import Any

_STATUSES = frozenset({408, 409, 425, 429})

# Clients raise these without a status code and without Python's own TimeoutError or ConnectionError as a base.
_NAMES = frozenset({"APIConnectionError", "ClientConnectionError", "ConnectionError", "Timeout", "TransportError"})


def is_transient(error: Exception) -> bool:
    """Whether the failure says something about the moment, not about the request.

    True for rate limits, timeouts, lost connections and server errors (5xx), whichever client raised
    them; false for a rejected request or key.

    Args:
        error: what a candidate raised.
    """
    if getattr(error, "is_retryable", None) is True or isinstance(error, TimeoutError | ConnectionError):
        return True
    status = _status(error)
    if status is not None:
        return status in _STATUSES or 500 <= status < 600
    return any(base.__name__ in _NAMES for base in type(error).__mro__)


def _status(error: Exception) -> int | None:
    response: Any = getattr(error, "response", None)
    values = [getattr(error, name, None) for name in ("status_code", "http_status", "code", "status")]
    if isinstance(response, dict):  # boto
        values.append((response.get("ResponseMetadata") or {}).get("HTTPStatusCode"))
    else:
        values.append(getattr(response, "status_code", None))
    # A code may also be a client's own number.
    return next((int(value) for value in values if isinstance(value, int) and 100 <= value < 600), None)
