"""What the endpoints take and give, as models: our own ones whole, OpenAI's as far as their requests are routed."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

DecisionId = Annotated[str, Field(description="Of the header x-lookahead-decision-id.")]
Score = Annotated[float, Field(ge=0, le=1, strict=True, description="How good the answer was.")]
ByName = dict[str, float]


class Asked(BaseModel):
    """Fields that are not named here are passed on untouched."""

    model_config = ConfigDict(extra="allow")

    model: str = Field(
        default="auto",
        description="auto, auto:best, auto:cheap, auto:SHARE with the share of the best expected quality to keep, or "
        "a candidate's name.",
    )
    stream: bool = False


class ChatAsked(Asked):
    """A conversation."""

    messages: list[dict[str, Any]] = Field(min_length=1)


class CompletionAsked(Asked):
    """A text to go on with."""

    prompt: str | list[Any]


class ResponseAsked(Asked):
    """A text or items, by the newer protocol."""

    input: str | list[dict[str, Any]]


class Step(BaseModel):
    """A range of shares of quality to keep, and who is chosen in it."""

    from_: float = Field(alias="from")
    to: float
    candidate: str


class Decision(BaseModel):
    """A routing record, with more keys than those named here."""

    model_config = ConfigDict(extra="allow")

    decision_id: str
    candidate: str = Field(description="Who would be asked.")
    reason: Literal["routed", "forced", "sticky", "default"]
    ranking: list[str] = []
    probabilities: ByName = Field(default={}, description="Of a good answer, in [0, 1], by candidate.")
    standard_errors: ByName = Field(default={}, description="Of the probabilities.")
    expected_usd: ByName = Field(default={}, description="US dollars that an answer is expected to cost, by candidate.")
    seconds: ByName = Field(default={}, description="That answers took of late, by candidate.")
    excluded: dict[str, Any] = Field(default={}, description="Why candidates cannot take the request, by name.")
    cascade: dict[str, Any] | None = Field(
        default=None,
        description="Of a request whose answer is looked at: checks, score_per_usd, max_calls, order, in is_final "
        "whether the first answer is taken whatever it says, and in if_passing and if_failing who would be asked one "
        "after the other. Null where the pool has a cascade and the request goes without.",
    )
    needs: list[str] = []
    n_tokens: float
    curve: list[Step] = Field(
        default=[], description="Who is chosen at which share of quality to keep; where it was asked for."
    )


class FeedbackGiven(BaseModel):
    """A score of an answer."""

    decision_id: DecisionId
    score: Score


class FeedbackTaken(FeedbackGiven):
    """A score that was learnt from, and whose answer it was of."""

    candidate: str


class Model(BaseModel):
    """A candidate, or a way to choose."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "lookahead-router"


class Models(BaseModel):
    """All of them."""

    object: Literal["list"] = "list"
    data: list[Model]


class Health(BaseModel):
    """The process is up."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Whether requests are taken, and by whom they may be answered."""

    status: Literal["ready", "draining"]
    candidates: list[str] = []


class Error(BaseModel):
    """Why there is no answer."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """An error in OpenAI's shape."""

    error: Error


_HEADERS = {
    "x-lookahead-candidate": ("who answered", "string"),
    "x-lookahead-reason": ("why: routed, forced, sticky or default", "string"),
    "x-lookahead-probability": ("of a good answer, as predicted, in [0, 1]", "number"),
    "x-lookahead-asked": ("all candidates that were asked, in order, where there are several", "string"),
    "x-lookahead-cost": (
        "US dollars of all calls; of a stream that is shown while it comes the expected ones",
        "number",
    ),
    "x-lookahead-cascade": (
        "of an answer that was looked at, as JSON: attempts, hops with what checks said, accepted, stopped",
        "string",
    ),
    "x-lookahead-decision-id": ("for feedback, and for the log", "string"),
}
HEADERS = {name: {"description": text, "schema": {"type": kind}} for name, (text, kind) in _HEADERS.items()}
"""Headers of an answer, as OpenAPI describes them."""
ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "What is wrong, or too much.", "model": ErrorBody},
    "5XX": {"description": "No candidate answered.", "model": ErrorBody},
}
"""Responses of what asks or works; as FastAPI takes them."""


def takes(*models: type[BaseModel], **more: Any) -> dict[str, Any]:
    """What an endpoint reads by itself, for its description: a body of one of these models.

    Args:
        models: without models in them.
        more: properties that a body may have besides.
    """
    schemas = [model.model_json_schema() for model in models]
    schema = schemas[0] if len(schemas) == 1 else {"type": "object", "oneOf": schemas, "properties": more}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
