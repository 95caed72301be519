"""The values that every other module speaks of: candidates, the pool, a prediction, a decision."""

import copy
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import TYPE_CHECKING, Any, overload

from lookahead_router.checks import amount, boolean, mapping, optional, settle, strict, text, whole, words
from lookahead_router.errors import ConfigurationError, PredictionError, UnknownCandidateError
from lookahead_router.threads import computed_once

if TYPE_CHECKING:
    import numpy as np


def check_mapping(value: object, name: str) -> None:
    """Raises `ConfigurationError` for an option that has to be a mapping and is none."""
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{name} must be a mapping from names, got {type(value).__name__}")


_AMOUNTS = (
    "input_usd_per_million_tokens",
    "output_usd_per_million_tokens",
    "cached_input_usd_per_million_tokens",
    "usd_per_call",
    "seconds_per_call",
)


_NOTHING = (None, frozenset(), {})


def _name(value: object) -> str:
    name = text(value)
    if name != name.strip():
        raise ValueError("a name may not begin or end with whitespace")
    return name


def _metadata(value: object) -> dict[str, Any]:
    plain = mapping(value)
    try:
        return json.loads(json.dumps(plain, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"must be plain JSON: {error}") from error


@strict
@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An LLM that a prompt may go to.

    Raises:
        ConfigurationError: a field that there is not, or a value that it cannot have; says which.
    """

    name: str
    input_usd_per_million_tokens: float | None = None
    output_usd_per_million_tokens: float | None = None
    cached_input_usd_per_million_tokens: float | None = None
    """Price of prompt tokens that the provider has kept from the last call; says what leaving a conversation costs."""
    usd_per_call: float | None = None
    """Mean dollars of one call where that was measured; policies take it before the token prices."""
    seconds_per_call: float | None = None
    """Mean seconds of one call, as measured or given."""
    context_window_tokens: int | None = None
    capabilities: frozenset[str] = frozenset()
    """What it can do beyond text, in the user's own words: `"tools"`, `"images"`, ..."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """Anything else, as plain JSON."""
    local: bool = False
    """Whether it may see personal data and secrets, as one on a machine of your own may; see `Privacy`."""

    def __post_init__(self) -> None:
        settle(
            self,
            name=_name,
            **dict.fromkeys(_AMOUNTS, optional(amount)),
            context_window_tokens=optional(whole(1)),
            capabilities=words,
            metadata=_metadata,
            local=boolean,
        )

    @property
    def has_price(self) -> bool:
        """Whether it is known what a call costs."""
        tokens = (self.input_usd_per_million_tokens, self.output_usd_per_million_tokens)
        return self.usd_per_call is not None or None not in tokens

    def at_price(self, price: "float | tuple[float, float]") -> "Candidate":
        """This candidate with prices: dollars a call, or dollars per million prompt and response tokens.

        Raises:
            ConfigurationError: a price that is neither, or out of range.
        """
        if isinstance(price, tuple | list) and len(price) == 2:
            prices = {
                "usd_per_call": None,
                "input_usd_per_million_tokens": price[0],
                "output_usd_per_million_tokens": price[1],
            }
        elif isinstance(price, Real) and not isinstance(price, bool):
            prices = {"usd_per_call": price}
        else:
            raise ConfigurationError(
                f"the price of {self.name!r} is dollars a call, or a pair of dollars per million prompt and response "
                f"tokens, got {price!r}"
            )
        return replace(self, **prices)

    def __hash__(self) -> int:
        return hash(self.name)

    def told(self) -> dict[str, Any]:
        """The fields that say something, by name: those that are not as they are where nothing is given."""
        return {key: value for key, value in vars(self).items() if value is not False and value not in _NOTHING}

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, without the fields that are not set."""
        told = self.told()
        for name, plain in (("capabilities", sorted), ("metadata", copy.deepcopy)):
            if name in told:
                told[name] = plain(told[name])
        return told


@dataclass(frozen=True, init=False)
class CandidatePool(Sequence[Candidate]):
    """The ordered candidates of a predictor; their order is the column order of every array."""

    candidates: tuple[Candidate, ...]

    def __init__(self, candidates: Iterable[Candidate | Mapping[str, Any] | str]) -> None:
        """Builds a pool from candidates, their dicts, or bare names.

        Raises:
            ConfigurationError: no candidate, or a name twice.
        """
        if isinstance(candidates, str | Mapping | Candidate):
            single = "name" if isinstance(candidates, str) else "candidate"
            raise ConfigurationError(f"a pool is a list of candidates; wrap a single {single} in a list")
        built = tuple(_candidate(candidate) for candidate in candidates)
        names = [candidate.name for candidate in built]
        if not built:
            raise ConfigurationError("a pool needs at least one candidate")
        columns = {name: column for column, name in enumerate(names)}
        if len(columns) < len(names):
            repeated = sorted(name for name, n in Counter(names).items() if n > 1)
            raise ConfigurationError(f"candidate names must be unique; repeated: {', '.join(repeated)}")
        # Every decision asks for them, once a candidate.
        vars(self).update(candidates=built, _names=tuple(names), _columns=columns)

    @property
    def names(self) -> tuple[str, ...]:
        """Names in pool order."""
        return self._names

    @computed_once
    def prices(self) -> "np.ndarray":
        """`(3, n_candidates)` dollars whose sum is the price of a call: of the call itself, where that was measured,
        and else of a million prompt and response tokens; the others are 0, and what is not known is NaN."""
        import numpy as np

        def parts(candidate: Candidate) -> tuple[float | None, ...]:
            if candidate.usd_per_call is not None:
                return candidate.usd_per_call, 0.0, 0.0
            return 0.0, candidate.input_usd_per_million_tokens, candidate.output_usd_per_million_tokens

        return np.array([parts(candidate) for candidate in self], dtype=np.float64).T  # None becomes NaN

    def __len__(self) -> int:
        return len(self.candidates)

    def __iter__(self) -> Iterator[Candidate]:
        return iter(self.candidates)

    @overload
    def __getitem__(self, key: int | str) -> Candidate: ...

    @overload
    def __getitem__(self, key: slice) -> tuple[Candidate, ...]: ...

    def __getitem__(self, key: int | str | slice) -> Candidate | tuple[Candidate, ...]:
        """The candidate at an index or of a name; a slice gives a tuple."""
        return self.candidates[self.index(key) if isinstance(key, str) else key]

    def __contains__(self, item: object) -> bool:
        return item in self.candidates or item in self.names

    def index(self, value: Any, start: int = 0, stop: int | None = None) -> int:
        """The column of a candidate or a name.

        Raises:
            UnknownCandidateError: the pool does not hold it.
        """
        name = value.name if isinstance(value, Candidate) else value
        column = self._columns.get(name) if isinstance(name, str) else None
        if column is None or not start <= column < (len(self) if stop is None else stop):
            raise UnknownCandidateError(name, self.names)
        return column

    def subset(self, names: Iterable[str]) -> "CandidatePool":
        """The named candidates, in the order of this pool.

        Raises:
            UnknownCandidateError: a name is not in the pool.
            ConfigurationError: no name is given.
        """
        if isinstance(names, str):
            raise ConfigurationError("expected a list of candidate names; wrap a single name in a list")
        if not isinstance(names, Iterable):
            raise ConfigurationError(f"expected a list of candidate names, got {type(names).__name__}")
        columns = sorted({self.index(name) for name in names})
        if not columns:
            raise ConfigurationError(f"no candidate is left; keep at least one of {', '.join(self.names)}")
        return CandidatePool(self.candidates[column] for column in columns)

    def rename(self, aliases: "Mapping[str, str | Candidate]") -> "CandidatePool":
        """A pool of the same columns under other names: `{name in this pool: new name, or a whole candidate}`.

        A candidate brings its own prices, window and capabilities.

        Raises:
            UnknownCandidateError: a name is not in the pool.
            ConfigurationError: two candidates would share a name.
        """
        check_mapping(aliases, "aliases")
        if not aliases:
            return self
        for name in aliases:
            self.index(name)
        return CandidatePool(_renamed(candidate, aliases.get(candidate.name)) for candidate in self)

    def with_call_costs(self, costs_usd: Iterable[float]) -> "CandidatePool":
        """A pool of the same candidates with measured costs.

        Args:
            costs_usd: `(n_candidates,)` mean dollars of one call, >= 0; NaN leaves a candidate as it is.

        Raises:
            ConfigurationError: another number of costs than of candidates, or one out of range.
        """
        costs = [float(cost) for cost in costs_usd]
        if len(costs) != len(self):
            raise ConfigurationError(f"expected a cost for each of the {len(self)} candidates, got {len(costs)}")
        return CandidatePool(
            candidate if math.isnan(cost) else replace(candidate, usd_per_call=cost)
            for candidate, cost in zip(self, costs, strict=True)
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types: what `pool.json` holds."""
        return {"candidates": [candidate.to_dict() for candidate in self]}


def _renamed(candidate: Candidate, alias: str | Candidate | None) -> Candidate:
    if alias is None or isinstance(alias, Candidate):
        return alias or candidate
    return replace(candidate, name=alias)


def _candidate(value: Candidate | Mapping[str, Any] | str) -> Candidate:
    if isinstance(value, Candidate):
        return value
    if isinstance(value, str):
        return Candidate(name=value)
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return Candidate(**value)
    raise ConfigurationError(f"a candidate is a Candidate, a dict or a name, not {type(value).__name__}")


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a predictor foresees for prompts: one row a prompt, one column a candidate, in the order of the pool.

    Raises:
        PredictionError: an array of another shape, a value that is not finite, or one out of its range.
    """

    pool: CandidatePool
    """The candidates, in column order."""
    scores: "np.ndarray"
    """`(n_prompts, n_candidates)` predicted scores in [0, 1], higher is better; comparable within a row."""
    probabilities: "np.ndarray | None" = None
    """`(n_prompts, n_candidates)` chance in [0, 1] that an answer is good; `None` where the predictor is not
    calibrated."""
    standard_errors: "np.ndarray | None" = None
    """`(n_prompts, n_candidates)` standard errors of the probabilities, >= 0; `None` where they are not known."""
    expected_tokens: "np.ndarray | None" = None
    """`(n_prompts, n_candidates)` expected response lengths in tokens, >= 0; `None` where they are not foreseen."""
    prompt_tokens: "np.ndarray | None" = None
    """`(n_prompts,)` lengths of the prompts in tokens, >= 0; `None` where they were not counted."""

    def __post_init__(self) -> None:
        import numpy as np

        n_candidates = len(self.pool)
        n_prompts = len(self.scores) if np.ndim(self.scores) else 0
        for name, highest in _PREDICTED.items():
            values = getattr(self, name)
            if values is None:
                continue
            try:
                values = np.array(values, dtype=np.float64)
            except (TypeError, ValueError) as error:
                raise PredictionError(f"{name} must be an array of numbers: {error}") from error
            shape = (n_prompts,) if name == "prompt_tokens" else (n_prompts, n_candidates)
            if values.shape != shape:
                raise PredictionError(f"{name} must have the shape {shape}, got {values.shape}")
            least, most = (values.min(), values.max()) if values.size else (0.0, 0.0)  # NaN where there is one
            if not -math.inf < least <= most < math.inf:
                raise PredictionError(f"{name} holds a value that is not finite; the weights are damaged or diverged")
            if least < -_ROUNDING or most > highest + _ROUNDING:
                raise PredictionError(f"{name} must lie in [0, {highest:g}], got {least:.6g} to {most:.6g}")
            if least < 0.0 or most > highest:
                values = np.clip(values, 0.0, highest)
            object.__setattr__(self, name, values)

    @classmethod
    def _checked(cls, **values: Any) -> "Prediction":
        """One of all its attributes, which whoever gives them has checked; the arrays are float64 and its own."""
        prediction = object.__new__(cls)
        object.__setattr__(prediction, "__dict__", values)
        return prediction

    def __len__(self) -> int:
        """The number of prompts."""
        return len(self.scores)

    def select(self, names: Iterable[str]) -> "Prediction":
        """The columns of the named candidates, in the order given.

        Raises:
            UnknownCandidateError: a name is not in the pool.
        """
        names = tuple(names)
        if names == self.pool.names:
            return self
        columns = [self.pool.index(name) for name in names]
        pool = CandidatePool(self.pool[column] for column in columns)
        return self._with(
            pool=pool,
            **{
                name: values[:, columns]
                for name in _PREDICTED
                if name != "prompt_tokens" and (values := getattr(self, name)) is not None
            },
        )

    def of(self, rows: "Sequence[int]") -> "Prediction":
        """The rows of some of the prompts, in the order given."""
        rows = list(rows)
        return self._with(**{name: values[rows] for name in _PREDICTED if (values := getattr(self, name)) is not None})

    def with_pool(self, pool: CandidatePool) -> "Prediction":
        """This prediction over a pool of other names or prices; itself, where it is of that pool.

        Raises:
            PredictionError: the pool has another number of candidates.
        """
        if pool is self.pool:
            return self
        return replace(self, pool=pool) if len(pool) != len(self.pool) else self._with(pool=pool)

    def _with(self, **changes: Any) -> "Prediction":
        """A copy with some attributes changed, whose values were checked before."""
        return self._checked(**{**vars(self), **changes})


_PREDICTED = {
    "scores": 1.0,
    "probabilities": 1.0,
    "standard_errors": math.inf,
    "expected_tokens": math.inf,
    "prompt_tokens": math.inf,
}
"""The arrays of a prediction and the highest value of each."""
_ROUNDING = 1e-6


_BY_NAME = ("scores", "utilities", "probabilities", "standard_errors", "expected_usd")
"""The attributes of a decision that are dicts by candidate name."""


class _ByName:
    """One of these, which is made when it is first asked for; see `Decision._of`."""

    def __init__(self, name: str, place: int) -> None:
        self._name, self._place = name, place

    def __get__(self, decision: "Decision | None", owner: "type[Decision]") -> Any:
        if decision is None:
            return self
        attributes = vars(decision)
        names, rows = attributes["_rows"]
        row = rows[self._place]
        found = {} if row is None else dict(zip(names, row, strict=True))
        attributes[self._name] = {name: value for name, value in found.items() if math.isfinite(value)} or None
        return attributes[self._name]


def _made_when_asked(decision: "type[Decision]") -> "type[Decision]":
    for place, name in enumerate(_BY_NAME):
        setattr(decision, name, _ByName(name, place))
    return decision


@_made_when_asked
@dataclass(frozen=True)
class Decision:
    """Where a prompt goes, and why. Holds nothing of the prompt."""

    candidate: Candidate
    """The chosen one."""
    scores: dict[str, float]
    """Predicted score by candidate name, in [0, 1]; as the predictor's calibration says."""
    utilities: dict[str, float]
    """What the policy maximised, by candidate name; without candidates that it excluded."""
    policy: str
    """The policy in words, e.g. `BestQuality()`."""
    predictor: str
    """The predictor's name."""
    revision: str | None
    """The predictor's revision: a Hub commit or a fingerprint of its weights."""
    latency_seconds: float
    """Wall time of the prediction; in a batch, its share."""
    probabilities: dict[str, float] | None = None
    """Chance in [0, 1] that a candidate's answer is good, by name; `None` where the predictor is not calibrated."""
    standard_errors: dict[str, float] | None = None
    """Standard error of each probability, by name; `None` where it is not known."""
    expected_usd: dict[str, float] | None = None
    """Expected dollars of this call, by the names of the candidates that have a price; `None` where none has."""
    route: str | None = None
    """Name of the route that the request belongs to; `None` for none, or where the router has no routes."""
    similarity: float | None = None
    """In [-1, 1], to the most similar route; `None` where the router has no routes, or a chat model tells them."""
    private: tuple[str, ...] = ()
    """Kinds of personal data and secrets in the request, for which only local candidates were admitted."""

    @classmethod
    def _of(cls, names: Sequence[str], rows: Sequence[Sequence[float] | None], **told: Any) -> "Decision":
        """One whose dicts are made when they are first asked for; most never are.

        Args:
            names: of all candidates.
            rows: for each of `_BY_NAME` a value a candidate, without those that are not finite, or `None`.
            told: the other attributes, but those that are left at their defaults.
        """
        decision = object.__new__(cls)
        object.__setattr__(decision, "__dict__", {"_rows": (names, rows), **told})
        return decision

    @property
    def name(self) -> str:
        """The chosen candidate's name."""
        return self.candidate.name

    @property
    def ranking(self) -> tuple[str, ...]:
        """The names that the policy admits, the choice first, then by falling utility."""
        others = (name for name in self.utilities if name != self.name)
        return self.name, *sorted(others, key=self.utilities.__getitem__, reverse=True)

    @property
    def runner_up(self) -> str | None:
        """Name of the second choice; `None` where there was one candidate to choose from."""
        return self.ranking[1] if len(self.utilities) > 1 else None

    @property
    def margin(self) -> float | None:
        """Utility of the choice above the runner-up's, at least 0; `None` without a runner-up."""
        return None if self.runner_up is None else self.utilities[self.name] - self.utilities[self.runner_up]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "candidate": self.candidate.to_dict(),
            "scores": dict(self.scores),
            "utilities": dict(self.utilities),
            "probabilities": self.probabilities and dict(self.probabilities),
            "standard_errors": self.standard_errors and dict(self.standard_errors),
            "expected_usd": self.expected_usd and dict(self.expected_usd),
            "runner_up": self.runner_up,
            "margin": self.margin,
            "policy": self.policy,
            "predictor": self.predictor,
            "revision": self.revision,
            "latency_seconds": self.latency_seconds,
            "route": self.route,
            "similarity": self.similarity,
            "private": list(self.private),
        }
