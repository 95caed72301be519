"""Why a call of an LLM failed: classes of failure, read off whatever error any client raised.

Read are, first to last: what the body says (a stream or a response of status 200 may hold an error too), the HTTP or
gRPC status, the type of the error and of those that it was raised from, and the words of providers that say no more.
"""

import contextlib
import errno
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any


class Failure(StrEnum):
    """What went wrong with a call; the value is plain text for records."""

    RATE_LIMIT = "rate limit"
    """Too many requests or tokens, or a used-up quota."""
    OVERLOAD = "overload"
    """The provider has no capacity at the moment."""
    SERVER_ERROR = "server error"
    """The provider's own fault."""
    TIMEOUT = "timeout"
    """No answer in time."""
    CONNECTION = "connection lost"
    """The provider cannot be reached, or was lost before the end of the answer."""
    NO_ANSWER = "no answer"
    """An answer without content, or a body that is none, such as the page of a gateway."""
    AUTHENTICATION = "authentication"
    """The key, its permissions or its credit."""
    NOT_FOUND = "not found"
    """No such model or address."""
    CONTEXT_OVERFLOW = "context overflow"
    """The request is longer than the model can read."""
    UNSUPPORTED = "unsupported"
    """The model cannot do what the request asks, such as tools or images, or does not take one of its options."""
    CONTENT_FILTER = "content filter"
    """The provider's filter stopped the request or the answer."""
    BAD_REQUEST = "bad request"
    """The request itself is wrong, whoever gets it."""
    UNKNOWN = "unknown"
    """None of these."""


TRANSIENT = frozenset(
    {
        Failure.RATE_LIMIT,
        Failure.OVERLOAD,
        Failure.SERVER_ERROR,
        Failure.TIMEOUT,
        Failure.CONNECTION,
        Failure.NO_ANSWER,
    }
)
"""Classes that tell of the moment and neither of the request nor of the key."""


def is_transient(error: BaseException) -> bool:
    """Whether an LLM client's error tells of the moment and not of the request, so that another try may answer.

    True of rate limits, overload, server errors, timeouts, lost connections and answers that are none, whichever
    client raised them and wherever they stood; false of a rejected request or key.
    """
    return failure_of(error) in TRANSIENT


def failure_of(error: BaseException) -> Failure:
    """The class of failure that an LLM client's error belongs to.

    Where the error itself says nothing, those that it is a group of, or was raised from, are asked.
    """
    failures = (failure for each in _behind(error) if (failure := _own_failure(each)) is not None)
    return next(failures, Failure.UNKNOWN)


def retry_after(error: BaseException) -> float | None:
    """Seconds, at least 0, after which the provider wants to be asked again; `None` where it does not say."""
    asked = (wait for each in _behind(error) for wait in _waits(each) if wait is not None)
    return next(asked, None)


def _behind(error: BaseException) -> Iterator[BaseException]:
    """The error, and those that it holds or comes from, the nearest first."""
    found = [error]
    for each in found:  # which grows meanwhile
        yield each
        reason = getattr(each, "reason", None)  # where urllib keeps it
        context = None if each.__suppress_context__ else each.__context__
        behind = [*getattr(each, "exceptions", ()), each.__cause__, reason, context]
        found += [e for e in behind if isinstance(e, BaseException) and all(e is not known for known in found)]
        del found[_MAX_BEHIND:]


def _waits(error: BaseException) -> Iterator[float | None]:
    for place in (error, getattr(error, "response", None)):
        value = getattr(place, "retry_after", None)
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield _seconds(value, 1.0)
        headers = getattr(place, "headers", None)
        if hasattr(headers, "get"):
            lowered = {str(key).lower(): value for key, value in dict(headers).items()}
            yield _seconds(lowered.get("retry-after-ms"), 0.001)
            yield _seconds(lowered.get("retry-after"), 1.0)
    for body in _bodies(error):
        delay = body.get("retryDelay")  # Google's: "34s"
        if isinstance(delay, str):
            yield _seconds(delay.removesuffix("s"), 1.0)


_MAX_DEPTH = 6
_MAX_BEHIND = 12  # errors behind one that are asked
_MAX_TEXT = 4000  # characters of a message that are read
_WORDS_OF_BODIES = ("message", "Message", "error", "detail", "msg", "error_msg")
_SEPARATORS = re.compile(r"[\s_.-]+")

