"""`Dispatcher`: plans calls among candidates."""

import functools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lookahead_router.dispatch.attempts import Attempts
from lookahead_router.dispatch.cascade import Cascade, checked_cascade
from lookahead_router.dispatch.cooldowns import RULES, Cooldowns
from lookahead_router.dispatch.options import check_options, names_of
from lookahead_router.dispatch.sources import Prices, arrange_router, names_behind, open_router
from lookahead_router.dispatch.stickiness import SWITCH_GAIN, check_gain, weigh
from lookahead_router.dispatch.threads import RecentThreads
from lookahead_router.errors import ConfigurationError, PrivacyError, PromptError, UnknownCandidateError
from lookahead_router.failures import Failure
from lookahead_router.policies import chosen_policy
from lookahead_router.prompts import NEEDS, Prompt, Request, check_needs
from lookahead_router.routes.definition import Match
from lookahead_router.threads import PerProcess
from lookahead_router.types import Candidate, Decision, check_mapping

if TYPE_CHECKING:
    from lookahead_router.privacy import Privacy
    from lookahead_router.router import Router  # loads what predicts
    from lookahead_router.routes import RouteMatcher, Routes

Fallbacks = Literal["next-best"] | None
Sticky = Literal["thread", "turn", "adaptive"] | None

logger = logging.getLogger(__name__)
_NOTHING = "nothing to route on: no message of the user's holds text; add one, or name a default= that answers then"
_learning = PerProcess(threading.RLock)


@dataclass(frozen=True)
class Abilities:
    """What an adapter knows of the model behind a candidate. What is not known excludes nobody."""

    can: Mapping[str, bool] = field(default_factory=dict)
    """Capability, in the words of `Candidate.capabilities`: whether the model has it."""
    window_tokens: int | None = None
    """Tokens of a conversation that it reads at most; goes before the pool's."""

    def __post_init__(self) -> None:
        check_mapping(self.can, "can")
        if wrong := [name for name, can in self.can.items() if name not in NEEDS or not isinstance(can, bool | None)]:
            raise ConfigurationError(
                f"can says True or False of {', '.join(NEEDS)}; got {', '.join(map(repr, wrong))} with "
                f"{', '.join(repr(self.can[name]) for name in wrong)}"
            )
        window = self.window_tokens
        if window is not None and (type(window) is not int or window < 1):
            raise ConfigurationError(f"window_tokens must be a whole number from 1 on, got {window!r}")


