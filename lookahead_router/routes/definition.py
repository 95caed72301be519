"""`Route` and `Routes`: what people write down, and its policies."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from lookahead_router.errors import ConfigurationError
from lookahead_router.policies import Policy, Restricted
from lookahead_router.routes.orders import Listed, Preferred
from lookahead_router.settings import read_settings
from lookahead_router.types import CandidatePool
from lookahead_router.values import Value

if TYPE_CHECKING:
    from lookahead_router.routes.matching import AskedRoutes, EmbeddedRoutes, Labelled, TextEmbedder

MAX_BYTES = 2_000_000
"""Size of a file of routes, at most: what is larger was written by no hand, and is another file."""
MAX_CHARACTERS = 20_000
"""Characters of a description or an example, at most."""
TIMEOUT_SECONDS = 10.0
_EXAMPLE = "routes: [{name: ..., description: ..., examples: [...], candidates: [...]}, ...]"


@dataclass(frozen=True)
class Match:
    """What a request was matched to."""

    route: str | None = None
    """Name of the route; `None` for none."""
    similarity: float | None = None
    """In [-1, 1], to the most similar route, even where that was not similar enough; `None` where nothing measures
    it."""
    error: str | None = None
    """Type of what went wrong where a chat model was to tell the route, so that it counts as none."""
    private: tuple[str, ...] = ()
    """Kinds of personal data and secrets in the request, which only local candidates may see."""


class Route(Value):
    """A kind of request in words, and the candidates that it goes to."""

    name: str = Field(min_length=1, max_length=100)
    """Stands in records; one line."""
    description: str = Field(min_length=1, max_length=MAX_CHARACTERS)
    """What such requests are about, in a sentence; read as an example, and by a chat model."""
    candidates: tuple[str, ...]
    """Names of the pool, the preferred ones first."""
    examples: tuple[str, ...] = ()
    """Such requests, as users write them."""
    order: Literal["quality", "listed"] = "quality"
    """Who of them is asked: whom the router's policy takes by foreseen quality and cost, or the first that can."""
    strict: bool = True
    """Whether nobody else may answer; otherwise the rest of the pool follows behind, for requests that none of them
    can take or answers."""

    @field_validator("name", "description")
    @classmethod
    def _check_words(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("is empty; say in words what such requests are about")
        return text.strip()

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if not name.isprintable():
            raise ValueError("a name is one line of printable characters")
        return name

    @field_validator("candidates", "examples", mode="before")
    @classmethod
    def _check_list(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise ValueError("is a list; wrap the single text in one")
        return value

    @field_validator("candidates")
    @classmethod
    def _check_candidates(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names:
            raise ValueError("there is no candidate; name one at least")
        return CandidatePool(names).names

    @field_validator("examples")
    @classmethod
    def _check_examples(cls, examples: tuple[str, ...]) -> tuple[str, ...]:
        for place, text in enumerate(examples, start=1):
            if not text.strip():
                raise ValueError(f"example {place} is empty; remove it")
            if len(text) > MAX_CHARACTERS:
                raise ValueError(f"example {place} has {len(text):,} characters; shorten it to {MAX_CHARACTERS:,}")
        return examples

    def policy(self, policy: Policy) -> Policy:
        """A policy among this route's candidates, by which another one decides; what that excludes stays excluded."""
        if self.order == "listed":
            policy = _within(policy, lambda _: Listed(self.candidates))
        if self.strict:
            return Restricted(policy, allow=self.candidates, because=f"is not of the route {self.name!r}")
        return _within(policy, lambda inner: Preferred(inner, self.candidates))


class Routes(Value):
    """The routes of a pool, and who answers what belongs to none of them."""

    routes: tuple[Route, ...]
    """One at least."""
    otherwise: tuple[str, ...] | None = None
    """Candidates for requests of no route; the whole pool when absent."""
    threshold: float | None = Field(default=None, ge=-1, le=1)
    """Similarity from which on a request belongs to the most similar route; fitted when absent."""

    def __init__(
        self,
        routes: Iterable[Route | Mapping[str, Any]],
        otherwise: Iterable[str] | None = None,
        threshold: float | None = None,
    ) -> None:
        """Takes routes, or their settings as a file has them.

        Args:
            routes: with different names and descriptions.
            otherwise: names of the candidates for requests of no route; the whole pool when absent.
            threshold: similarity in [-1, 1] from which on a request belongs to the most similar route; fitted when
                absent.

        Raises:
            ConfigurationError: no route, two that are alike, or one that is none; says where.
        """
        if isinstance(routes, str | Mapping) or not isinstance(routes, Iterable):
            raise ConfigurationError(f"routes is a list of routes, got {type(routes).__name__}")
        super().__init__(routes=tuple(routes), otherwise=otherwise, threshold=threshold)

    @field_validator("otherwise", mode="before")
    @classmethod
    def _check_otherwise(cls, names: Any) -> Any:
        if isinstance(names, str):
            raise ValueError("is a list of candidates; wrap the single name in one")
        return names if names is None else CandidatePool(names).names

    @model_validator(mode="after")
    def _check_differ(self) -> Self:
        if not self.routes:
            raise ValueError("there is no route; write one at least")
        said: dict[tuple[str, str], str] = {}
        for route in self.routes:
            words = [("name", route.name), ("description", route.description)]
            words += [(f"example {place}", text) for place, text in enumerate(route.examples, start=1)]
            for what, text in words:
                key = ("name" if what == "name" else "", " ".join(text.casefold().split()))
                if key in said:
                    alike = f"{said[key]} and {what} of {route.name!r} are the same"
                    raise ValueError(f"{alike}: no request could tell the routes apart; change or remove one")
                said[key] = f"{what} of {route.name!r}"
        return self

    @classmethod
    def read(cls, path: str | Path) -> "Routes":
        """The routes in a file: YAML, or JSON by its suffix.

        Raises:
            ConfigurationError: no such file, not YAML or JSON, or a setting that is unknown or out of range; says
                where.
            MissingDependencyError: YAML without PyYAML.
        """
        path = Path(path)
        try:
            size = path.stat().st_size
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
        if size > MAX_BYTES:
            raise ConfigurationError(f"{path} has {size:,} bytes, and a file of routes {MAX_BYTES:,} at most")
        return cls.from_settings(read_settings(path, _EXAMPLE, "live"), str(path))

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], where: str = "routes") -> "Routes":
        """The routes of a mapping as a file has it.

        Args:
            settings: `routes`, and perhaps `otherwise` and `threshold`.
            where: it comes from, for errors.

        Raises:
            ConfigurationError: a setting that is missing, unknown or out of range; says where.
        """
        strays = sorted(map(str, settings.keys() - cls.model_fields.keys()))
        if strays or "routes" not in settings:
            found = f"{', '.join(strays)} is no setting" if strays else "`routes` is missing"
            raise ConfigurationError(f"{where}: {found}; expected {_EXAMPLE}, and perhaps otherwise and threshold")
        try:
            return cls(**settings)
        except ConfigurationError as error:
            raise ConfigurationError(f"{where}: {error}") from None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the routes, in their order."""
        return tuple(route.name for route in self.routes)

    @property
    def candidates(self) -> tuple[str, ...]:
        """All that are named, in the order in which they are."""
        named = [*(route.candidates for route in self.routes), self.otherwise or ()]
        return tuple(dict.fromkeys(name for names in named for name in names))

    def __getitem__(self, name: str) -> Route:
        """The route of a name."""
        return self.routes[self.names.index(name)]

    def __len__(self) -> int:
        return len(self.routes)

    def fit(self, embedder: "TextEmbedder", labelled: "Iterable[Labelled]" = ()) -> "EmbeddedRoutes":
        """Routes that are told apart by embeddings.

        Args:
            embedder: an `Embedder`, or anything with `embed(texts)` to unit vectors `(n, H)`.
            labelled: requests with their route, or with none; the threshold is fitted on them, where they say
                enough, and on the examples otherwise.

        Raises:
            ConfigurationError: a route without an example, or no embedder.
            DataError: a label that names no route.
        """
        from lookahead_router.routes.matching import EmbeddedRoutes

        return EmbeddedRoutes.fit(self, embedder, labelled)

    def using(
        self, complete: Callable[[str], str], *, timeout_seconds: float = TIMEOUT_SECONDS, local: bool = False
    ) -> "AskedRoutes":
        """Routes that a chat model tells apart, by their descriptions. It reads the conversation.

        Args:
            complete: from a prompt to what the model answers; safe under threads.
            timeout_seconds: how long an answer may take, > 0.
            local: whether it may see personal data and secrets; where a router has `privacy`, another one is not asked
                of requests that hold some.

        Raises:
            ConfigurationError: no function, or no time.
        """
        from lookahead_router.routes.asking import AskedRoutes

        return AskedRoutes(self, complete, timeout_seconds, local)

    def policy(self, name: str | None, policy: Policy) -> Policy:
        """The policy by which a router of some policy decides within a route, or within none.

        Args:
            name: of the route; `None` for a request of no route.
            policy: the router's.
        """
        if name is not None:
            return self[name].policy(policy)
        if self.otherwise is None:
            return policy
        return Restricted(policy, allow=self.otherwise, because="is not for requests of no route")

    def rename(self, names: Mapping[str, str]) -> "Routes":
        """The routes over candidates of other names, or over fewer.

        Args:
            names: `{name so far: name from now on}` of the candidates that are left.

        Raises:
            ConfigurationError: a route, or what belongs to none, is left without a candidate.
        """
        routes = [
            Route(**{**route.model_dump(), "candidates": _left(route.candidates, names, f"the route {route.name!r}")})
            for route in self.routes
        ]
        otherwise = None if self.otherwise is None else _left(self.otherwise, names, "what belongs to no route")
        return Routes(routes, otherwise, self.threshold)

    def check(self, pool: CandidatePool) -> None:
        """Nothing, if the pool holds every candidate that is named.

        Raises:
            UnknownCandidateError: it does not.
        """
        for candidates in (*(route.candidates for route in self.routes), self.otherwise or ()):
            for name in candidates:
                pool.index(name)


def _left(candidates: tuple[str, ...], names: Mapping[str, str], whose: str) -> list[str]:
    left = [names[name] for name in candidates if name in names]
    if not left:
        raise ConfigurationError(f"{whose} is left without a candidate: {', '.join(candidates)} are not in the pool")
    return left


def _within(policy: Policy, change: Callable[[Policy], Policy]) -> Policy:
    """The policy with another one inside its restrictions."""
    if isinstance(policy, Restricted):
        return replace(policy, policy=_within(policy.policy, change))
    return change(policy)
