"""What a client is told where there is no answer: a status and an error in OpenAI's shape."""

import json
import math
from typing import Any

from starlette.responses import Response

from lookahead_router.errors import ConfigurationError, DataError, PrivacyError, PromptError, UnknownCandidateError
from lookahead_router.failures import Failure, failure_of, retry_after

_OF_FAILURE = {
    Failure.RATE_LIMIT: (429, "rate_limit_error"),
    Failure.OVERLOAD: (503, "server_error"),
    Failure.TIMEOUT: (504, "server_error"),
    Failure.CONTEXT_OVERFLOW: (400, "invalid_request_error"),
    Failure.CONTENT_FILTER: (400, "invalid_request_error"),
    Failure.UNSUPPORTED: (400, "invalid_request_error"),
    Failure.BAD_REQUEST: (400, "invalid_request_error"),
}
"""Status and type of an error by the class of the last candidate's failure; for the others, 502 and `server_error`."""
_TOLD = (Failure.CONTEXT_OVERFLOW, Failure.CONTENT_FILTER, Failure.UNSUPPORTED, Failure.BAD_REQUEST)
"""Failures that the request brought about: the candidate's own words about it are the client's to read."""


class Refusal(Exception):
    """A request that is not answered, and why."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error = {"message": message, "type": kind, "param": param, "code": code}
        self.retry_after = retry_after
        """Seconds, at least 0."""
        self.body: bytes | None = None
        """A candidate's own words, in place of `error`."""
        self.failure: Failure | None = None
        """Why the last candidate failed, if one was asked."""

    def __reduce__(self):
        return _again, (self.__dict__,)

    def response(self, headers: dict[str, str] | None = None) -> Response:
        """The refusal as HTTP."""
        headers = dict(headers or {})
        if self.retry_after is not None:
            headers["retry-after"] = str(max(1, math.ceil(self.retry_after)))
        if self.status == 401:
            headers["www-authenticate"] = "Bearer"
        body = json.dumps({"error": self.error}).encode() if self.body is None else self.body
        return Response(body, self.status, headers, media_type="application/json")


def _again(said: dict[str, Any]) -> Refusal:
    refusal = Refusal(said["status"], said["error"]["message"])
    refusal.__dict__ |= said
    return refusal


def refusal_of(error: Exception) -> Refusal | None:
    """The refusal that one of our own errors stands for; `None` for what is no fault of the request."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, UnknownCandidateError):
        message = f"no model {error.name!r} here; GET /v1/models lists them"
        return Refusal(404, message, code="model_not_found", param="model")
    if isinstance(error, PrivacyError):
        return Refusal(400, str(error), code="private_data")
    if isinstance(error, RecursionError):
        return Refusal(400, "the body is nested too deeply")
    if isinstance(error, PromptError | DataError | ConfigurationError):
        return Refusal(400, str(error))
    return None


def failed(record: dict[str, Any], error: Exception) -> Refusal:
    """The refusal where every candidate that was asked failed, the last one with this error.

    Its own words are passed on where the request is to blame. Others may tell of the operator's keys and quotas.
    """
    failure = failure_of(error)
    status, kind = _OF_FAILURE.get(failure, (502, "server_error"))
    asked = ", ".join(f"{each['candidate']} ({each['failure']})" for each in record["attempts"])
    refusal = Refusal(status, f"no candidate answered: {asked}", kind=kind, code=failure.value.replace(" ", "_"))
    refusal.failure, refusal.retry_after = failure, retry_after(error)
    if failure in _TOLD:
        told = getattr(error, "told", None)
        if told is not None:
            refusal.status, refusal.body = told
    return refusal