class Dispatcher:
    """Plans calls among candidates: routed, forced or kept ones, those that can take the request, and fallbacks.

    Safe under threads. A pickled one loads its router again where it came from a location and has learnt nothing.
    """

    def __init__(
        self,
        router: "Router | str | Path | None",
        candidates: Iterable[str] | None = None,
        *,
        revision: str | None = None,
        aliases: Mapping[str, str | Candidate] | None = None,
        profiles: Mapping[str, str] | None = None,
        policy: Any = None,
        quality: float | None = None,
        prices: Prices | None = None,
        default: str | None = None,
        fallbacks: Fallbacks = None,
        fallback_on: Callable[[Exception], bool] | None = None,
        sticky: Sticky = None,
        switch_gain: float | None = None,
        threads: MutableMapping[str, str] | None = None,
        cooldowns: Cooldowns | None = None,
        abilities: Mapping[str, Abilities] | None = None,
        routes: "Routes | RouteMatcher | None" = None,
        cascade: Cascade | None = None,
        privacy: "Privacy | None" = None,
    ) -> None:
        """Loads the router and holds every name against its pool.

        Args:
            router: a `Router`, a folder, a Hub id, or `None` for the embedded predictor. What a location holds
                is loaded once per process.
            candidates: names to dispatch among, in the order in which they stand in where there is no decision;
                the router's pool when absent. A predictor for any pool, as the embedded one, takes whatever names
                you use; another one must know them.
            revision: commit or tag of a Hub repository.
            aliases: `{name in the router's pool, or that joins it: the name here, or a Candidate with prices}`.
            profiles: `{name here: known name}`: whose profile a candidate starts from that nobody knows.
            policy: scores to utilities; the router's own when absent.
            quality: in place of a policy, the share in [0, 1] of the best candidate's expected quality to keep, as
                cheaply as that allows: `KeepQuality(quality)`.
            prices: `{name here: dollars of a call}`, or `{name here: (dollars per million prompt tokens, dollars per
                million response tokens)}`; those of aliases, of the pool or of the catalogue where it names none.
            default: answers where the predictor fails, or there is nothing to route on.
            fallbacks: `"next-best"` asks the next candidate of the ranking where one fails, by `RULES`.
            fallback_on: which errors are worth another candidate; goes before `RULES`.
            sticky: `"thread"` stays with the candidate that answered the thread last. What `"turn"` stays with
                the adapter reads in the conversation, and hands over as `keep`. `"adaptive"` does as `"turn"`
                and stays with the candidate that holds the conversation besides, unless another one's predicted
                score is higher by more than `switch_gain`; a greeting holds nothing.
            switch_gain: score in [0, 1] that a switch must add, for `sticky="adaptive"`; 0.02 when absent, and
                more, up to all of it, the likelier the question goes on with its topic.
            threads: candidate by thread id; by default in memory, the 10,000 threads used last.
            cooldowns: shared with other dispatchers, or of this one when absent.
            abilities: what is known of the models, by candidate.
            routes: kinds of requests with their candidates, under the names here; the router's own when absent.
            cascade: looks at answers of routed calls without tools, and asks again where that is worth it.
            privacy: which requests only local candidates may see; as the router has it when absent.

        Raises:
            ConfigurationError: a value out of its domain, or a policy that cannot decide among the candidates.
            UnknownCandidateError: a candidate, an alias or the default that the pool does not hold, or a profile of
                a name that is not known.
            CheckpointError, HubError: nothing to load at the location.
        """
        check_options(fallbacks, fallback_on, sticky, threads, cooldowns)
        names = names_of(candidates)
        policy = chosen_policy(policy, quality)
        self._open = functools.partial(
            open_router, router, revision=revision, aliases=aliases, names=names, profiles=profiles
        )
        self._arrange = functools.partial(
            arrange_router,
            aliases=aliases,
            names=names,
            prices=prices,
            policy=policy,
            routes=routes,
            privacy=privacy,
        )
        self._theirs = names_behind(aliases or {})
        self._routers: tuple[Router, Router] | None = self._opened()
        self._arrange = functools.partial(self._arrange, routes=self.router.routes)  # which need not be fitted again
        self._has_learnt = False
        self.candidates: tuple[str, ...] = self.router.pool.names if names is None else tuple(names)
        """Names, in the order in which they stand in where there is no decision."""
        self.default: str | None = None if default is None else self.check_name(default)
        self.fallbacks = fallbacks
        self.fallback_on = fallback_on
        self.sticky = sticky
        self.switch_gain: float = SWITCH_GAIN if switch_gain is None else check_gain(switch_gain)
        self.threads: MutableMapping[str, str] = RecentThreads() if threads is None else threads
        self.cooldowns: Cooldowns = Cooldowns() if cooldowns is None else cooldowns
        self.abilities: dict[str, Abilities] = dict(abilities or {})
        for name, known in self.abilities.items():
            if not isinstance(known, Abilities):
                raise ConfigurationError(f"abilities[{name!r}] must be Abilities(...), got {type(known).__name__}")
            self.check_name(name)
        self.cascade: Cascade | None = checked_cascade(cascade, self.router, self.candidates)

    @property
    def router(self) -> "Router":
        """The router over the candidates."""
        return self._loaded[1]

    @property
    def base(self) -> "Router":
        """The router before aliases, choice of candidates and policy; a dispatcher made of it is as this one."""
        return self._loaded[0]

    @staticmethod
    def learning() -> AbstractContextManager[object]:
        """Held while feedback is worked in; whoever keeps the router elsewhere puts it there meanwhile."""
        return _learning()

    def observe(self, prompt: Prompt, candidate: str, score: float) -> "Router":
        """Learns from one more scored answer; calls planned from now on know it. Computes, as `plan` does.

        Args:
            prompt: what was asked: the text that was routed, or messages.
            candidate: who answered.
            score: how good the answer was, in [0, 1].

        Returns:
            `router`, as it is now.

        Raises:
            ConfigurationError: the predictor's pool is fixed.
            UnknownCandidateError: the name is no candidate.
            PromptError: the prompt cannot be routed.
            DataError: the score is no number in [0, 1].
        """
        name = self.check_name(candidate)
        return self.learn(lambda base: base.observe(prompt, self._theirs.get(name, name), score))

    def learn(self, change: Callable[["Router"], "Router"]) -> "Router":
        """Puts what is made of `base` in its place; calls planned from now on know it. `router`, as it is now."""
        with _learning():
            base = change(self.base)
            self._routers, self._has_learnt = (base, self._arrange(base)), True
            return self.router

    @property
    def _loaded(self) -> "tuple[Router, Router]":
        if (routers := self._routers) is None:  # unpickled
            routers = self._routers = self._opened()
        return routers

    def _opened(self) -> "tuple[Router, Router]":
        base = self._open()
        return base, self._arrange(base)

    def plan(
        self,
        text: str | Request,
        *,
        needs: Iterable[str] = (),
        n_tokens: int = 0,
        forced: str | None = None,
        keep: str | None = None,
        held: str | None = None,
        thread: str | None = None,
        policy: Any = None,
        cascades: bool = True,
    ) -> Attempts:
        """The candidates for a request, nobody asked yet. Computes: in async code, call it off the event loop.

        A forced candidate answers without a prediction and has no fallback. One that is kept comes first, if it
        can take the request. The others follow in the decision's ranking or, without a decision, in their order
        here. With fallbacks, candidates in their cooldown are asked last.

        Args:
            text: what is routed on, or the whole request, as `read_request` gives it; empty where there is nothing,
                which the default answers.
            needs: what a candidate must be able to do, in the words of `Candidate.capabilities`; besides the
                request's.
            n_tokens: length of the whole conversation, >= 0, where a text is given; count conservatively.
            forced: the candidate that the caller wants.
            keep: the candidate to stay with.
            held: the candidate that answered the conversation last, for `sticky="adaptive"`; what a greeting went
                to holds nothing.
            thread: id of the conversation, for `sticky="thread"` and `"adaptive"`.
            policy: scores to utilities, for this call.
            cascades: whether the cascade, if there is one, may ask more than once for it.

        Raises:
            UnknownCandidateError: the forced name is no candidate.
            ConfigurationError: no candidate can take the request, an unknown need, or a length that is none.
            PromptError: nothing to route on, and no default.
            PrivacyError: something is private, and nobody local may answer.
        """
        needs = check_needs(needs)
        if isinstance(n_tokens, bool) or not isinstance(n_tokens, Real) or not n_tokens >= 0:
            raise ConfigurationError(f"n_tokens must be a number, at least 0, got {n_tokens!r}")
        is_read = isinstance(text, Request)
        request = text if is_read else Request(text, n_tokens=n_tokens)
        needs |= request.needs
        if self.sticky == "adaptive":
            from lookahead_router.prompts.followups import has_matter

            held = held if request.has_topic or not is_read else None
            held = self.threads.get(thread) if held is None and thread is not None else held
            thread = thread if request.has_topic or has_matter(request.text) else None  # a greeting pins nothing
        if forced is not None:
            self._check_private(self.check_name(forced), request)
            return Attempts(self, [forced], {"candidate": forced, "reason": "forced"}, thread=thread)
        if self.router.routes is None:
            return self._planned(request, needs, keep, held, thread, policy, cascades)
        from lookahead_router.predictors.passes import one_pass

        with one_pass():  # the route is matched on what the decision reads
            return self._planned(request, needs, keep, held, thread, policy, cascades)

    def _planned(
        self,
        request: Request,
        needs: frozenset[str],
        keep: str | None,
        held: str | None,
        thread: str | None,
        policy: Any,
        cascades: bool,
    ) -> Attempts:
        """See `plan`."""
        router, facts = self._routed(self.router, request, policy)
        ruled_out = router.excluded
        admitted = [name for name in self.candidates if name not in ruled_out]
        unable = self._unable(admitted, needs, request.n_tokens)
        excluded = {**ruled_out, **unable}
        able = [name for name in self.candidates if name not in excluded]
        if not able:
            reasons = "; ".join(f"{name} {reason}" for name, reason in excluded.items())
            raise ConfigurationError(f"no candidate can take this request: {reasons}")
        facts |= {"excluded": excluded} if excluded else {}
        if keep is None and self.sticky == "thread" and thread is not None:
            keep = self.threads.get(thread)
        if keep in able:
            order, facts = [keep, *able], {"candidate": keep, "reason": "sticky", **facts}
        else:
            if unable:
                router = router.restrict_to(set(self.candidates) - set(unable))
            order, facts = self._decided(router, able, request, held, facts)
            is_looked_at = cascades and facts["reason"] == "routed" and not needs & {"tools", "structured output"}
            if self.cascade is not None and is_looked_at:
                return self.cascade.begin(self, order, request.text, facts, thread)
        return self._attempts(order, facts, thread)

    def check_name(self, name: str) -> str:
        """The name, if it is a candidate's.

        Raises:
            UnknownCandidateError: it is not.
        """
        if name not in self.candidates:
            raise UnknownCandidateError(name, self.candidates)
        return name

    def _check_private(self, name: str, request: Request) -> None:
        """Raises `PrivacyError` where a candidate may not see what is private in a request."""
        router = self.router
        if not router.pool[name].local and (private := router.private_in(request)):
            raise PrivacyError(private, candidate=name)

    def remember(self, thread: str | None, name: str) -> None:
        """Keeps the candidate that answered a thread, if threads are to stay with theirs."""
        if self.sticky in ("thread", "adaptive") and thread is not None:
            self.threads[thread] = name

    def is_worth_another(self, error: Exception, failure: Failure) -> bool:
        """Whether an error is worth asking another candidate."""
        return RULES[failure].asks_next if self.fallback_on is None else bool(self.fallback_on(error))

    def window(self, name: str) -> int | None:
        """Tokens that a candidate reads at most; `None` where nobody knows."""
        known = self.abilities.get(name)
        if known is not None and known.window_tokens is not None:
            return known.window_tokens
        return self.router.pool[name].context_window_tokens

    def with_larger_windows(self, names: Iterable[str], than: str) -> list[str]:
        """Those of the candidates that may read more than another one, for which a request was too long."""
        smallest = self.window(than)
        if smallest is None:
            return list(names)
        return [name for name in names if (window := self.window(name)) is None or window > smallest]

    def _routed(self, router: "Router", request: Request, policy: Any) -> "tuple[Router, dict[str, Any]]":
        """The router that decides for such requests, and what the record says of the route and of what is private."""
        private, facts = router.private_in(request), {}
        try:
            from lookahead_router.routes.opening import matches_of  # loads what predicts

            (match,) = matches_of([request], [private], router.routes)
        except ConfigurationError:
            raise
        except Exception as error:
            if self.default is None:
                raise
            match = Match(error=type(error).__name__, private=private)  # not its message, which may quote the prompt
        if router.routes is not None and request.text.strip():
            facts = {"route": match.route, "similarity": match.similarity}
            facts |= {} if match.error is None else {"route_error": match.error}
        elif router.routes is not None:
            router = router.with_routes(None)  # nothing tells of which route it is
        facts |= {"private": list(private)} if private else {}
        return router.within(match, policy), facts

    def _decided(
        self, router: "Router", able: list[str], request: Request, held: str | None, facts: dict[str, Any]
    ) -> tuple[list[str], dict[str, Any]]:
        """The order and the record of a decision, or of the default where there is none."""
        try:
            if not request.text.strip():
                raise PromptError(_NOTHING)
            start = time.perf_counter()
            prediction = router.predict([request])
            (decision,) = router.decide(prediction)
            weighed = None
            if self.sticky == "adaptive" and held in decision.utilities:
                weighed = weigh(router, prediction, decision, held, self.switch_gain, request)
            decision = replace(decision, latency_seconds=time.perf_counter() - start)
            facts = {**decision_facts(decision), "reason": "routed", **facts}
            if weighed is None:
                return list(decision.ranking), facts
            facts["stickiness"] = weighed
            if weighed["stays"]:
                return [held, *decision.ranking], {**facts, "candidate": held, "reason": "sticky"}
            return list(decision.ranking), facts
        except ConfigurationError:
            raise  # a wrong option is not a failure of the moment, and no default may hide it
        except Exception as error:
            if self.default is None:
                raise
            name = self.default if self.default in able else able[0]
            kind = type(error).__name__  # not its message, which may quote the prompt
            logger.warning("the predictor failed with %s; %s answers instead", kind, name)
            return [name, *able], {"candidate": name, "reason": "default", "error": kind, **facts}

    def _attempts(self, order: list[str], facts: dict[str, Any], thread: str | None) -> Attempts:
        order = list(dict.fromkeys(order))
        if self.fallbacks is None:
            return Attempts(self, order[:1], facts, thread=thread)
        left = {name: self.cooldowns.seconds_left(name) for name in order}
        order.sort(key=left.__getitem__)  # stable: the ranking, and then who is back first
        why = {name: self.cooldowns.why(name) for name in order if left[name]}
        cooling = {name: failure.value for name, failure in why.items() if failure is not None}
        return Attempts(self, order, {**facts, "cooling": cooling} if cooling else facts, thread=thread)

    def _unable(self, names: list[str], needs: frozenset[str], n_tokens: int) -> dict[str, str]:
        """Why candidates cannot take a request, by name.

        Where the request seems too long for everyone, those with the largest window stay in: tokens are estimated.
        """
        reasons = {name: reason for name in names if (reason := self._lack(name, needs))}
        windows = {name: self.window(name) for name in names if name not in reasons}
        known = [window for window in windows.values() if window is not None]
        largest = float("inf") if None in windows.values() else max(known, default=0)
        for name, window in windows.items():
            if window is not None and window < min(n_tokens, largest):
                reasons[name] = f"takes {window} tokens, the conversation has about {n_tokens}"
        return reasons

    def _lack(self, name: str, needs: frozenset[str]) -> str | None:
        abilities, candidate = self.abilities.get(name, Abilities()), self.router.pool[name]
        for need in sorted(needs):
            can = abilities.can.get(need)
            if can is False:
                return f"has no {need}, says its model"
            # What a pool lists are abilities of the model; structured output is the adapter's to know.
            listed = candidate.capabilities if can is None and need != "structured output" else None
            if listed and need not in listed:
                return f"has no {need}, says its entry in the pool"
        return None

    def __getstate__(self) -> dict[str, Any]:
        source = self._open.args[0]
        is_location = source is None or isinstance(source, str | Path)
        return {**self.__dict__, "_routers": None if is_location and not self._has_learnt else self._routers}


def decision_facts(decision: Decision) -> dict[str, Any]:
    """A decision as records hold it: plain JSON, with nothing of the prompt."""
    facts = decision.to_dict()
    del facts["runner_up"]  # the ranking tells it
    facts |= {"candidate": decision.name, "ranking": list(decision.ranking)}
    optional = ("probabilities", "standard_errors", "expected_usd", "route", "similarity", "private")
    return {key: value for key, value in facts.items() if value not in (None, []) or key not in optional}