# What bodies call a failure, in `code`, `type`, `status` or `reason`: OpenAI, Anthropic, Google and gRPC, AWS.
_CODES = {
    failure: frozenset(_SEPARATORS.sub("", name).lower() for name in names.split())
    for failure, names in {
        Failure.RATE_LIMIT: """rate_limit rate_limit_error rate_limit_exceeded rate_limited too_many_requests
            insufficient_quota quota_exceeded RESOURCE_EXHAUSTED Throttling ThrottlingException throttled
            ThrottlingError TooManyRequestsException ServiceQuotaExceededException LimitExceededException
            Throttling.RateQuota Throttling.AllocationQuota Throttling.BurstRate rate_limit_reached""",
        Failure.OVERLOAD: """overloaded overloaded_error engine_overloaded model_overloaded UNAVAILABLE
            service_unavailable ServiceUnavailableException ModelNotReadyException slow_down no_capacity
            ModelUnavailable server_overloaded at_capacity""",
        Failure.SERVER_ERROR: """server_error api_error internal_error internal_server_error INTERNAL
            InternalServerException InternalFailure ModelErrorException ModelStreamErrorException ABORTED DATA_LOSS
            generation incomplete_generation ModelError InternalDependencyException SystemError bad_gateway""",
        Failure.TIMEOUT: """timeout timeout_error request_timeout gateway_timeout DEADLINE_EXCEEDED
            ModelTimeoutException RequestTimeout RequestTimeoutException CANCELLED""",
        Failure.AUTHENTICATION: """authentication_error invalid_api_key permission_error permission_denied
            UNAUTHENTICATED unauthorized forbidden API_KEY_INVALID billing_error billing_not_active account_deactivated
            AccessDenied AccessDeniedException UnrecognizedClientException ExpiredTokenException
            InvalidSignatureException invalid_authentication payment_required unsupported_country_region_territory
            billing_hard_limit_reached insufficient_balance insufficient_credits Arrearage""",
        Failure.NOT_FOUND: """not_found not_found_error model_not_found deployment_not_found DeploymentNotFound
            ResourceNotFoundException no_such_model model_not_available invalid_model model_not_exist
            model_decommissioned""",
        Failure.CONTEXT_OVERFLOW: """context_length_exceeded context_window_exceeded string_above_max_length
            request_too_large prompt_too_long exceed_context_size_error tokens_limit_reached""",
        Failure.UNSUPPORTED: "unsupported_value unsupported_parameter unsupported_feature",
        Failure.CONTENT_FILTER: """content_filter content_filter_error content_policy_violation
            ResponsibleAIPolicyViolation moderation_blocked content_filtered data_inspection_failed""",
        Failure.BAD_REQUEST: """invalid_request_error invalid_request bad_request INVALID_ARGUMENT ValidationException
            FAILED_PRECONDITION OUT_OF_RANGE UNIMPLEMENTED""",
    }.items()
}

_STATUSES = {
    Failure.RATE_LIMIT: {420, 429},
    Failure.OVERLOAD: {503, 529},
    Failure.TIMEOUT: {408, 499, 504, 524, 598, 599},
    Failure.AUTHENTICATION: {401, 402, 403, 407, 451, 498},
    Failure.NOT_FOUND: {404, 405, 410},
    Failure.CONTEXT_OVERFLOW: {413, 414},
    Failure.UNSUPPORTED: {415},
    Failure.SERVER_ERROR: {409, 424, 425},  # "not now", as the clients' own retries read them
}

