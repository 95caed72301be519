"""Which class of failure an error belongs to, whichever client raised it and wherever the provider said so."""

import asyncio
import errno
import http.client
import json
import socket
import ssl
import time
import urllib.error
from email.utils import formatdate
from http import HTTPStatus

import pydantic
import pytest

from lookahead_router.errors import Failure, NoAnswerError, failure_of, is_transient
from lookahead_router.failures import TRANSIENT, retry_after


def error_with(message="x", kind=RuntimeError, **attributes):
    error = kind(message)
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


def named(name, *bases, message="x", module="of_a_client", **attributes):
    return error_with(message, type(name, bases or (Exception,), {"__module__": module}), **attributes)


def stumbled(module):
    """A mistake that was made within the code of a module."""
    try:
        exec("answer['choices']", {"__name__": module, "answer": None})
    except TypeError as error:
        return error


def another_form():
    class Answer(pydantic.BaseModel):
        n: int

    try:
        Answer(n="many")
    except pydantic.ValidationError as error:
        return error


class Response:
    def __init__(self, status_code, content=None, headers=None):
        self.status_code, self.headers = status_code, headers or {}
        self._content = content


def status(code, message="x", **attributes):
    return error_with(message, Exception, status_code=code, **attributes)


def openai(http_status, message="x", **error):
    """As the client raises it: the inner body is `body`, its keys are attributes too."""
    body = {"message": message, "type": None, "code": None, "param": None, **error}
    attributes = {} if http_status is None else {"status_code": http_status}
    return error_with(message, Exception, body=body, code=body["code"], type=body["type"], **attributes)


def anthropic(code, kind, message="x"):
    return status(code, message, body={"type": "error", "error": {"type": kind, "message": message}})


def google(code, name, message="x", *details):
    body = {"error": {"code": code, "message": message, "status": name, "details": list(details)}}
    return error_with(f"{code} {name}. {body}", Exception, code=code, status=name, details=body)


def aws(name, code, message="x"):
    response = {"Error": {"Code": name, "Message": message}}
    if code is not None:  # an event within a stream has none
        response["ResponseMetadata"] = {"HTTPStatusCode": code}
    return error_with(f"An error occurred ({name}): {message}", Exception, response=response)


def grpc(name):
    class RpcError(Exception):
        def code(self):
            return type("StatusCode", (), {"name": name, "value": (14, "x")})

        def details(self):
            return "x"

    return RpcError("x")


def raised_from(error, cause):
    error.__cause__ = cause
    return error


def raised_within(error, other, *, suppress=False):
    error.__context__, error.__suppress_context__ = other, suppress
    return error


