"""`Router`: a predictor and a policy together make decisions."""

import copy
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from lookahead_router.errors import ConfigurationError, PredictionError
from lookahead_router.hub import HubOptions
from lookahead_router.learning import Learning
from lookahead_router.policies import (
    PROMPT_TOKENS,
    BestQuality,
    Policy,
    Restricted,
    call_costs,
    check_policy,
    checked_utilities,
    chosen_policy,
    rename,
)
from lookahead_router.predictors.base import Predictor, read_requests
from lookahead_router.predictors.load import embedded_location, load_predictor
from lookahead_router.predictors.open_pool import OpenPoolPredictor
from lookahead_router.prompts import Passage, Prompt, Request, prompt_text, read_request
from lookahead_router.prompts.tokens import paid_tokens
from lookahead_router.saved.find import OPEN_EMBEDDED
from lookahead_router.types import Candidate, CandidatePool, Decision, Prediction, check_mapping
from lookahead_router.workhorse import usual_policy

# What routes and privacy need is loaded where they are: most routers have neither.
if TYPE_CHECKING:
    from lookahead_router.privacy.guard import Privacy
    from lookahead_router.routes.definition import Match, Routes
    from lookahead_router.routes.matching import RouteMatcher


class Router(Learning):
    """Sends each prompt to the candidate of highest utility.

    Immutable, safe under threads and picklable; `restrict_to`, `with_aliases`, `with_prices` and `with_policy`
    return new routers that share the weights. Deciding is compute: call it off the event loop in async code.
    """

    def __init__(
        self,
        predictor: Predictor,
        *,
        policy: Policy | None = None,
        aliases: Mapping[str, str | Candidate] | None = None,
        routes: "Routes | RouteMatcher | None" = None,
        privacy: "Privacy | None" = None,
    ) -> None:
        """Joins a predictor and a policy.

        Args:
            predictor: what foresees the answers.
            policy: predictions to utilities. When absent, a `Workhorse` by what the predictor foresees of ordinary
                prompts and by the prices; `BestQuality()` where either is not known.
            aliases: `{candidate's name in the predictor's pool: the name, or the candidate with prices,
                to decide among}`.
            routes: kinds of requests with their candidates, as `with_routes` takes them.
            privacy: which requests only local candidates may see; all may see all when absent.

        Raises:
            UnknownCandidateError: an alias, or a name that the policy or a route lists, is not in the pool.
            ConfigurationError: no predictor, no policy, or one that cannot decide among these candidates, say for want
                of prices.
        """
        is_one = callable(getattr(predictor, "predict", None)) and not isinstance(predictor, type)
        if not is_one or not isinstance(getattr(predictor, "pool", None), CandidatePool):
            raise ConfigurationError(
                f"a predictor is an object with a pool and predict(prompts), fitted or loaded, got {predictor!r:.200}; "
                "Router.from_pretrained loads one from a folder or the Hub"
            )
        self.predictor: Predictor = predictor
        self.pool: CandidatePool = predictor.pool.rename(aliases or {})
        """The candidates that decisions are among, under their aliases."""
        self._names = predictor.pool.names
        self._is_usual, self._policy = policy is None, None
        if policy is not None:
            check_policy(policy, self.pool)
            self.policy = policy
        self.routes: RouteMatcher | None = None
        """What tells which route a request belongs to; `None` where there are no routes."""
        self.privacy: Privacy | None = None
        """What tells which requests only local candidates may see."""
        if routes is not None:
            self.routes = self.with_routes(routes).routes
        if privacy is not None:
            vars(self).update(vars(self.with_privacy(privacy)))

    @classmethod
    def from_pretrained(
        cls,
        location: str | Path | None = None,
        *,
        candidates: "Iterable[str | Candidate] | Mapping[str, str | Candidate] | None" = None,
        profiles: Mapping[str, str] | None = None,
        prices: Mapping[str, float | tuple[float, float]] | None = None,
        policy: Policy | None = None,
        quality: float | None = None,
        aliases: Mapping[str, str | Candidate] | None = None,
        routes: "Routes | RouteMatcher | None" = None,
        privacy: "Privacy | None" = None,
        backend: str = "auto",
        n_threads: int | None = None,
        **hub: Unpack[HubOptions],
    ) -> "Router":
        """A router over the embedded predictor, over the one in a folder, or over one of the Hugging Face Hub.

        Args:
            location: folder of a saved predictor or baseline, or `org/name` on the Hub; an embedded one, without
                network, when absent: the one for any pool, or the paper's where you name none but its five.
            candidates: names, `Candidate`s, or `{name: known name}` to decide among. A predictor for any pool takes
                whatever names you use; another one must know them. When absent, those that routes name, or the
                predictor's own pool: of the embedded one, gpt-4o, gpt-4o-mini, claude-sonnet-4, gemini-2.5-pro,
                deepseek-r1 and llama-3.1-8b-instruct.
            profiles: `{name: known name}`: whose profile a candidate starts from that nobody knows.
            policy: predictions to utilities; when absent, a `Workhorse` for a pool with all prices, and else
                `BestQuality()`.
            prices: of candidates that have none, or others than known, as `with_prices` takes them.
            quality: in place of a policy, the share in [0, 1] of the best candidate's expected quality to keep, as
                cheaply as that allows: `KeepQuality(quality)`.
            aliases: `{candidate's name in the predictor's pool: the name, or the candidate with prices,
                to decide among}`.
            routes: kinds of requests with their candidates, as `with_routes` takes them.
            privacy: which requests only local candidates may see; all may see all when absent.
            backend: `auto`, `onnx-int8`, `onnx` or `torch`; not for a baseline.
            n_threads: threads of one ONNX pass; not for a baseline.
            hub: `revision`, `token`, `cache_dir`, `local_files_only` and `endpoint`, for a repository.

        Raises:
            CheckpointError: the folder is missing, damaged or of another kind.
            ConfigurationError: an unknown backend, options of the Hub for a folder, or any of them for a baseline.
            HubError: the repository cannot be read.
            UnknownCandidateError: an alias or a candidate that the predictor cannot know.
        """
        policy = chosen_policy(policy, quality)
        if candidates is None and location is None and not aliases and routes is not None:
            from lookahead_router.routes.definition import Routes

            candidates = (routes if isinstance(routes, Routes) else routes.routes).candidates
        if location is None and (candidates is not None or aliases):
            location = OPEN_EMBEDDED if profiles else embedded_location(_known_names(candidates, aliases))
        predictor = load_predictor(location, backend=backend, n_threads=n_threads, **hub)
        router = cls(predictor, aliases=aliases)
        if candidates is not None:
            router = router.with_candidates(candidates, profiles=profiles)
        elif profiles:
            raise ConfigurationError("profiles are for named candidates; name these too")
        if prices is not None:
            router = router.with_prices(prices)
        if policy is not None:
            router = router.with_policy(policy)
        if routes is not None:
            router = router.with_routes(routes)
        return router if privacy is None else router.with_privacy(privacy)

    def route(self, prompt: Prompt | Request, *, context: Iterable[Passage] = ()) -> Decision:
        """The decision for one prompt.

        Args:
            prompt: a text, the messages of a conversation, or what `read_request` made of them.
            context: passages that were retrieved for it and are not among its messages. The question decides; they
                count as tokens to pay for.

        Raises:
            PromptError: an empty prompt, no user message, a wrong type, or a passage without text.
        """
        if isinstance(prompt, str) and not context:
            text, reads_context = prompt_text(prompt), getattr(self.predictor, "reads_context", False)
            if self.routes is None and self.privacy is None and not reads_context:  # nobody asks for more of a request
                start = time.perf_counter()
                prediction = self.over_pool(self.predictor.predict([text]), 1)
                return self.decide(prediction, latency_seconds=time.perf_counter() - start)[0]
            prompt = Request(text)
        return self._decide([prompt if isinstance(prompt, Request) else read_request(prompt, context=context)])[0]

    def route_batch(self, prompts: Iterable[Prompt | Request]) -> list[Decision]:
        """A decision per prompt, the same ones as `route` gives.

        Raises:
            PromptError: a prompt that cannot be routed; says which. A lone prompt, which belongs in `route`.
        """
        return self._decide(read_requests(prompts))

    def predict(self, prompts: Iterable[Prompt | Request]) -> Prediction:
        """What is foreseen for the prompts, over this router's pool.

        Raises:
            PromptError: a prompt that cannot be routed; says which.
            PredictionError: the predictor gave no prediction, or one of other prompts.
        """
        return self._predict(read_requests(prompts))

    def decide(self, prediction: Prediction, *, latency_seconds: float = 0.0) -> list[Decision]:
        """A decision for each row of what was foreseen over this router's pool.

        Args:
            prediction: of `predict`.
            latency_seconds: what to say of each decision.

        Raises:
            ConfigurationError: the policy cannot decide by it.
        """
        pool, predictor = self.pool, self.predictor
        utilities = checked_utilities(self.policy, prediction, pool)
        choices = utilities.argmax(axis=1).tolist()  # the first of equals: the earlier candidate
        chances, errors = prediction.probabilities, prediction.standard_errors
        nothing = [None] * len(choices)
        rows = zip(
            prediction.scores.tolist(),
            utilities.tolist(),
            nothing if chances is None else chances.tolist(),
            nothing if errors is None else errors.tolist(),
            call_costs(prediction, pool).tolist(),
            strict=True,
        )
        return [
            Decision._of(
                pool.names,
                row,
                candidate=pool.candidates[choice],
                policy=self._policy_words,
                predictor=predictor.name,
                revision=predictor.revision,
                latency_seconds=latency_seconds,
            )
            for choice, row in zip(choices, rows, strict=True)
        ]

    def over_pool(self, prediction: Prediction, n_prompts: int) -> Prediction:
        """A prediction of this router's predictor, over this router's pool.

        Args:
            prediction: over the predictor's pool.
            n_prompts: the prompts that it must hold.

        Raises:
            PredictionError: it is none, or holds another number of them.
        """
        if not isinstance(prediction, Prediction):
            raise PredictionError(f"{self.predictor!r} must give a Prediction, got {type(prediction).__name__}")
        if len(prediction) != n_prompts:
            raise PredictionError(
                f"{self.predictor!r} gave {len(prediction)} rows for {n_prompts} prompts; it must give one a prompt"
            )
        return prediction.select(self._names).with_pool(self.pool)

    @property
    def policy(self) -> Policy:
        """What makes utilities of predictions; the usual one is chosen when it is first asked for."""
        if self._policy is None:
            self.policy = self._usual_policy()
        return self._policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        self._policy_words, self._policy = repr(policy), policy  # what tells that both are there comes last

    @property
    def excluded(self) -> dict[str, str]:
        """Why candidates are never chosen, by name, where the policy is `Restricted`; empty where it is not.

        Raises:
            ConfigurationError: as the policy's `excluded`.
        """
        return self.policy.excluded(self.pool) if isinstance(self.policy, Restricted) else {}

    def restrict_to(self, names: Iterable[str]) -> "Router":
        """A router that decides among the named candidates only.

        Scores stay those of the whole pool: the prediction is joint.

        Raises:
            UnknownCandidateError: a name is not in this router's pool.
            ConfigurationError: no name is given.
        """
        pool = self.pool.subset(names)
        kept = [self._names[self.pool.index(name)] for name in pool.names]
        return self._with_pool(pool, kept, {name: name for name in pool.names})

    def with_candidates(
        self,
        candidates: "Iterable[str | Candidate] | Mapping[str, str | Candidate]",
        *,
        profiles: Mapping[str, str] | None = None,
    ) -> "Router":
        """A router that decides among these candidates.

        Args:
            candidates: names, `Candidate`s, or `{name: known name}`. A predictor for any pool takes whatever names
                you use, this router's among them; a fixed pool must hold the known ones.
            profiles: `{name: known name}`: whose profile a candidate starts from that nobody knows.

        Raises:
            UnknownCandidateError: a name that the predictor cannot know.
            ConfigurationError: no candidate, a name twice, or profiles for a fixed pool.
        """
        known = {}
        if isinstance(candidates, Mapping):
            known = {name: of for name, of in candidates.items() if isinstance(of, str) and of != name}
            candidates = [of if isinstance(of, Candidate) else name for name, of in candidates.items()]
        check_mapping(profiles or {}, "profiles")
        pool = CandidatePool(candidates)
        ours = dict(zip(self.pool.names, self._names, strict=True))
        if isinstance(self.predictor, OpenPoolPredictor):
            wanted = [
                replace(self.pool[one.name], **{**one.told(), "name": name})
                if (name := ours.get(one.name)) is not None
                else one
                for one in pool
            ]
            predictor = self.predictor.with_candidates(wanted, profiles={**known, **(profiles or {})})
            router = copy.copy(self)
            router.predictor, router._names = predictor, predictor.pool.names
            back = {theirs: name for name, theirs in ours.items()}
            router.pool = predictor.pool.rename({name: back[name] for name in predictor.pool.names if name in back})
            left = {name: name for name in pool.names if name in ours}
            return router._under(router._policy_from(self, left), left)
        if profiles:
            raise ConfigurationError(f"profiles: the pool of {self.predictor!r} is fixed by its training")
        aliases = {
            known.get(one.name, one.name): one for one in pool if one.name in known or one.told().keys() > {"name"}
        }
        merged = {of: replace(self.pool[of], **one.told()) for of, one in aliases.items()}
        return self.with_aliases(merged).restrict_to(pool.names)

    def with_aliases(self, aliases: Mapping[str, str | Candidate]) -> "Router":
        """A router whose candidates go by other names: `{name in this router's pool: new name}`,
        or a whole `Candidate` with its prices. Names that a `Restricted` policy lists follow.

        Raises:
            UnknownCandidateError: a name is not in this router's pool.
            ConfigurationError: two candidates would share a name.
        """
        pool = self.pool.rename(aliases)
        return self._with_pool(pool, self._names, dict(zip(self.pool.names, pool.names, strict=True)))

    def with_prices(self, prices: Mapping[str, float | tuple[float, float]]) -> "Router":
        """A router whose candidates have these prices.

        Args:
            prices: `{name: mean dollars of a call}`, or `{name: (dollars per million prompt tokens, dollars per
                million response tokens)}`. Candidates that are not named keep theirs.

        Raises:
            UnknownCandidateError: a name is not in this router's pool.
            ConfigurationError: a price that is neither, or out of range.
        """
        check_mapping(prices, "prices")
        return self.with_aliases({name: self.pool[name].at_price(price) for name, price in prices.items()})

    def with_policy(self, policy: Policy | None) -> "Router":
        """A router under another policy, or the usual one where that is `None`; shares the weights.

        Raises:
            UnknownCandidateError: the policy lists a name that is not in the pool.
            ConfigurationError: no policy, or one that cannot decide among these candidates.
        """
        router = copy.copy(self)
        router._is_usual, router._policy = policy is None, None
        if policy is not None:
            check_policy(policy, self.pool)
            router.policy = policy
        if self.routes is not None:
            from lookahead_router.routes.opening import check_routes

            check_routes(self.routes.routes, router.policy, self.pool)
        return router

    def with_routes(self, routes: "Routes | RouteMatcher | None") -> "Router":
        """A router with routes: within the one that a request belongs to, the policy decides among its
        candidates.

        Args:
            routes: `Routes`, which are fitted on the predictor's own embeddings, or on those of the embedded network
                where it has none; what `Routes.fit` or `Routes.using` made of them; `None` for no routes.

        Raises:
            UnknownCandidateError: a route names a candidate that is not in the pool.
            ConfigurationError: a route without an example, or one in which the policy cannot decide.
        """
        from lookahead_router.routes.opening import open_routes

        router = copy.copy(self)
        router.routes = None if routes is None else open_routes(routes, self.predictor, self.policy, self.pool)
        return router

    def with_privacy(self, privacy: "Privacy | None") -> "Router":
        """A router in which requests with personal data or secrets go to local candidates alone.

        Raises:
            UnknownCandidateError: it names a candidate that is not in the pool.
            ConfigurationError: no privacy.
        """
        from lookahead_router.privacy.guard import Privacy

        if privacy is not None and not isinstance(privacy, Privacy):
            raise ConfigurationError(f"privacy must be Privacy(...), got {type(privacy).__name__}")
        named = () if privacy is None else privacy.local
        marked = {name: replace(self.pool[name], local=True) for name in named}
        router = self.with_aliases(marked) if marked else copy.copy(self)
        router.privacy = privacy
        return router

    def within(self, match: "Match", policy: Policy | None = None) -> "Router":
        """A router without routes and privacy, that decides as this one does for requests of that match.

        Args:
            match: the route, and what is private.
            policy: in place of this router's, which is tried first.

        Raises:
            PrivacyError: something is private, and no candidate that may answer is local.
        """
        from lookahead_router.routes.opening import policy_within

        router, chosen = copy.copy(self), self.policy if policy is None else policy
        router.routes, router.privacy, router._is_usual = None, None, False
        routes = None if self.routes is None else self.routes.routes
        router.policy = policy_within(match, chosen, routes, self.privacy, self.pool)
        return router if policy is None else router.with_policy(router.policy)

    def private_in(self, request: Request) -> tuple[str, ...]:
        """Kinds of personal data and secrets in what a request sends; none where the router has no `privacy`."""
        return () if self.privacy is None else self.privacy.found_in(request)

    def _with_pool(self, pool: CandidatePool, predictor_names: Iterable[str], names: Mapping[str, str]) -> "Router":
        router = copy.copy(self)
        router.pool, router._names = pool, tuple(predictor_names)
        return router._under(router._policy_from(self, names), names)

    def _policy_from(self, router: "Router", names: Mapping[str, str]) -> Policy | None:
        """A router's policy for this one's pool: the usual one again, or the same under other names."""
        return None if router._is_usual else rename(router.policy, router.pool, names)

    def _usual_policy(self) -> Policy:
        general = getattr(self.predictor, "in_general", None)
        if not isinstance(general, Prediction):
            return BestQuality()
        return usual_policy(general.select(self._names).with_pool(self.pool), self.pool)

    def _under(self, policy: Policy | None, names: Mapping[str, str]) -> "Router":
        """This new router under a policy for its pool, with its routes among the candidates that are left.

        Args:
            policy: for this pool; the usual one when `None`.
            names: `{name so far: name from now on}`.
        """
        if self.routes is not None:
            self.routes = self.routes.over(self.routes.routes.rename(names))
        return self.with_policy(policy)

    def _decide(self, requests: list[Request]) -> list[Decision]:
        start = time.perf_counter()
        if self.routes is None and self.privacy is None:
            prediction = self._predict(requests)
            return self.decide(prediction, latency_seconds=(time.perf_counter() - start) / max(len(requests), 1))
        from lookahead_router.predictors.passes import one_pass
        from lookahead_router.routes.definition import Match
        from lookahead_router.routes.opening import matches_of

        with one_pass():
            prediction = self._predict(requests)
            matches = matches_of(requests, [self.private_in(request) for request in requests], self.routes)
        seconds = (time.perf_counter() - start) / max(len(requests), 1)
        found: dict[int, Decision] = {}
        for kind in dict.fromkeys(Match(match.route, private=match.private) for match in matches):
            rows = [row for row, each in enumerate(matches) if (each.route, each.private) == (kind.route, kind.private)]
            decisions = self.within(kind).decide(prediction.of(rows), latency_seconds=seconds)
            found |= zip(rows, decisions, strict=True)
        return [
            replace(found[row], route=each.route, similarity=each.similarity, private=each.private)
            for row, each in enumerate(matches)
        ]

    def _predict(self, requests: list[Request]) -> Prediction:
        texts = [prompt_text(request) for request in requests]
        reads_context = getattr(self.predictor, "reads_context", False)
        prediction = self.over_pool(self.predictor.predict(requests if reads_context else texts), len(texts))
        if not any(request.n_tokens for request in requests):
            return prediction
        return replace(prediction, prompt_tokens=paid_tokens(prediction.prompt_tokens, requests, PROMPT_TOKENS))

    def __repr__(self) -> str:
        return f"Router({self.predictor!r}, policy={self.policy!r}, pool={list(self.pool.names)})"


def _known_names(candidates, aliases: Mapping[str, str | Candidate] | None) -> list[str]:
    """The names that a predictor must know for these candidates; none for what is no pool, which others refuse."""
    theirs = {alias.name if isinstance(alias, Candidate) else alias: name for name, alias in (aliases or {}).items()}
    if candidates is None:
        return list(theirs.values())
    if isinstance(candidates, Mapping):
        return [of if isinstance(of, str) else name for name, of in candidates.items()]
    return [theirs.get(name, name) for name in CandidatePool(candidates).names]
