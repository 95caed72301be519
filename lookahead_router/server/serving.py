"""The pool at work: its router, who is forced by which name of a model, and what calls cost."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lookahead_router.dispatch import Cooldowns, Dispatcher, RecentThreads
from lookahead_router.errors import ConfigurationError, UnknownCandidateError
from lookahead_router.live.pool import OPENAI_URL, CandidateConfig, PoolConfig, check_prices
from lookahead_router.policies import BestQuality, KeepQuality, Policy, Restricted
from lookahead_router.predictors.load import OPEN_EMBEDDED
from lookahead_router.predictors.open_pool import OpenPoolPredictor
from lookahead_router.predictors.profiles import Profile
from lookahead_router.prompts import Request
from lookahead_router.router import Router
from lookahead_router.saved.folder import PredictorFolder
from lookahead_router.server.protocols import Protocol, Responses, Usage
from lookahead_router.server.refusals import Refusal
from lookahead_router.server.upstream import check_key
from lookahead_router.types import Candidate

AUTO = "auto"
CHEAP_SHARE = 0.8
"""What `auto:cheap` keeps of the best candidate's expected quality."""
EXAMPLES = (AUTO, "auto:best", "auto:cheap", "auto:0.95")


@dataclass(frozen=True)
class Choice:
    """What a request's `model` stands for."""

    forced: str | None = None
    """The candidate that it names."""
    policy: Policy | None = None
    """In place of the pool's own."""


@dataclass(frozen=True)
class Turn:
    """A turn of a conversation, and those before it, by what their answers are remembered under."""

    name: str | None = None
    goes_on: bool = False
    """Whether somebody may have answered in it."""
    before: tuple[str, ...] = ()
    """The latest one first."""


class Memory:
    """What outlives a reading of the pool file: who failed of late, and who answered which thread."""

    def __init__(self) -> None:
        self.cooldowns = Cooldowns()
        self.threads = RecentThreads()


