"""`pool.yaml`: who the candidates are, where they answer, and what they cost. It holds no key, only where keys are."""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from lookahead_router.errors import ConfigurationError
from lookahead_router.live.cascades import CascadeConfig
from lookahead_router.privacy.guard import Privacy
from lookahead_router.routes.definition import Routes
from lookahead_router.settings import read_settings
from lookahead_router.types import Candidate, CandidatePool
from lookahead_router.values import Capabilities, Value

if TYPE_CHECKING:
    from lookahead_router.predictors.catalogue import Catalogue, CatalogueEntry

OPENAI_URL = "https://api.openai.com/v1"
DEFAULT_MAX_TOKENS = 2048
"""Limit of an answer where the parameters set none; without one no budget could be kept."""
LIMITS = ("max_tokens", "max_completion_tokens")
"""Parameters that limit an answer's length."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,79}")
_KEYS = re.compile(r"(?i)\b(sk|pk|gsk|hf|xai|key|aiza)[-_][a-z0-9_-]{8,}|^aiza[a-z0-9_-]{20,}")
_OURS = {
    "model": "name it in `model`",
    "messages": "prompts come from the prompts file",
    "stream": "answers are read whole",
    "n": "one answer a prompt is asked for",
    "timeout": "it is a setting of the candidate, beside `parameters`",
    "api_key": "name the variable that holds it in `api_key_env`",
    "extra_headers": "headers may hold keys, which no file of ours does",
}
"""Parameters of a call that are not the pool file's to set, and what is in their place."""


