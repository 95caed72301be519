"""What a router learns: from scored answers, and from what was learnt elsewhere. Most is for predictors of any pool."""

import copy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Self

from lookahead_router.errors import ConfigurationError
from lookahead_router.policies import Policy, check_policy
from lookahead_router.predictors.base import Predictor
from lookahead_router.predictors.open_pool import OpenPoolPredictor
from lookahead_router.prompts import Prompt
from lookahead_router.types import CandidatePool

if TYPE_CHECKING:
    from lookahead_router.data.dataset import RoutingDataset
    from lookahead_router.predictors.profiles import Profile


class Learning:
    """The part of `Router` that learns. Every method gives a new router, and the old one stays as it was."""

    predictor: Predictor
    pool: CandidatePool
    policy: Policy
    _names: tuple[str, ...]
    _is_usual: bool
    """Whether the policy is chosen anew whenever pool or profiles change."""
    _policy: Policy | None

    def onboard(self, dataset: "RoutingDataset", *, beside: "RoutingDataset | None" = None) -> Self:
        """A router that has seen scored answers: better profiles, and new candidates for names that it does not have.

        An `in-context` predictor learns too: records grow, and whoever has at least 20 scored answers joins.

        Args:
            dataset: prompts with observed scores in [0, 1], under this router's names; a part of the prompts is
                enough for each candidate.
            beside: scored answers that candidates of this router have learnt from already, to the same prompts. They
                tell which of these are harder than they look, and are not learnt from again.

        Raises:
            ConfigurationError: the predictor's pool is fixed, or answers beside for one that knows no profiles.
            DataError: a score outside [0, 1], a candidate without any score, or, on record, with too few of them, no
                prompt, or answers beside to others.
        """
        names = dict(zip(self.pool.names, self._names, strict=True))
        if not isinstance(self.predictor, OpenPoolPredictor) and callable(getattr(self.predictor, "onboard", None)):
            if beside is not None:
                raise ConfigurationError(
                    f"{self.predictor!r} has no profiles, of which answers beside tell; leave them out"
                )
            predictor = self.predictor.onboard(dataset.rename(names))
        else:
            predictor = self._open("onboard").onboard(
                dataset.rename(names), beside=None if beside is None else beside.rename(names)
            )
        joined = [name for name in predictor.pool.names if name not in self.predictor.pool.names]
        return self._over(predictor, joined)

    def observe(self, prompt: Prompt, candidate: str, score: float) -> Self:
        """A router that has seen one more scored answer. The old one stays as it was.

        Args:
            prompt: what was asked.
            candidate: who answered, under this router's names.
            score: how good the answer was, in [0, 1].

        Raises:
            ConfigurationError: the predictor's pool is fixed.
            UnknownCandidateError: the name is not in the pool.
            PromptError: the prompt cannot be routed.
            DataError: the score is no number in [0, 1].
        """
        name = self._names[self.pool.index(candidate)]
        return self._over(self._open("observe").observe(prompt, name, score), ())

    def with_learnt(self, profiles: "Mapping[str, Profile]") -> Self:
        """A router whose candidates have these profiles, such as a router elsewhere has learnt.

        Args:
            profiles: `{name in this router's pool: its profile}`; other names are left out, and candidates that are
                not named keep theirs.

        Raises:
            ConfigurationError: the predictor's pool is fixed.
        """
        known = zip(self.pool.names, self._names, strict=True)
        theirs = {of: profiles[name] for name, of in known if name in profiles}
        return self._over(self._open("learn").with_profiles(theirs), ())

    def save(self, folder: str | Path) -> None:
        """Writes the predictor, with the profiles that it has by now; `from_pretrained` reads the folder.

        Raises:
            ConfigurationError: the folder holds something else.
        """
        self.predictor.save(folder)

    @property
    def taken_for(self) -> dict[str, str]:
        """What each name stands for, and on what its profile rests, in words; empty where the pool is fixed."""
        if not isinstance(self.predictor, OpenPoolPredictor):
            return {}
        about = {member.candidate.name: member.about for member in self.predictor.members}
        return {name: about[theirs] for name, theirs in zip(self.pool.names, self._names, strict=True)}

    def _open(self, verb: str) -> OpenPoolPredictor:
        if not isinstance(self.predictor, OpenPoolPredictor):
            raise ConfigurationError(
                f"{self.predictor!r} cannot {verb}: its pool is fixed by its training; fit all answers together again, "
                "or use a predictor for any pool, such as the embedded one"
            )
        return self.predictor

    def _over(self, predictor: Predictor, joined: Iterable[str]) -> Self:
        """This router over a predictor that has learnt, and has new candidates at the end of its pool."""
        router = copy.copy(self)
        router.predictor, router._names = predictor, (*self._names, *joined)
        candidates = [*self.pool, *(predictor.pool[name] for name in joined)]
        router.pool = CandidatePool(candidates)
        if router._is_usual:
            router._policy = None
        else:
            check_policy(router.policy, router.pool)
        return router
