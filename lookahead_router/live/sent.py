"""What a failed call can have cost: nothing where nothing was sent, all of it where the end is not known."""

from collections.abc import Iterator
from typing import Any

_NEVER_SENT = {
    *("ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol", "InvalidURL"),  # httpx, requests
    *("ClientConnectorError", "ConnectionTimeoutError"),  # aiohttp
    *("NewConnectionError", "ConnectTimeoutError", "EndpointConnectionError"),  # urllib3, botocore
    *("ConnectionRefusedError", "gaierror"),
}
"""Errors of clients that had no connection yet, so that nothing was sent."""
_GATEWAY_TIMEOUTS = {499, 504, 524, 598, 599}
"""Statuses by which a gateway gives up; whoever answers behind it may go on, and be paid."""


def was_free(error: BaseException) -> bool:
    """Whether a call that failed surely cost nothing: the endpoint refused it, or nothing was sent."""
    statuses = [status for each in _causes(error) if isinstance(status := getattr(each, "status_code", None), int)]
    if statuses:
        return statuses[0] >= 400 and statuses[0] not in _GATEWAY_TIMEOUTS
    return any(base.__name__ in _NEVER_SENT for base in type(root_of(error)).__mro__)


def root_of(error: BaseException) -> BaseException:
    """The innermost error that a client made; what others take it for says less."""
    for cause in reversed(list(_causes(error))):
        if any(base.__name__ in _NEVER_SENT or base.__name__ == "ClientError" for base in type(cause).__mro__):
            return cause
    return error


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error, and what it comes from, down to the root; not what was handled when it came up."""
    seen: set[int] = set()
    cause: Any = error
    while isinstance(cause, BaseException) and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        inner = getattr(cause, "reason", None) or next(iter(cause.args), None)  # where urllib3 and requests keep it
        cause = cause.__cause__ or inner