class CandidateConfig(Value):
    """One candidate of a pool file: a model behind an endpoint that speaks OpenAI's protocol."""

    name: str = Field(min_length=1)
    """What the candidate is called in answers, scores and decisions."""
    model: str | None = Field(default=None, min_length=1)
    """What the endpoint calls it; the name when absent."""
    base_url: str | None = None
    """Where it answers, such as `http://localhost:11434/v1`; OpenAI's own when absent."""
    api_key_env: str | None = None
    """Name of the environment variable that holds the key. `OPENAI_API_KEY` when absent, for OpenAI's endpoint alone;
    other endpoints get no key then."""
    input_price: float | None = Field(default=None, ge=0)
    """US dollars per million input tokens; the public catalogue's list price when absent. 0 for a model of one's
    own."""
    output_price: float | None = Field(default=None, ge=0)
    """US dollars per million output tokens, as above."""
    context_window: int | None = Field(default=None, gt=0)
    """Tokens of a prompt and its answer together."""
    capabilities: Capabilities = frozenset()
    """What it can do beyond text: `tools`, `images`, ..."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Parameters of every call, as the endpoint takes them: `temperature`, `max_tokens`, `extra_body`, ..."""
    system_prompt: str | None = None
    """Goes before every prompt that has no system message of its own."""
    profile: str | None = Field(default=None, min_length=1)
    """The known candidate whose profile it starts from, where its own name is not known."""
    max_concurrency: int = Field(default=8, ge=1, le=1024)
    """Calls at one time."""
    timeout: float = Field(default=120.0, gt=0)
    """Seconds that one call may take."""
    local: bool = False
    """Whether it may see personal data and secrets, where the pool has `privacy`."""

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        return Candidate(name=name).name

    @field_validator("base_url")
    @classmethod
    def _check_url(cls, url: str | None) -> str | None:
        if url is None:
            return None
        try:
            parts = urlsplit(url)
            is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_url = False
        if not is_url or re.search(r"\s", url):
            raise ValueError("expected a URL such as https://api.openai.com/v1")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("a URL holds no key and no query; name the key's variable in api_key_env")
        return url.rstrip("/")

    @field_validator("api_key_env")
    @classmethod
    def _check_variable(cls, name: str | None) -> str | None:
        if name is not None and (not _VARIABLE.fullmatch(name) or _KEYS.search(name)):
            raise ValueError("expected the name of an environment variable, such as OPENAI_API_KEY, and not a key")
        return name

    @field_validator("parameters")
    @classmethod
    def _check_parameters(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        for name, instead in _OURS.items():
            if name in parameters:
                raise ValueError(f"{name} is not set here: {instead}")
        limits = [name for name in LIMITS if parameters.get(name) is not None]
        if len(limits) > 1:
            raise ValueError(f"{' and '.join(limits)} are two limits of one answer; give one")
        for name in limits:
            limit = parameters[name]
            if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
                raise ValueError(f"{name} is a number of tokens, at least 1")
        return Candidate(name="x", metadata=parameters).metadata  # plain JSON, or an error that says so

    @model_validator(mode="after")
    def _check_prices(self) -> Self:
        if (self.input_price is None) != (self.output_price is None):
            raise ValueError("input_price and output_price go together; a model of your own costs 0 and 0")
        return self

    @property
    def model_name(self) -> str:
        """What the endpoint calls it."""
        return self.model or self.name

    @property
    def url(self) -> str:
        """Where it answers."""
        return self.base_url or OPENAI_URL

    @property
    def key_variable(self) -> str | None:
        """The environment variable that holds its key; `None` where it gets no key."""
        return self.api_key_env or ("OPENAI_API_KEY" if self.url == OPENAI_URL else None)

    @property
    def max_tokens(self) -> int:
        """The most tokens that an answer may have, as the endpoint is told."""
        return next((self.parameters[name] for name in LIMITS if self.parameters.get(name)), DEFAULT_MAX_TOKENS)

    def call_parameters(self) -> dict[str, Any]:
        """Parameters of a call, with a limit on the answer where the user set none."""
        given = {name: value for name, value in self.parameters.items() if name not in LIMITS or value is not None}
        if any(name in given for name in LIMITS):
            return given
        # OpenAI's reasoning models refuse the old name, and most other endpoints do not know the new one.
        return {**given, LIMITS[self.url == OPENAI_URL]: DEFAULT_MAX_TOKENS}

    def candidate(self) -> Candidate:
        """The router's `Candidate` of these settings; prices that are not given stay unknown."""
        return Candidate(
            name=self.name,
            input_usd_per_million_tokens=self.input_price,
            output_usd_per_million_tokens=self.output_price,
            context_window_tokens=self.context_window,
            capabilities=self.capabilities,
            local=self.local,
        )


class PoolConfig(Value):
    """A pool file: the candidates, and how to choose among them."""

    candidates: tuple[CandidateConfig, ...] = Field(min_length=1)
    router: str | None = None
    """Folder of a saved predictor or `org/name` of the Hub that decides; the embedded one for any pool when absent."""
    quality: float | None = Field(default=None, ge=0, le=1)
    """Share of the best candidate's expected quality to keep, as cheaply as that allows; the usual policy when
    absent."""

    routes: Routes | None = None
    """Kinds of requests with their candidates: a list of routes, what a file of routes holds, or its path beside the
    pool file."""

    privacy: Privacy | None = None
    """Which requests only local candidates may see: `true`, or settings of `Privacy`; all may see all when absent."""

    cascade: CascadeConfig | None = None
    """What looks at answers, and when somebody else is asked after one; a request is one call when absent."""

    @field_validator("privacy", mode="before")
    @classmethod
    def _read_privacy(cls, privacy: Any) -> Any:
        return {True: Privacy(), False: None}[privacy] if isinstance(privacy, bool) else privacy

    @field_validator("routes", mode="before")
    @classmethod
    def _read_routes(cls, routes: Any) -> Any:
        if isinstance(routes, list | tuple):
            return Routes(routes)
        return Routes.from_settings(routes) if isinstance(routes, dict) else routes

    @model_validator(mode="after")
    def _check_routes(self) -> Self:
        if self.routes is not None:
            self.routes.check(CandidatePool(candidate.name for candidate in self.candidates))
        if self.privacy is not None:
            self.privacy.check(CandidatePool(candidate.name for candidate in self.candidates))
        if self.cascade is not None:
            pool = CandidatePool(candidate.name for candidate in self.candidates)
            for name in self.cascade.order or ():
                pool.index(name)
        return self

    @field_validator("candidates")
    @classmethod
    def _check_names(cls, candidates: Sequence[CandidateConfig]) -> Sequence[CandidateConfig]:
        CandidatePool(candidate.name for candidate in candidates)  # raises for a name that stands twice
        return candidates

    @classmethod
    def load(cls, path: str | Path) -> "PoolConfig":
        """Reads a pool file: YAML, or JSON by its suffix.

        Raises:
            ConfigurationError: no such file, not YAML or JSON, or a setting that is unknown or out of range; says
                where.
            MissingDependencyError: YAML without PyYAML.
        """
        path = Path(path)
        settings = read_settings(path, "candidates: [{name: ..., ...}, ...]", "live")
        if isinstance(settings.get("routes"), str):
            settings["routes"] = Routes.read(path.parent / settings["routes"]).model_dump()
        return cls(**settings)

    def pool(self) -> CandidatePool:
        """The candidates as the router has them, with the catalogue's list prices where the file has none."""
        return CandidatePool(priced(each) for each in self.candidates)

    def profiles(self) -> dict[str, str]:
        """`{name: known name}` of the candidates that start from another's profile, as `Router` takes it."""
        return {each.name: each.profile for each in self.candidates if each.profile is not None}

    def __getitem__(self, name: str) -> CandidateConfig:
        """The settings of a candidate by its name."""
        return self.candidates[CandidatePool(each.name for each in self.candidates).index(name)]


def priced(config: CandidateConfig) -> Candidate:
    """The candidate as the router has it, with the catalogue's list prices where the file has none."""
    candidate, entry = config.candidate(), known_entry(config)
    if candidate.has_price or entry is None:
        return candidate
    return replace(
        candidate,
        input_usd_per_million_tokens=entry.input_usd_per_million_tokens,
        output_usd_per_million_tokens=entry.output_usd_per_million_tokens,
    )


def check_prices(pool: CandidatePool, why: str) -> None:
    """Raises `ConfigurationError`, in the words of a pool file, where a candidate has no price.

    Args:
        pool: the candidates as a router has them.
        why: what needs prices.
    """
    unpriced = [candidate.name for candidate in pool if not candidate.has_price]
    if unpriced:
        raise ConfigurationError(
            f"{why}, so every candidate needs a price; missing: {', '.join(unpriced)}. Give each its input_price "
            "and output_price in the pool file, US dollars per million tokens; 0 and 0 for a model of your own"
        )


def known_entry(config: CandidateConfig) -> "CatalogueEntry | None":
    """What the public catalogue knows of the candidate, by its name or else its model; a relative is somebody else."""
    from lookahead_router.predictors.catalogue import PUBLIC

    matches = [_catalogue().match(name) for name in (config.name, config.model_name)]
    return next((match.entry for match in matches if match.how in PUBLIC), None)


def call_usd(candidate: Candidate, input_tokens: float, output_tokens: float) -> float | None:
    """Dollars of a call by its tokens; `None` where the candidate has no price."""
    prices = (candidate.input_usd_per_million_tokens, candidate.output_usd_per_million_tokens)
    return None if None in prices else (input_tokens * prices[0] + output_tokens * prices[1]) / 1e6


@cache
def _catalogue() -> "Catalogue":
    """The embedded catalogue's names and prices; neither network nor profiles are loaded."""
    from lookahead_router.predictors.catalogue import Catalogue, entries_from_json
    from lookahead_router.predictors.load import OPEN_EMBEDDED
    from lookahead_router.saved.folder import PredictorFolder

    folder = PredictorFolder(OPEN_EMBEDDED)
    return Catalogue(entries_from_json(folder.read_json(folder.catalogue)["entries"]), ())