# Types by name along the inheritance, since no client is a dependency: of the standard library, OpenAI and Anthropic,
# httpx and httpcore, aiohttp, anyio, requests, urllib3, botocore, websockets, h2, tornado, Twisted, Hugging Face.
_TYPES = {
    failure: frozenset(names.split())
    for failure, names in {
        Failure.TIMEOUT: """Timeout TimeoutError TimeoutException APITimeoutError TooSlowError ReadTimeoutError
            ConnectTimeoutError""",
        Failure.CONNECTION: """ConnectionError APIConnectionError TransportError NetworkError ProtocolError
            ClientConnectionError ClientPayloadError ChunkedEncodingError ConnectionClosed ConnectionClosedError
            HTTPClientError IncompleteRead NewConnectionError MaxRetryError NameResolutionError
            EndpointConnectionError BadStatusLine gaierror SSLError InvalidChunkLength IncompleteReadError
            BrokenResourceError ClosedResourceError EndOfStream EOFError StreamClosedError StreamReset ConnectionLost
            ConnectionDone ResponseFailed ResponseStreamingError herror ProxyError""",
        Failure.NO_ANSWER: """JSONDecodeError APIResponseValidationError DecodingError DecodeError ContentDecodingError
            ContentTypeError OutputParserException UnicodeDecodeError LengthFinishReasonError StructuredOutputError
            HttpProcessingError""",
        Failure.RATE_LIMIT: "RateLimitError TooManyRequests ResourceExhausted",
        Failure.AUTHENTICATION: """AuthenticationError PermissionDeniedError Unauthenticated NoCredentialsError
            PartialCredentialsError CredentialRetrievalError TokenRetrievalError RefreshError
            DefaultCredentialsError""",
        Failure.NOT_FOUND: """NotFoundError InvalidURL UnsupportedProtocol MissingSchema InvalidSchema TooManyRedirects
            NoRegionError""",
        Failure.OVERLOAD: "ServiceUnavailable OverloadedError ServiceUnavailableError",
        Failure.SERVER_ERROR: "InternalServerError GenerationError IncompleteGenerationError RetryError",
        Failure.CONTEXT_OVERFLOW: "ContextOverflowError ContextWindowExceededError",
        Failure.CONTENT_FILTER: """ContentPolicyViolationError ContentFilterFinishReasonError OpenAIRefusalError
            BlockedPromptException StopCandidateException""",
    }.items()
}

# Of a rejected request (400) these say more than its status.
_TELLING_TYPES = frozenset({"ContextOverflowError", "ContextWindowExceededError", "ContentPolicyViolationError"})

# What clients raise for an error that stands in an answer, where neither a code nor a word tells its class.
_IN_AN_ANSWER = frozenset({"APIError", "ResponseError"})

_UNREACHABLE = frozenset(
    {
        *(errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ENETDOWN, errno.ENETRESET),
        *(errno.ENOTCONN, errno.ETIMEDOUT),
    }
)

# Modules that turn what a provider sent into answers: what they stumble over is none.
_READERS = re.compile(
    r"langchain_(?!core\b|lookahead)|langchain_core\.language_models\b|llama_index\.llms\.(?!lookahead)"
)

_FEATURE = r"\b(tool|function|image|vision|audio|video|document|pdf|json|response_format|system|developer)"

# Phrases of messages that come without a code of their own. The first that occurs wins.
_PHRASES = {
    Failure.CONTEXT_OVERFLOW: re.compile(
        r"maximum context length|context[ _]length[ _]exceeded|context window|context size|maximum model length"
        r"|(prompt|input|request|conversation|context) (is|are|was) too (long|large)|too many (input |total )?tokens"
        r"|input token count|exceeds? the (maximum|available|model'?s?) (number of |allowed )?(input |context )?"
        r"(tokens?|context|length)|reduce the length of (the|your) (messages|prompt|input)"
        r"|max(imum)? (prompt|input|sequence) (length|tokens)|(prompt|input|request) exceeds? (the )?max"
        r"|(longer|larger|greater) than the (model'?s? |maximum |available )*(context|input)"
        r"|exceed(s|ed)? (the )?(model'?s? )?(context|token|total tokens?) (limit|length|window)"
        r"|inputs`? (tokens \+ `?max_new_tokens`? must be|must have less than)|input length should be"
        r"|context length of only|prompt tokens (is |are )?too long",
    ),
    Failure.CONTENT_FILTER: re.compile(
        r"content management policy|content filter|content policy|blocked by (the )?safety|safety (settings|filters?)"
        r"|inappropriate content|content exists risk|flagged (by|as|for)|violating our usage polic"
    ),
    Failure.UNSUPPORTED: re.compile(
        rf"(not|n't|only) support(ed)? .{{0,40}}{_FEATURE}|{_FEATURE}[\w `'\"-]{{0,40}} (is|are) (not|only) "
        r"(supported|enabled|available)|no endpoints found that support|at most 0 \w+|--enable-auto-tool-choice"
    ),
    Failure.AUTHENTICATION: re.compile(
        r"(invalid|incorrect|missing|expired) api[ _-]?key|api key (is )?(not valid|invalid|expired)"
        r"|credit balance|insufficient (balance|credits?|funds)|billing (hard )?limit"
    ),
    Failure.OVERLOAD: re.compile(r"overloaded|at capacity|out of capacity|service (is )?(temporarily )?unavailable"),
    Failure.RATE_LIMIT: re.compile(r"rate[ -]?limit|too many requests|quota exceeded|exceeded your (current )?quota"),
    Failure.NOT_FOUND: re.compile(
        r"model .{0,200}(does not exist|not found|has been (decommissioned|deprecated|retired))|model not (exist|found)"
        r"|not a valid model|model identifier is invalid|invalid model( id| name|:|$)"
        r"|on-demand throughput isn't supported"
    ),
    Failure.NO_ANSWER: re.compile(r"no generation chunks were returned|unexpected response type"),
    Failure.SERVER_ERROR: re.compile(
        r"internal server error|server had an error|bad gateway|upstream (connect )?(error|failed|died)"
    ),
    Failure.CONNECTION: re.compile(
        r"server disconnected|(connection|stream|socket|channel) (was |is |has been )?"
        r"(reset|closed|lost|aborted|broken|refused|removed|terminated|interrupted)|connection error|broken pipe"
        r"|peer closed|rst_stream|goaway|unexpected (eof|end of)|eof occurred|incomplete (read|chunked)"
        r"|premature(ly)? (end|clos)"
        r"|payload is not completed|transfer closed|recv failure|getaddrinfo failed|name resolution"
    ),
    Failure.TIMEOUT: re.compile(r"timed? ?out\b|deadline exceeded"),
}
# A rejected request says by these what is wrong with it. Other words in it may be the user's, quoted.
_OF_A_REJECTED_REQUEST = (
    Failure.CONTEXT_OVERFLOW,
    Failure.CONTENT_FILTER,
    Failure.NOT_FOUND,
    Failure.UNSUPPORTED,
    Failure.AUTHENTICATION,
)
# A refusal says so under the status of a wrong key, or of an address that is not there.
_OF_A_REFUSAL = {403: (Failure.CONTENT_FILTER,), 404: (Failure.UNSUPPORTED,)}
# So do the checks of clients themselves.
_OF_A_CHECK = (Failure.CONTEXT_OVERFLOW, Failure.NO_ANSWER)