CASES = {
    Failure.RATE_LIMIT: [
        status(420),
        openai(400, type="Throttling.RateQuota", code="Throttling.RateQuota"),
        aws("throttlingException", None, "in an event stream"),
        status(429),
        status(HTTPStatus.TOO_MANY_REQUESTS),
        error_with(response={"ResponseMetadata": {"HTTPStatusCode": 429}}),
        openai(429, "Request too large on tokens per min (TPM)", type="tokens", code="rate_limit_exceeded"),
        openai(None, type="rate_limit_exceeded"),
        openai(200, type="requests", code="rate_limit_exceeded"),
        ValueError({"message": "slow down", "type": "rate_limit_error", "code": "429"}),
        anthropic(200, "rate_limit_error"),
        google(429, "RESOURCE_EXHAUSTED", "Quota exceeded"),
        aws("ThrottlingException", 400),
        grpc("RESOURCE_EXHAUSTED"),
        named("ResourceExhausted"),
        error_with("Rate limit reached for requests"),
    ],
    Failure.OVERLOAD: [
        named("APIError", body="Model is overloaded", message="An error occurred during streaming"),
        openai(None, "x", code="ModelUnavailable"),
        status(503),
        status(529),
        anthropic(200, "overloaded_error", "Overloaded"),
        anthropic(400, "overloaded_error"),
        openai(None, "The engine is currently overloaded", type="engine_overloaded"),
        openai(None, "scripted overload", type="server_error_of_ours", code=503),
        google(503, "UNAVAILABLE"),
        aws("ServiceUnavailableException", 400),
        grpc("UNAVAILABLE"),
        error_with("The model is overloaded. Please try again later."),
        error_with(body={"error": "Model is overloaded", "error_type": "overloaded"}),
        Exception('{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}'),
    ],
    Failure.SERVER_ERROR: [
        named("APIError", body="upstream died", message="An error occurred during streaming"),
        named("APIError", body={"message": "x", "code": "a word of its own"}),
        named("ResponseError", status_code=-1),
        status(200, "of no known class, within an answer"),
        error_with(response=Response(200)),
        aws("modelStreamErrorException", None),
        status(424),
        named("RetryError", OSError),
        error_with("upstream connect error or disconnect/reset before headers"),
        status(500),
        status(502),
        status(409),
        openai(None, "The server had an error", type="server_error"),
        openai(200, type="server_error"),
        openai(400, type="server_error"),
        anthropic(200, "api_error"),
        google(500, "INTERNAL"),
        aws("InternalServerException", 500),
        error_with(response=Response(500)),
        error_with(is_retryable=True),
        ValueError({"error": {"type": "server_error", "message": "x"}}),
    ],
    Failure.TIMEOUT: [
        error_with("Request timed out."),
        named("ReadTimeoutError", type("HTTPClientError", (Exception,), {})),
        grpc("CANCELLED"),
        TimeoutError(),
        status(408),
        status(504),
        named("APITimeoutError", type("APIConnectionError", (Exception,), {})),
        named("ReadTimeout", type("TimeoutException", (Exception,), {})),
        grpc("DEADLINE_EXCEEDED"),
        raised_from(RuntimeError("wrapped"), TimeoutError()),
        urllib.error.URLError(TimeoutError()),
        raised_within(RuntimeError("the call failed"), TimeoutError()),
        status(499),
    ],
    Failure.CONNECTION: [
        raised_from(named("ClientResponseError", status=400), named("BadStatusLine", module="aiohttp.http_exceptions")),
        EOFError(),
        error_with("Server disconnected without sending a response."),
        error_with("Stream removed"),
        error_with("Received RST_STREAM with error code 2"),
        error_with("Connection reset by peer"),
        named("StreamClosedError", OSError),
        named("ProxyError"),
        OSError(errno.ENOTCONN, "not connected"),
        ConnectionResetError(),
        BrokenPipeError(),
        http.client.IncompleteRead(b"x"),
        http.client.RemoteDisconnected(),
        ssl.SSLEOFError(8, "EOF occurred in violation of protocol"),
        socket.gaierror(-3, "Temporary failure in name resolution"),
        OSError(errno.EHOSTUNREACH, "No route to host"),
        urllib.error.URLError(socket.gaierror(-2, "Name or service not known")),
        named("ClientPayloadError"),
        named("ChunkedEncodingError", OSError),
        named("ProtocolError"),
        named("RemoteProtocolError", type("TransportError", (Exception,), {})),
        named("ClientConnectionError", code=1006),  # a websocket's number, no status
        raised_from(named("ChatError"), ConnectionResetError()),
        ExceptionGroup("unhandled errors in a TaskGroup", [KeyError("x"), ConnectionResetError()]),
        raised_from(named("ToolError"), ExceptionGroup("of a TaskGroup", [named("ConnectError", ConnectionError)])),
        asyncio.IncompleteReadError(b"x", 2),
        named("BrokenResourceError"),
        named("EndOfStream"),
    ],
    Failure.NO_ANSWER: [
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        stumbled("langchain_openai.chat_models.base"),
        stumbled("llama_index.llms.openai.base"),
        stumbled("langchain_core.language_models.chat_models"),
        another_form(),
        named("LengthFinishReasonError"),
        NoAnswerError("a"),
        json.JSONDecodeError("Expecting value", "<html>", 0),
        named("APIResponseValidationError", status_code=200),
        named("ContentTypeError", status=200),
        ValueError("No generation chunks were returned"),
        raised_from(named("OutputParserException", ValueError), json.JSONDecodeError("x", "", 0)),
    ],
    Failure.AUTHENTICATION: [
        status(407),
        named("RefreshError"),
        named("PartialCredentialsError"),
        status(401),
        status(402),
        status(403),
        openai(401, type="invalid_request_error", code="invalid_api_key"),
        anthropic(401, "authentication_error"),
        google(400, "INVALID_ARGUMENT", "API key not valid", {"reason": "API_KEY_INVALID"}),
        google(403, "PERMISSION_DENIED"),
        aws("AccessDeniedException", 400),
        status(400, "Incorrect API key provided"),
        anthropic(400, "invalid_request_error", "Your credit balance is too low to access the API."),
        openai(400, type="invalid_request_error", code="billing_hard_limit_reached"),
        openai(400, "Insufficient Balance", type="unknown_error", code="invalid_request_error"),
        grpc("UNAUTHENTICATED"),
    ],
    Failure.NOT_FOUND: [
        status(405),
        named("UnsupportedProtocol", type("TransportError", (Exception,), {})),
        named("MissingSchema", ValueError),
        status(404),
        status(410),
        openai(400, type="invalid_request_error", code="model_not_found"),
        anthropic(404, "not_found_error"),
        error_with("model 'llama9' not found, try pulling it first"),
        aws("ResourceNotFoundException", 400),
        aws("ValidationException", 400, "The provided model identifier is invalid."),
        aws("ValidationException", 400, "Invocation of this model ID with on-demand throughput isn’t supported."),
        openai(400, "The model `old` has been decommissioned", code="model_decommissioned"),
        openai(400, "Invalid model: old", type="invalid_model", code="1500"),
        openai(400, "Model Not Exist", type="invalid_request_error", code="invalid_request_error"),
        openai(400, "old/one is not a valid model ID"),
    ],
    Failure.CONTEXT_OVERFLOW: [
        status(414),
        named("OpenAIContextOverflowError", type("ContextOverflowError", (Exception,), {}), status_code=400),
        status(413),
        openai(400, type="invalid_request_error", code="context_length_exceeded"),
        status(400, "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens"),
        anthropic(400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
        google(400, "INVALID_ARGUMENT", "The input token count (1200000) exceeds the maximum number of tokens allowed"),
        aws("ValidationException", 400, "Input is too long for requested model."),
        status(500, "the request exceeds the available context size"),
        ValueError("Requested tokens (5000) exceed context window of 4096"),
        status(422, "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4097. Given: 9000"),
        status(422, "Input validation error: `inputs` must have less than 1024 tokens. Given: 5000"),
        status(400, "This model's maximum prompt length is 131072 but the request contains 537812 tokens."),
        status(400, "The input (5000 tokens) is longer than the model's context length (4096 tokens)."),
        anthropic(400, "invalid_request_error", "input length and `max_tokens` exceed context limit: 190000 + 20000"),
        status(400, "Invalid request: Your request exceeded model token limit: 131072"),
        status(400, "Range of input length should be [1, 30720]"),
        status(400, "Prompt exceeds max length"),
        status(400, "the number of input tokens 5000 cannot exceed the total tokens limit 4096 for this model"),
        status(400, "the model is loaded with context length of only 4096 tokens, which is not enough"),
    ],
    Failure.UNSUPPORTED: [
        status(415),
        openai(400, type="invalid_request_error", code="unsupported_parameter"),
        openai(400, "'temperature' does not support 0.2 with this model.", code="unsupported_value"),
        status(400, "registry.ollama.ai/library/gemma:2b does not support tools"),
        status(400, "`tools` is not supported in this model"),
        status(400, "Invalid content type. image_url is only supported by certain models."),
        status(404, "No endpoints found that support image input"),
        aws("ValidationException", 400, "This model doesn't support tool use in streaming mode."),
        status(500, "image input is not supported - hint: you may need to provide the mmproj"),
        status(400, "At most 0 image(s) may be provided in one prompt."),
        status(400, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'),
        google(400, "INVALID_ARGUMENT", "Function calling is not enabled for models/gemma-3-27b-it"),
    ],
    Failure.CONTENT_FILTER: [
        named("ContentPolicyViolationError", status_code=400),
        named("OpenAIRefusalError"),
        named("StopCandidateException", ValueError),
        openai(400, code="content_filter"),
        openai(400, type="image_generation_user_error", code="content_policy_violation"),
        openai(400, type="data_inspection_failed", code="data_inspection_failed"),
        openai(400, "Content Exists Risk", type="invalid_request_error", code="invalid_request_error"),
        status(403, "Your input was flagged by moderation"),
        status(400, "The response was filtered due to the prompt triggering Azure OpenAI's content management policy"),
    ],
    Failure.BAD_REQUEST: [
        status(400),
        status(422),
        anthropic(200, "invalid_request_error"),
        openai(400, "Invalid schema for function 'add': True is not of type 'object'", type="invalid_request_error"),
        openai(400, "messages: roles must alternate", type="invalid_request_error"),
        google(400, "INVALID_ARGUMENT"),
        aws("ValidationException", 400),
    ],
    Failure.UNKNOWN: [
        stumbled("lookahead_router.router"),
        stumbled("langchain_lookahead_router.chat_models"),
        stumbled("llama_index.llms.lookahead_router.base"),
        stumbled("langchain_core.messages.base"),
        stumbled("of_the_user"),
        ValueError("bad schema"),
        ValueError("rate limit must be positive"),
        KeyError("overloaded"),
        FileNotFoundError(2, "no such file"),
        AttributeError("'str' object has no attribute 'rate limit'"),
        error_with(code="rate"),
        error_with(status_code=True),
        error_with(code=1006),
        raised_from(ValueError("x"), KeyError("y")),
    ],
}


def test_every_class_has_cases():
    assert set(CASES) == set(Failure)


@pytest.mark.parametrize(
    ("failure", "error"),
    [(failure, error) for failure, errors in CASES.items() for error in errors],
    ids=lambda value: value.name if isinstance(value, Failure) else repr(value)[:60],
)
def test_the_class_of_an_error(failure, error):
    assert failure_of(error) is failure
    assert is_transient(error) == (failure in TRANSIENT)


def test_real_clients_errors_are_judged_alike():
    httpx = pytest.importorskip("httpx")
    request = httpx.Request("POST", "http://127.0.0.1")
    body = {"error": {"message": "x", "code": "context_length_exceeded"}}
    response = httpx.Response(400, json=body, request=request)
    assert failure_of(httpx.HTTPStatusError("x", request=request, response=response)) is Failure.CONTEXT_OVERFLOW
    assert failure_of(httpx.ReadTimeout("x", request=request)) is Failure.TIMEOUT
    assert failure_of(httpx.RemoteProtocolError("x")) is Failure.CONNECTION


def test_a_body_that_was_not_read_stays_unread():
    class Unread(Response):
        @property
        def text(self):
            raise AssertionError("reading it would wait for the network")

        content = text

    assert failure_of(error_with(response=Unread(400))) is Failure.BAD_REQUEST


def test_errors_that_raise_errors_of_their_own_are_judged_too():
    class Odd(Exception):
        def __str__(self):
            raise RuntimeError("no words")

    circular = ValueError("x")
    circular.__cause__ = circular
    assert failure_of(Odd()) is Failure.UNKNOWN
    assert failure_of(circular) is Failure.UNKNOWN
    assert failure_of(Exception("{" * 5000)) is Failure.UNKNOWN
    assert failure_of(Exception("[" * 50_000)) is Failure.UNKNOWN
    deep = {}
    for _ in range(5000):
        deep = {"error": deep}
    assert failure_of(error_with(body=deep)) is Failure.UNKNOWN


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (status(429, headers={"retry-after": "7"}), 7.0),
        (error_with(response=Response(429, headers={"Retry-After": "1.5"})), 1.5),
        (error_with(response=Response(429, headers={"retry-after-ms": "250", "retry-after": "9"})), 0.25),
        (error_with(retry_after=3), 3.0),
        (status(429, headers={"retry-after": "-7"}), 0.0),
        (status(429, headers={"retry-after": "soon"}), None),
        (status(429, headers={"retry-after": "nan"}), None),
        (status(429, headers={"retry-after": "inf"}), None),
        (error_with(retry_after=float("nan")), None),
        (status(429), None),
    ],
)
def test_retry_after_is_read(error, seconds):
    assert retry_after(error) == seconds


def test_retry_after_may_be_a_date():
    error = status(429, headers={"Retry-After": formatdate(time.time() + 60, usegmt=True)})
    assert 55 < retry_after(error) <= 61
    assert retry_after(status(429, headers={"Retry-After": formatdate(0, usegmt=True)})) == 0.0


def test_an_error_that_hides_what_it_was_raised_within_is_judged_by_itself():
    assert failure_of(raised_within(RuntimeError("x"), TimeoutError(), suppress=True)) is Failure.UNKNOWN


def test_errors_that_lead_back_to_each_other_come_to_an_end():
    first, second = RuntimeError("x"), RuntimeError("y")
    first.__cause__, second.__cause__ = second, first
    assert failure_of(first) is Failure.UNKNOWN


def test_google_asks_to_wait_in_the_body():
    wait = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}
    assert retry_after(google(429, "RESOURCE_EXHAUSTED", "x", wait)) == 34.0
    assert retry_after(raised_from(RuntimeError("wrapped"), status(429, retry_after=3))) == 3.0