class Serving:
    """A pool file as it was read, with its router. Read anew, it is another object; requests keep theirs."""

    def __init__(
        self,
        config: PoolConfig,
        router: Router,
        memory: Memory,
        sticky: Literal["turn", "thread", "adaptive"] | None = None,
    ) -> None:
        """Puts a router to work.

        Raises:
            ConfigurationError: a candidate whose name is one of the router's own words, or without its key, or without
                a price where answers are weighed against dollars.
        """
        for candidate in config.candidates:
            if candidate.name.partition(":")[0] == AUTO:
                raise ConfigurationError(f"{candidate.name!r} cannot be a candidate's name: it asks for a decision")
            check_key(candidate)
        if config.cascade is not None:
            check_prices(router.pool, "a cascade weighs answers against dollars")
        self.config = config
        self.memory = memory
        self._by_name = {candidate.name: candidate for candidate in config.candidates}
        self._sticky = sticky
        self.dispatcher = Dispatcher(
            router,
            fallbacks="next-best",
            default=config.candidates[0].name,
            sticky=None if sticky == "turn" else sticky,
            threads=memory.threads,
            cooldowns=memory.cooldowns,
            routes=config.routes,
            privacy=config.privacy,
            cascade=None if config.cascade is None else config.cascade.cascade(),
        )
        self.without_logprobs: set[str] = set()
        """Candidates that refuse to give log-probabilities, as far as that was found out."""

    @classmethod
    def load(
        cls,
        path: Path,
        memory: Memory,
        *,
        router: str | None = None,
        learnt: Path | None = None,
        sticky: Literal["turn", "thread", "adaptive"] | None = None,
        before: "Serving | None" = None,
        n_threads: int | None = None,
    ) -> "Serving":
        """Reads a pool file and loads its router.

        Args:
            path: the file.
            memory: what is known already.
            router: folder or Hub id, in place of the file's.
            learnt: folder that goes before both, once there is something in it.
            sticky: see `Settings`.
            before: the reading before, whose profiles are kept where it is the same router.
            n_threads: threads of one prediction.

        Raises:
            ConfigurationError, UnknownCandidateError: the file, a key, or a name in it.
            CheckpointError, HubError: no router at its location.
        """
        config = PoolConfig.load(path)
        if router is not None:
            config = PoolConfig(**{**config.model_dump(exclude_none=True), "router": router})
        candidates = list(config.pool())
        if before is not None and before.config.router == config.router and before.is_open:
            chosen = before.dispatcher.base.with_candidates(candidates, profiles=config.profiles())
            return cls(config, _with_policy(chosen, config), memory, sticky)
        location = config.router or OPEN_EMBEDDED
        if learnt is not None and PredictorFolder(learnt).config.exists():
            location = learnt
        chosen = Router.from_pretrained(
            location,
            candidates=candidates,
            profiles=config.profiles() or None,
            n_threads=n_threads,
        )
        return cls(config, _with_policy(chosen, config), memory, sticky)

    @property
    def router(self) -> Router:
        """The router as it is now, with what feedback taught."""
        return self.dispatcher.router

    @property
    def is_open(self) -> bool:
        """Whether the router learns and takes other candidates."""
        return isinstance(self.router.predictor, OpenPoolPredictor)

    @property
    def has_prices(self) -> bool:
        """Whether every candidate has one."""
        return all(candidate.has_price for candidate in self.router.pool)

    def profiles(self) -> dict[str, Profile]:
        """What is known of each candidate by now; empty where the pool is fixed."""
        predictor = self.dispatcher.base.predictor
        members = predictor.members if isinstance(predictor, OpenPoolPredictor) else ()
        return {member.candidate.name: member.profile for member in members}

    def adopt(self, profiles: Mapping[str, Profile]) -> None:
        """Takes over profiles that were learnt elsewhere, of candidates that are here."""
        if self.is_open:
            self.dispatcher.learn(lambda base: base.with_learnt(profiles))

    def __getitem__(self, name: str) -> CandidateConfig:
        return self._by_name[name]

    def models(self) -> list[str]:
        """What a request's `model` may be, as far as it can be listed."""
        weighing = EXAMPLES if self.has_prices else (AUTO, "auto:best")
        return [*weighing, *self._by_name]

    def choice(self, model: Any) -> Choice:
        """What a request's `model` stands for; `auto` where it has none.

        Raises:
            UnknownCandidateError: no candidate.
            ConfigurationError: no name at all, or a share of quality that is none.
        """
        if model is None or model == AUTO:
            return Choice()
        if not isinstance(model, str):
            raise ConfigurationError(f"model must be a name, not {type(model).__name__}")
        name, separator, wish = model.partition(":")
        if name != AUTO or not separator:
            if model not in self._by_name:
                raise UnknownCandidateError(model[:200], self.models())
            return Choice(forced=model)
        if wish == "best":
            return Choice(policy=BestQuality())
        try:
            policy = KeepQuality(CHEAP_SHARE if wish == "cheap" else float(wish))
        except ValueError:
            raise ConfigurationError(
                "model: expected auto, auto:best, auto:cheap, auto:SHARE with a share in [0, 1], or a candidate"
            ) from None
        if not self.has_prices:
            raise ConfigurationError(f"{model}: the prices of some candidates are not known here; ask for auto:best")
        return Choice(policy=policy)

    def policy(self, protocol: Protocol, choice: Choice) -> Policy | None:
        """The policy that chooses among the candidates that speak a protocol; `None` for the pool's own.

        Raises:
            Refusal: 404, nobody speaks it.
        """
        names = [each.name for each in self.config.candidates if _offers(each, protocol)]
        if len(names) == len(self.config.candidates) or choice.forced is not None:
            return choice.policy
        if not names:
            raise Refusal(404, f"no candidate here offers {protocol.path}", code="not_offered")
        return Restricted(self.router.policy if choice.policy is None else choice.policy, allow=names)

    @property
    def keeps_threads(self) -> bool:
        """Whether who answered a thread matters."""
        return self._sticky in ("thread", "adaptive")

    def turn(self, messages: Any, request: Request) -> Turn:
        """The turn that a request belongs to, if turns stay with their candidates."""
        if self._sticky not in ("turn", "adaptive") or not isinstance(messages, list) or not request.text:
            return Turn()
        digest, names, places = hashlib.sha256(), [], set(request.turn_starts)
        for place, message in enumerate(messages):
            digest.update(repr(message).encode("utf-8", "surrogatepass"))
            if place in places:
                names.append(f"turn/{digest.hexdigest()}")
        if not names:
            return Turn()
        before = tuple(reversed(names[:-1])) if self._sticky == "adaptive" else ()
        return Turn(names[-1], len(messages) > request.turn_start + 1, before)

    def usd(self, name: str, usage: Usage) -> float | None:
        """Dollars of a call by its tokens; `None` without a price."""
        return call_usd(self.router.pool[name], usage)

    def curve(self, text: str) -> list[dict[str, Any]]:
        """Who is chosen at which share of quality to keep: steps from 0 to 1, empty without prices."""
        if not self.has_prices:
            return []
        prediction = self.router.predict([text])
        scores = prediction.scores[0]
        shares = {float(score / scores.max()) for score in scores} if scores.max() > 0 else set()
        steps: list[dict[str, Any]] = []
        for share in sorted(shares | {1.0}):
            policy = KeepQuality(share * (1 - 1e-9))  # a candidate is kept up to its own share
            name = self.router.pool.names[int(policy.utilities(prediction, self.router.pool)[0].argmax())]
            if steps and steps[-1]["candidate"] == name:
                steps[-1]["to"] = share
            else:
                steps.append({"from": steps[-1]["to"] if steps else 0.0, "to": share, "candidate": name})
        return steps


def call_usd(candidate: Candidate, usage: Usage) -> float | None:
    """Dollars of a call by its tokens; the mean where only that is known, `None` without a price."""
    prices = (candidate.input_usd_per_million_tokens, candidate.output_usd_per_million_tokens)
    if None in prices:
        return candidate.usd_per_call
    return (usage.input_tokens * prices[0] + usage.output_tokens * prices[1]) / 1e6


def _with_policy(router: Router, config: PoolConfig) -> Router:
    """The router with the pool file's policy."""
    if config.quality is None:
        return router.with_policy(None)
    check_prices(router.pool, "quality is kept as cheaply as that allows")
    return router.with_policy(KeepQuality(config.quality))


def _offers(config: CandidateConfig, protocol: Protocol) -> bool:
    """Whether a candidate speaks a protocol: OpenAI's own the newer one, others the older one, as a rule."""
    is_its_rule = (config.url == OPENAI_URL) == isinstance(protocol, Responses)
    return protocol.is_offered_by_all or is_its_rule or protocol.path.strip("/") in config.capabilities
