"""`Router`: a predictor and a policy together make decisions."""

import copy
import time
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Unpack

import numpy as np

from lookahead_router.errors import ConfigurationError, UncalibratedScoresWarning
from lookahead_router.hub import HubOptions
from lookahead_router.policies import BestQuality, Policy, Restricted, reads_probabilities, rename
from lookahead_router.predictors.base import Predictor
from lookahead_router.predictors.load import load_predictor
from lookahead_router.prompts import Prompt, prompt_text
from lookahead_router.types import Candidate, CandidatePool, Decision


class Router:
    """Sends each prompt to the candidate of highest utility.

    Immutable, safe under threads and picklable; `restrict_to` and `with_aliases` return new routers
    that share the weights. Deciding is compute: call it off the event loop in async code.
    """

    def __init__(
        self,
        predictor: Predictor,
        *,
        policy: Policy | None = None,
        aliases: Mapping[str, str | Candidate] | None = None,
    ) -> None:
        """Joins a predictor and a policy.

        Args:
            predictor: prompts to scores.
            policy: scores to utilities; `BestQuality()` when absent.
            aliases: `{candidate's name in the predictor's pool: the name, or the candidate with prices,
                to decide among}`.

        Raises:
            UnknownCandidateError: an alias of a name that is not in the pool.
        """
        self.predictor = predictor
        self.policy = BestQuality() if policy is None else policy
        self.pool: CandidatePool = predictor.pool.rename(aliases or {})
        """The candidates that decisions are among, under their aliases."""
        self._columns = list(range(len(self.pool)))
        self._has_warned = False

    @classmethod
    def from_pretrained(
        cls,
        location: str | Path | None = None,
        *,
        policy: Policy | None = None,
        aliases: Mapping[str, str | Candidate] | None = None,
        backend: str = "auto",
        n_threads: int | None = None,
        **hub: Unpack[HubOptions],
    ) -> "Router":
        """A router over the embedded predictor, over the one in a folder, or over one of the Hugging Face Hub.

        Args:
            location: folder of a saved predictor or baseline, or `org/name` on the Hub; the embedded default,
                without network, when absent.
            policy: scores to utilities; `BestQuality()` when absent.
            aliases: `{candidate's name in the predictor's pool: the name, or the candidate with prices,
                to decide among}`.
            backend: `auto`, `onnx-int8`, `onnx` or `torch`; not for a baseline.
            n_threads: threads of one ONNX pass; not for a baseline.
            hub: `revision`, `token`, `cache_dir`, `local_files_only` and `endpoint`, for a repository.

        Raises:
            CheckpointError: the folder is missing, damaged or of another kind.
            ConfigurationError: an unknown backend, options of the Hub for a folder, or any of them for a baseline.
            HubError: the repository cannot be read.
            UnknownCandidateError: an alias of a name that is not in the pool.
        """
        predictor = load_predictor(location, backend=backend, n_threads=n_threads, **hub)
        return cls(predictor, policy=policy, aliases=aliases)

    def route(self, prompt: Prompt) -> Decision:
        """The decision for one prompt.

        Raises:
            PromptError: an empty prompt, no user message, or a wrong type.
        """
        return self._decide([prompt_text(prompt)])[0]

    def route_batch(self, prompts: Iterable[Prompt]) -> list[Decision]:
        """A decision per prompt, the same ones as `route` gives.

        Raises:
            PromptError: a prompt that cannot be routed; says which.
        """
        return self._decide(prompts if isinstance(prompts, str) else list(prompts))

    def probabilities(self, prompt: Prompt | Decision) -> dict[str, float]:
        """Probability in [0, 1] of every candidate's answer to be good, by name.

        Absolute, where scores are relative to the pool; see `LookaheadPredictor.predict_probabilities`.

        Args:
            prompt: as for `route`; or a decision of this router, which spares a second prediction.

        Raises:
            PromptError: as `route`.
            ConfigurationError: the predictor is not calibrated, or the decision is of another router.
        """
        if isinstance(prompt, Decision):
            if prompt.scores.keys() != set(self.pool.names) or prompt.revision != self.predictor.revision:
                raise ConfigurationError("the decision is of another router; pass one of this router, or the prompt")
            scores = np.full((1, len(self.predictor.pool)), 0.5)  # each curve reads its own candidate's score alone
            scores[0, self._columns] = [prompt.scores[name] for name in self.pool.names]
        else:
            scores = self.predictor.predict_scores([prompt_text(prompt)])
        return dict(zip(self.pool.names, self._calibrate(scores)[0].tolist(), strict=True))

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
        columns = [self._columns[self.pool.index(name)] for name in pool.names]
        return self._with_pool(pool, columns, {name: name for name in pool.names})

    def with_aliases(self, aliases: Mapping[str, str | Candidate]) -> "Router":
        """A router whose candidates go by other names: `{name in this router's pool: new name}`,
        or a whole `Candidate` with its prices. Names that a `Restricted` policy lists follow.

        Raises:
            UnknownCandidateError: a name is not in this router's pool.
            ConfigurationError: two candidates would share a name.
        """
        pool = self.pool.rename(aliases)
        return self._with_pool(pool, self._columns, dict(zip(self.pool.names, pool.names, strict=True)))

    def with_policy(self, policy: Policy) -> "Router":
        """The same router under another policy; shares the weights."""
        router = copy.copy(self)
        router.policy = policy
        return router

    def _with_pool(self, pool: CandidatePool, columns: list[int], names: Mapping[str, str]) -> "Router":
        router = self.with_policy(rename(self.policy, self.pool, names))
        router.pool, router._columns = pool, columns
        return router

    def _decide(self, prompts: list[Prompt]) -> list[Decision]:
        start = time.perf_counter()
        predicted = self.predictor.predict_scores(prompts)
        scores = predicted[:, self._columns]
        more = (self._probabilities(predicted),) if reads_probabilities(self.policy) else ()
        utilities = self.policy.utilities(scores, self.pool, *more)
        if (utilities == -np.inf).all(axis=1).any():
            raise ConfigurationError(f"{self.policy!r} excludes every candidate of {', '.join(self.pool.names)}")
        choices = np.argmax(utilities, axis=1)  # the first of equals: the earlier candidate
        latency = (time.perf_counter() - start) / max(len(choices), 1)
        names = self.pool.names
        return [
            Decision(
                candidate=self.pool[int(choice)],
                scores=dict(zip(names, scores[row].tolist(), strict=True)),
                utilities={
                    name: utility
                    for name, utility in zip(names, utilities[row].tolist(), strict=True)
                    if utility != -np.inf
                },
                policy=repr(self.policy),
                predictor=self.predictor.name,
                revision=self.predictor.revision,
                latency_seconds=latency,
            )
            for row, choice in enumerate(choices)
        ]

    def _calibrate(self, scores: np.ndarray) -> np.ndarray:
        """Probabilities of this router's candidates from the scores of the predictor's whole pool."""
        calibrate = getattr(self.predictor, "calibrate", None)
        if calibrate is None:
            raise ConfigurationError(f"{self.predictor!r} predicts scores only; use a calibrated predictor")
        return calibrate(scores)[:, self._columns]

    def _probabilities(self, scores: np.ndarray) -> np.ndarray:
        """As `_calibrate`; the scores themselves, with a warning, where the predictor is not calibrated."""
        try:
            return self._calibrate(scores)
        except ConfigurationError as error:
            if not self._has_warned:
                self._has_warned = True
                warnings.warn(
                    f"the policy reads probabilities and takes predicted scores for them: {error} (said once)",
                    UncalibratedScoresWarning,
                    stacklevel=4,
                )
            return scores[:, self._columns]

    def __repr__(self) -> str:
        return f"Router({self.predictor!r}, policy={self.policy!r}, pool={list(self.pool.names)})"