def _own_failure(error: BaseException) -> Failure | None:
    declared = getattr(error, "failure", None)
    if isinstance(declared, Failure):
        return declared
    bodies = list(_bodies(error))
    names = [_SEPARATORS.sub("", code).lower() for code in _codes(error, bodies)]
    named = [failure for name in names for failure, codes in _CODES.items() if name in codes]
    if any(failure is not Failure.BAD_REQUEST for failure in named):
        return next(failure for failure in named if failure is not Failure.BAD_REQUEST)
    types = [base.__name__ for base in type(error).__mro__]
    if not _TELLING_TYPES.isdisjoint(types):
        return _of_types(types)
    status = _status(error, bodies) or (400 if named else None)
    if status is not None:
        return _of_status(status, _message(error, bodies))
    if getattr(error, "is_retryable", None) is True:
        return Failure.SERVER_ERROR
    if isinstance(error, TimeoutError):
        return Failure.TIMEOUT
    if isinstance(error, ConnectionError) or (isinstance(error, OSError) and error.errno in _UNREACHABLE):
        return Failure.CONNECTION
    if (failure := _of_types(types)) is not None:
        return failure
    if isinstance(error, OSError | TypeError | LookupError | AttributeError | AssertionError):
        # No provider speaks through these, and what they quote may be anything.
        return Failure.NO_ANSWER if _is_from_a_reader(error) else None
    if isinstance(error, ValueError):
        return Failure.NO_ANSWER if _is_of_a_form(error) else _by_words(_message(error, bodies), _OF_A_CHECK)
    is_in_an_answer = types[0] in _IN_AN_ANSWER or _http_status(error) == 200
    return _by_words(_message(error, bodies), _PHRASES) or (Failure.SERVER_ERROR if is_in_an_answer else None)


def _of_types(types: Sequence[str]) -> Failure | None:
    found = (failure for name in types for failure, names in _TYPES.items() if name in names)
    return next(found, None)


