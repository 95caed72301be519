"""What `/openapi.json` says: our own endpoints whole, those of OpenAI's protocols as far as they are routed."""

import json
from functools import cache
from typing import Any

import lookahead_router

_HEADERS = {
    "x-lookahead-candidate": ("who answered", "string"),
    "x-lookahead-reason": ("why: routed, forced, sticky or default", "string"),
    "x-lookahead-probability": ("of a good answer, as predicted, in [0, 1]", "number"),
    "x-lookahead-cost": ("US dollars; of a stream the expected ones", "number"),
    "x-lookahead-decision-id": ("for feedback, and for the log", "string"),
}
_MODEL = {
    "type": "string",
    "default": "auto",
    "description": "auto, auto:best, auto:cheap, auto:SHARE with the share of the best expected quality to keep, or a "
    "candidate's name.",
}
_MESSAGES = {"type": "array", "minItems": 1, "items": {"type": "object"}}
_TEXT_OR_ITEMS = {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}}]}
_PROMPT = {"oneOf": [{"type": "string"}, {"type": "array", "items": {}}]}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
_BY_NAME = {"type": "object", "additionalProperties": {"type": "number"}}
_DECISION = {
    "type": "object",
    "required": ["decision_id", "candidate", "reason"],
    "properties": {
        "decision_id": {"type": "string"},
        "candidate": {"type": "string", "description": "Who would be asked."},
        "reason": {"type": "string", "enum": ["routed", "forced", "sticky", "default"]},
        "ranking": {"type": "array", "items": {"type": "string"}},
        "probabilities": {**_BY_NAME, "description": "Of a good answer, in [0, 1], by candidate."},
        "standard_errors": {**_BY_NAME, "description": "Of the probabilities."},
        "expected_usd": {**_BY_NAME, "description": "US dollars that an answer is expected to cost, by candidate."},
        "seconds": {**_BY_NAME, "description": "That answers took of late, by candidate."},
        "excluded": {"type": "object", "description": "Why candidates cannot take the request, by name."},
        "needs": {"type": "array", "items": {"type": "string"}},
        "n_tokens": {"type": "number"},
        "curve": {
            "type": "array",
            "description": "Who is chosen at which share of quality to keep; where it was asked for.",
            "items": {
                "type": "object",
                "properties": {"from": {"type": "number"}, "to": {"type": "number"}, "candidate": {"type": "string"}},
            },
        },
    },
}
_FEEDBACK = {
    "decision_id": {"type": "string", "description": "Of the header x-lookahead-decision-id."},
    "score": {"type": "number", "minimum": 0, "maximum": 1, "description": "How good the answer was."},
}
_NAMED = {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}, "object": {"const": "model"}}}


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}


def _operation(
    summary: str, answer: dict[str, Any], body: dict[str, Any] | None = None, *, is_open: bool = False
) -> dict[str, Any]:
    found: dict[str, Any] = {"summary": summary, "responses": {"200": {"description": "As asked.", **answer}}}
    if body is not None:
        found["requestBody"] = {"required": True, **_json(body)}
        found["responses"]["4XX"] = {"description": "What is wrong, or too much.", **_json(_ERROR)}
        found["responses"]["5XX"] = {"description": "No candidate answered.", **_json(_ERROR)}
    if is_open:
        found["security"] = []
    return found


def _asking(summary: str, prompt: str, schema: dict[str, Any]) -> dict[str, Any]:
    """An endpoint of OpenAI's, whose other fields and whose answer are the candidate's."""
    body = _object([prompt], model=_MODEL, stream={"type": "boolean", "default": False}, **{prompt: schema})
    body |= {"additionalProperties": True, "description": "Fields that are not named here are passed on untouched."}
    headers = {name: {"description": text, "schema": {"type": kind}} for name, (text, kind) in _HEADERS.items()}
    answer = {"headers": headers, **_json({"type": "object"})}
    answer["content"]["text/event-stream"] = {"schema": {"type": "string"}}
    return {"post": _operation(summary, answer, body)}


def _paths() -> dict[str, Any]:
    dry_run = _object([], model=_MODEL, messages=_MESSAGES, input=_TEXT_OR_ITEMS, prompt=_PROMPT)
    dry_run["properties"]["curve"] = {"type": "boolean", "default": False}
    dry_run["oneOf"] = [{"required": [name]} for name in ("messages", "input", "prompt")]
    given = _object(["decision_id", "score"], **_FEEDBACK)
    taken = _object(["decision_id", "candidate", "score"], **_FEEDBACK, candidate={"type": "string"})
    models = _object(["object", "data"], object={"const": "list"}, data={"type": "array", "items": _NAMED})
    status = _object(["status"], status={"type": "string"})
    name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
    plain = {"content": {"text/plain": {"schema": {"type": "string"}}}}
    page = {"content": {"text/html": {"schema": {"type": "string"}}}}
    unready = {"description": "It is ending.", **_json(status)}
    ready = _operation("Whether requests are taken.", _json(status), is_open=True)
    ready["responses"]["503"] = unready
    unknown = {"description": "No such model.", **_json(_ERROR)}
    one_model = _operation("One candidate, or way to choose.", _json(_NAMED))
    one_model["responses"]["404"] = unknown
    return {
        "/v1/chat/completions": _asking("An answer to a conversation.", "messages", _MESSAGES),
        "/v1/completions": _asking("How a text goes on.", "prompt", _PROMPT),
        "/v1/responses": _asking("An answer, by the newer protocol.", "input", _TEXT_OR_ITEMS),
        "/v1/route": {"post": _operation("The decision alone; nobody is asked.", _json(_DECISION), dry_run)},
        "/v1/feedback": {"post": _operation("How good an answer was; the router learns.", _json(taken), given)},
        "/v1/models": {"get": _operation("The candidates, and the ways to choose.", _json(models))},
        "/v1/models/{name}": {"parameters": [name], "get": one_model},
        "/metrics": {"get": _operation("Figures for Prometheus.", plain)},
        "/health": {"get": _operation("Whether the process is up.", _json(status), is_open=True)},
        "/ready": {"get": ready},
        "/": {"get": _operation("A page to try it on.", page, is_open=True)},
        "/openapi.json": {"get": _operation("This description.", _json({"type": "object"}), is_open=True)},
    }


@cache
def description() -> bytes:
    """The endpoints, as OpenAPI 3.1 describes them."""
    return json.dumps(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "lookahead-router",
                "version": lookahead_router.__version__,
                "description": "Sends each request to the candidate that will answer it best for the money.",
            },
            "paths": _paths(),
            "components": {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
            "security": [{"key": []}, {}],
        }
    ).encode()