def _is_from_a_reader(error: BaseException) -> bool:
    """Whether a client's class stumbled over what it was sent: an answer without `choices`, or that is a page."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    return place is not None and _READERS.match(place.tb_frame.f_globals.get("__name__", "")) is not None


def _is_of_a_form(error: ValueError) -> bool:
    """Whether pydantic found an answer, or an object that was asked for, to be of another form."""
    is_pydantics = type(error).__module__.startswith("pydantic") and type(error).__name__ == "ValidationError"
    return is_pydantics and not str(getattr(error, "title", "")).endswith("StartEvent")  # of a call, not of its answer


def _of_status(status: int, message: str) -> Failure:
    failure = next((failure for failure, statuses in _STATUSES.items() if status in statuses), None)
    if failure is None and status < 500:
        return _by_words(message, _OF_A_REJECTED_REQUEST) or Failure.BAD_REQUEST
    if status in _OF_A_REFUSAL:
        return _by_words(message, _OF_A_REFUSAL[status]) or failure
    # Some servers answer 500 where a prompt is too long for the model, or holds an image.
    return failure or _by_words(message, (Failure.CONTEXT_OVERFLOW, Failure.UNSUPPORTED)) or Failure.SERVER_ERROR


def _by_words(message: str, classes: Any) -> Failure | None:
    return next((failure for failure in classes if _PHRASES[failure].search(message)), None)


def _status(error: BaseException, bodies: Sequence[Mapping]) -> int | None:
    """The HTTP status of the failure, wherever the client keeps it; 200 is none."""
    if type(error.__cause__).__module__.endswith("http_exceptions"):
        return None  # aiohttp's own number for a body that it cannot read
    response = getattr(error, "response", None)
    places = [getattr(error, name, None) for name in ("status_code", "http_status", "code", "status")]
    if isinstance(response, Mapping):  # boto
        places.append((response.get("ResponseMetadata") or {}).get("HTTPStatusCode"))
    else:
        places.append(getattr(response, "status_code", None))
    places += [body.get(name) for body in bodies for name in ("status_code", "status", "code")]
    for place in places:
        if isinstance(place, str) and place.isascii() and place.isdigit():
            place = int(place[:9])
        # A code may also be a client's own number.
        if isinstance(place, int) and not isinstance(place, bool) and 400 <= place < 600:
            return int(place)
    return None


def _http_status(error: BaseException) -> Any:
    return getattr(error, "status_code", getattr(getattr(error, "response", None), "status_code", None))


def _codes(error: BaseException, bodies: Sequence[Mapping]) -> Iterator[str]:
    """The words by which the error and its body name the failure."""
    for name in ("code", "type", "status", "reason", "grpc_status_code"):
        value = getattr(error, name, None)
        if callable(value) and hasattr(error, "details"):  # gRPC
            value = value()
        value = getattr(value, "name", value)  # an enum
        if isinstance(value, str):
            yield value
    for body in bodies:
        for name in ("code", "Code", "type", "error_type", "status", "reason", "__type"):
            value = body.get(name)
            if isinstance(value, str):
                yield value.rpartition("#")[2]


def _bodies(error: BaseException) -> Iterator[Mapping]:
    """Mappings that the error carries, inner ones too: what the provider sent."""
    response = getattr(error, "response", None)
    # Only what was read already: asking a response for its text may wait for the network.
    places = [getattr(error, "body", None), getattr(error, "details", None), getattr(error, "error", None)]
    places += [response, getattr(response, "_content", None), *error.args[:2]]
    for place in places:
        yield from _mappings(place, _MAX_DEPTH)


def _mappings(value: Any, depth: int) -> Iterator[Mapping]:
    if isinstance(value, str | bytes | bytearray):
        value = _parsed(value)
    if isinstance(value, Mapping) and depth:
        yield value
        for key in ("error", "Error", "errors", "details", "innererror", "detail"):
            yield from _mappings(value.get(key), depth - 1)
    elif isinstance(value, list) and depth:
        for each in value[:8]:
            yield from _mappings(each, depth - 1)


def _parsed(text: str | bytes | bytearray) -> Any:
    """The JSON object or list that a text is; else `None`."""
    if len(text) > 16 * _MAX_TEXT or text.lstrip()[:1] not in ("{", "[", b"{", b"["):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _message(error: BaseException, bodies: Sequence[Mapping]) -> str:
    texts = [body.get(name) for body in bodies for name in _WORDS_OF_BODIES]
    texts.append(getattr(error, "body", None))
    with contextlib.suppress(Exception):  # of a client's own making
        texts.append(str(error))
    return "\n".join(text[:_MAX_TEXT] for text in texts if isinstance(text, str)).lower().replace("’", "'")


def _seconds(value: Any, unit: float) -> float | None:
    """Seconds of a header that holds a number, or a date."""
    if value is None:
        return None
    try:
        seconds = float(value) * unit
    except (TypeError, ValueError):
        from email.utils import parsedate_to_datetime  # which takes longer to import than all of this

        try:
            seconds = parsedate_to_datetime(str(value)).timestamp() - time.time()
        except (TypeError, ValueError, OverflowError):
            return None
    return max(0.0, seconds) if seconds < float("inf") else None
