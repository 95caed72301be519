"""`OpenPoolPredictor`: any candidates, each foreseen by its profile on the demands of the prompt."""

import hashlib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from lookahead_router.backends.base import checked_demands
from lookahead_router.errors import (
    ConfigurationError,
    DataError,
    TruncatedPromptWarning,
    UnknownCandidateError,
    UnknownProfileWarning,
)
from lookahead_router.metrics import averaged_sigmoid
from lookahead_router.predictors.base import prompt_texts
from lookahead_router.predictors.catalogue import PUBLIC, Catalogue, Match, facts_of_candidate, widened
from lookahead_router.predictors.passes import passes, shared
from lookahead_router.predictors.profiles import MIN_PROMPTS_TO_TELL, N_FOLDS, Foreseen, Panel, Population, Profile
from lookahead_router.predictors.tokenization import PromptTokenizer
from lookahead_router.prompts import Prompt
from lookahead_router.saved.find import OPEN_EMBEDDED, Found, LoadOptions, check_unchanged, find
from lookahead_router.threads import computed_once
from lookahead_router.types import Candidate, CandidatePool, Prediction, check_mapping

if TYPE_CHECKING:
    from lookahead_router.backends.base import DemandBackend
    from lookahead_router.data.dataset import RoutingDataset
    from lookahead_router.predictors.code_reading import CodeReading
    from lookahead_router.saved.push import Upload

OUTPUTS = ("demands", "difficulty", "log_tokens", "verbosity", "embedding")
"""What the network's graph gives, in the words of `Foreseen`."""
RELATIVE_SHARE = 0.5
"""Share of the population's spread that a relative's profile is widened by."""
CHARACTERS_PER_TOKEN = 4
"""Characters taken for a token in a text that does not fit the window, for its price."""


@dataclass(frozen=True, eq=False)
class Member:
    """A candidate of the pool with its profile, and what its name was taken for."""

    candidate: Candidate
    profile: Profile
    match: Match

    @property
    def about(self) -> str:
        """What the name was taken for, and on what the profile rests, in words."""
        n_public = self.match.entry.n_answers if self.match.how in PUBLIC else 0
        n_own = self.profile.n_answers - n_public
        own = f", {n_own:,} answer{'s' if n_own > 1 else ''} of yours" if n_own > 0 else ""
        return self.match.words + own


@dataclass(eq=False)
class Foreseer:
    """The network behind its tokenizer: prompts to demands, whatever the pool. Shared by all that derive from it."""

    tokenizer: PromptTokenizer
    backend: "DemandBackend"
    code: "CodeReading | None" = None
    """What tells whether code is asked for, as the last of the demands."""
    has_warned: bool = False
    strangers_told: set[str] = field(default_factory=set)
    """Names of which was said that little is known."""

    def __call__(self, texts: Sequence[str]) -> tuple[Foreseen, np.ndarray]:
        """What is foreseen, and the lengths of the prompts in tokens, `(n,)`; read once within `one_pass`."""
        return shared(self, texts, self._read)

    def _read(self, texts: Sequence[str]) -> tuple[Foreseen, np.ndarray]:
        rows, is_truncated = self.tokenizer.encode(texts)
        cut = is_truncated.tolist()
        if True in cut and not self.has_warned:
            self.has_warned = True
            warnings.warn(
                f"a prompt is longer than the window of {self.tokenizer.max_prompt_tokens} tokens; "
                "only a part of it is routed (said once)",
                TruncatedPromptWarning,
                stacklevel=6,
            )
        # What needs no pass is done before it: afterwards the caches hold its weights, and every step is slower.
        frame = len(self.tokenizer.prefix) + len(self.tokenizer.suffix)
        lengths = [
            len(text.encode()) / CHARACTERS_PER_TOKEN if is_cut else max(len(row) - frame, 1)
            for text, row, is_cut in zip(texts, rows, cut, strict=True)
        ]
        lengths = np.array(lengths, dtype=np.float64)
        by_tokens = None if self.code is None else self.code.by_tokens(rows)
        found, R = None, self.backend.n_demands
        for batch, outputs in passes(self.backend, rows, self.tokenizer.pad_token_id, checked_demands):
            if len(rows) == 1:
                found = outputs
                break
            if found is None:
                found = np.empty((len(rows), outputs.shape[1]))
            found[batch] = outputs
        demands, embedding = found[:, :R], found[:, R + 3 :]
        if self.code is not None:
            demands = self.code.joined(demands, embedding, by_tokens)
        return Foreseen(demands, found[:, R], found[:, R + 1], found[:, R + 2], embedding), lengths


class OpenPoolPredictor:
    """A trained network whose cost does not depend on the pool, with the profiles of the candidates at hand.

    Immutable, safe under threads and picklable; `with_candidates`, `onboard` and `observe` return new predictors
    that share the weights.
    """

    def __init__(
        self,
        *,
        foresee: Foreseer,
        population: Population,
        catalogue: Catalogue,
        members: Sequence[Member],
        name: str,
        base_revision: str,
        found: Found | None = None,
    ) -> None:
        """Puts loaded parts together; `load` is what users call."""
        self.foresee: Foreseer = foresee
        self.population: Population = population
        self.catalogue: Catalogue = catalogue
        self.name: str = name
        self.members: tuple[Member, ...] = tuple(members)
        self.pool: CandidatePool = CandidatePool(member.candidate for member in self.members)
        self.base_revision = base_revision
        """Revision of the network and its population; profiles of another one do not fit."""
        self.found = found
        """Where it was loaded from; `None` for one just built."""

    @computed_once
    def _panel(self) -> Panel:
        return self.population.panel([member.profile for member in self.members])

    @computed_once
    def revision(self) -> str:
        """Revision of the network and, once they are the user's own, of the profiles."""
        if not any(member.profile.origin for member in self.members):
            return self.base_revision
        digest = hashlib.sha256()
        for member in self.members:
            digest.update(member.candidate.name.encode() + member.profile.mean.tobytes())
            digest.update(member.profile.covariance.tobytes() + member.profile.lengths.tobytes())
        return f"{self.base_revision}+{digest.hexdigest()[:8]}"

    @computed_once
    def in_general(self) -> Prediction | None:
        """One row: what is foreseen of ordinary prompts, in the mean; `None` for a folder that knows none."""
        population, panel = self.population, self._panel
        if population.ordinary is None:
            return None
        *demands, difficulty, log_tokens, verbosity, prompt_tokens = population.ordinary.T
        nowhere = np.empty((len(difficulty), 0))  # abilities for domains tell nothing of prompts in general
        foreseen = Foreseen(np.stack(demands, axis=1), difficulty, log_tokens, verbosity, nowhere)
        design = np.column_stack([np.ones(len(difficulty)), foreseen.demands])
        logits = design @ panel.means[:, : population.n_abilities].T - difficulty[:, None]
        variances = np.stack([((design @ each) * design).sum(axis=1) for each in panel.covariances], axis=1)
        chances = averaged_sigmoid(logits, variances).mean(axis=0, keepdims=True)
        tokens = population.expected_tokens(foreseen, panel).mean(axis=0, keepdims=True)
        return Prediction(self.pool, chances, chances, None, tokens, prompt_tokens.mean(keepdims=True))

    @property
    def embedder(self) -> None:
        """Nothing: the network gives its own embeddings."""
        return

    def predict(self, prompts: Sequence[Prompt]) -> Prediction:
        """Probabilities of a good answer with their standard errors, and the expected lengths of the answers.

        The scores are the probabilities. Row `i` depends on prompt `i` only, and a column on its candidate only.

        Raises:
            PromptError: a prompt that cannot be routed; says which.
            PredictionError: the weights give no prediction.
        """
        texts = prompt_texts(prompts)
        if not texts:
            nothing = np.zeros((0, len(self.members)))
            return Prediction(self.pool, nothing, nothing, nothing, nothing, np.zeros(0))
        foreseen, prompt_tokens = self.foresee(texts)
        probabilities, errors = self.population.predict(foreseen, self._panel)
        tokens = self.population.expected_tokens(foreseen, self._panel)
        # They are computed within their ranges, or are no numbers; a chance is none only where its error is.
        if not isfinite(errors.ravel().dot(tokens.ravel())):
            return Prediction(self.pool, probabilities, probabilities, errors, tokens, prompt_tokens)
        return Prediction._checked(
            pool=self.pool,
            scores=probabilities.copy(),
            probabilities=probabilities,
            standard_errors=errors,
            expected_tokens=tokens,
            prompt_tokens=prompt_tokens.copy(),  # which others may be given within `one_pass`
        )

    def with_candidates(
        self,
        candidates: Iterable[str | Candidate | Mapping[str, Any]] | Mapping[str, str | Candidate],
        *,
        profiles: Mapping[str, str] | None = None,
    ) -> "OpenPoolPredictor":
        """A predictor over these candidates; those of this pool keep their profiles.

        Of a name that is not known, a warning says once what would help.

        Args:
            candidates: names, `Candidate`s or their dicts; or `{name: known name}`. Prices that a candidate lacks
                are the catalogue's.
            profiles: `{name: the known name whose profile it starts from}`, for names that nobody knows.

        Raises:
            ConfigurationError: no candidate, or a name twice.
            UnknownCandidateError: a profile for a name that is no candidate, or of one that is not known.
        """
        check_mapping(profiles or {}, "profiles")
        profiles = dict(profiles or {})
        if isinstance(candidates, Mapping):
            profiles |= {name: known for name, known in candidates.items() if isinstance(known, str)}
            candidates = [known if isinstance(known, Candidate) else name for name, known in candidates.items()]
        pool = CandidatePool(candidates)
        if any(not isinstance(known, str) for known in profiles.values()):
            raise ConfigurationError("profiles give names that are known, as text: {name here: known name}")
        strays = [name for name in profiles if name not in pool.names]
        if strays:
            raise UnknownCandidateError(strays[0], pool.names)
        ours = {member.candidate.name: member for member in self.members}
        members = []
        for candidate in pool:
            member, known_name = ours.get(candidate.name), profiles.get(candidate.name)
            if member is not None and (known_name is None or self._starts_from(member, known_name)):
                members.append(replace(member, candidate=_merged(candidate, member.candidate)))
            else:
                members.append(self._join(candidate, known_name))
        _warn_of_strangers(members, self.foresee.strangers_told, [entry.name for entry in self.catalogue.entries])
        return self._with(members)

    def onboard(self, dataset: "RoutingDataset", *, beside: "RoutingDataset | None" = None) -> "OpenPoolPredictor":
        """A predictor whose profiles have seen scored answers; candidates that are new here join.

        Known candidates start from their public profiles, with room for how these prompts differ from the public
        ones; a part of the prompts is enough for each. Takes seconds, most of them the network's.

        Args:
            dataset: prompts with observed scores in [0, 1]; they may be missing for some candidates of a prompt.
            beside: scored answers that candidates of this pool have learnt from already. They tell which prompts of
                the dataset are harder than they look, and are not learnt from again.

        Raises:
            DataError: a score outside [0, 1], a candidate without any score, or no prompt.
        """
        if not len(dataset):
            raise DataError("no prompt to learn from; give at least one with a score")
        names = dataset.pool.names
        unjudged = [name for name, column in zip(names, dataset.scores.T, strict=True) if np.isnan(column).all()]
        if unjudged:
            raise DataError(f"no prompt has a score of {', '.join(unjudged)}; judge some, or leave them out")
        joining = [name for name in names if name not in self.pool.names]
        grown = self._with([*self.members, *(self._join_pool(dataset.pool[name]) for name in joining)])
        foreseen, _ = self.foresee(list(dataset.prompts))
        order = [grown.pool.index(name) for name in names]
        profiles = self.population.onboard(
            foreseen,
            [grown.members[k].profile for k in order],
            dataset.scores,
            dataset.output_tokens,
            offsets=0.0 if beside is None else -self._effects(foreseen, dataset, beside),
            folds=folds_to_tell(dataset.prompts),
        )
        members = list(grown.members)
        for k, profile, usd in zip(order, profiles, dataset.call_costs(), strict=True):
            candidate = members[k].candidate
            if not np.isnan(usd) and not candidate.has_price:
                candidate = replace(candidate, usd_per_call=float(usd))
            members[k] = replace(members[k], candidate=candidate, profile=replace(profile, origin="your answers"))
        return self._with(members)

    def observe(self, prompt: Prompt, candidate: str, score: float) -> "OpenPoolPredictor":
        """A predictor whose profile of one candidate has seen one more answer.

        Args:
            prompt: what was asked.
            candidate: who answered.
            score: how good the answer was, in [0, 1].

        Raises:
            UnknownCandidateError: no candidate of this pool.
            PromptError: a prompt that cannot be routed.
            DataError: a score that is no number in [0, 1].
        """
        column = self.pool.index(candidate)
        if isinstance(score, bool) or not isinstance(score, int | float | np.number) or not 0 <= score <= 1:
            raise DataError(f"a score is a number in [0, 1], got {score!r}")
        foreseen, _ = self.foresee(prompt_texts([prompt]))
        members = list(self.members)
        profile = self.population.observe(foreseen, members[column].profile, float(score))
        members[column] = replace(members[column], profile=replace(profile, origin="your answers"))
        return self._with(members)

    def with_profiles(self, profiles: Mapping[str, Profile]) -> "OpenPoolPredictor":
        """A predictor whose candidates have these profiles, by name; those that are not named keep theirs."""
        return self._with(
            replace(member, profile=profiles.get(member.candidate.name, member.profile)) for member in self.members
        )

    def save(self, folder: str | Path) -> None:
        """Writes network, population, catalogue and the profiles of this pool, whole or not at all.

        Raises:
            ConfigurationError: the folder holds something else, or this was not loaded from one.
            CheckpointError: the folder it came from is gone or damaged.
        """
        from lookahead_router.predictors.open_pool_folder import save

        save(self, Path(folder))

    @classmethod
    def load(cls, location: str | Path | None = None, **options: Unpack[LoadOptions]) -> "OpenPoolPredictor":
        """The predictor of a folder, of a repository of the Hugging Face Hub, or the embedded one.

        Args:
            location: folder of a saved predictor, or `org/name` on the Hub; the embedded default when absent.
            options: those of `LookaheadPredictor.load`.

        Raises:
            CheckpointError: the folder is missing, damaged or of another kind.
            HubError: the repository cannot be read.
        """
        return cls.from_found(find(location, OPEN_EMBEDDED, **options))

    @classmethod
    def from_found(cls, found: Found) -> "OpenPoolPredictor":
        """The predictor of a folder that was found; see `load`."""
        from lookahead_router.predictors.open_pool_folder import from_found

        return from_found(found)

    def push_to_hub(self, repo_id: str, **options: Any) -> "Upload":
        """Sends the predictor with its profiles to the Hugging Face Hub, in one commit.

        Args:
            repo_id: `org/name`; created, private, if need be.
            options: those of `lookahead_router.saved.push.push_folder`.

        Raises:
            CheckpointError: the folder it came from is damaged, or has no card.
            HubError: the Hub refused or cannot be reached.
        """
        from tempfile import TemporaryDirectory

        from lookahead_router.saved.push import push_folder

        with TemporaryDirectory() as temporary:
            self.save(Path(temporary) / "predictor")
            return push_folder(Path(temporary) / "predictor", repo_id, **options)

    def _starts_from(self, member: Member, known_name: str) -> bool:
        """Whether the profile of that very name was given to the member before."""
        return member.match.how == "given" and member.match.entry == self.catalogue.match(known_name).entry

    def _effects(self, foreseen: Foreseen, dataset: "RoutingDataset", beside: "RoutingDataset") -> np.ndarray:
        """`(n,)` of the dataset's prompts, by the answers of those who do not answer in it."""
        peers = [name for name in beside.pool.names if name in self.pool.names and name not in dataset.pool.names]
        rows = dict(zip(beside.prompts, beside.scores[:, [beside.pool.index(name) for name in peers]], strict=True))
        nothing = np.full(len(peers), np.nan)
        scores = np.array([rows.get(prompt, nothing) for prompt in dataset.prompts]).reshape(len(dataset), len(peers))
        if np.isnan(scores).all():
            raise DataError(
                "the answers beside say nothing of these prompts; give those of other candidates of the router to the "
                "same prompts"
            )
        return self.population.effects(
            foreseen, [self.members[self.pool.index(name)].profile for name in peers], scores
        )

    def _join_pool(self, candidate: Candidate) -> Member:
        """A candidate as it joins those whose answers are known."""
        member = self._join(candidate, None)
        if member.match.entry is not None:
            return member
        peers = [each for each in self.members if each.match.entry is None and each.profile.n_answers > 0]
        starts = [self.population.start(facts_of_candidate(each.candidate)) for each in peers]
        profile = self.population.among(member.profile, starts, [each.profile for each in peers])
        return replace(member, profile=profile)

    def _join(self, candidate: Candidate, known_name: str | None) -> Member:
        """A candidate as it joins: from its own public profile, a relative's, or the population."""
        match = self.catalogue.match(candidate.name if known_name is None else known_name)
        if known_name is not None and match.entry is None:
            near = [entry.name for entry in self.catalogue.entries]
            raise UnknownCandidateError(known_name, near)
        match = replace(match, name=candidate.name, how=match.how if known_name is None else "given")
        if match.entry is None:
            start = self.population.start(facts_of_candidate(candidate))
            return Member(candidate, start, match)
        profile = self.catalogue.profile(match.entry)
        if match.how == "family" or known_name is not None:
            origin = f"its relative {match.entry.name}" if known_name is None else f"the profile of {match.entry.name}"
            share = RELATIVE_SHARE if known_name is None else RELATIVE_SHARE / 2
            profile = widened(profile, self.population, share, origin)
        priced = Candidate(
            name=candidate.name,
            input_usd_per_million_tokens=match.entry.input_usd_per_million_tokens,
            output_usd_per_million_tokens=match.entry.output_usd_per_million_tokens,
            context_window_tokens=match.entry.context_window_tokens if match.how in PUBLIC else None,
        )
        return Member(_merged(candidate, priced if known_name is None else candidate), profile, match)

    def _with(self, members: Sequence[Member]) -> "OpenPoolPredictor":
        return OpenPoolPredictor(
            foresee=self.foresee,
            population=self.population,
            catalogue=self.catalogue,
            members=members,
            name=self.name,
            base_revision=self.base_revision,
            found=self.found,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        if self.found is None:
            raise ConfigurationError("only a predictor loaded from a folder can be pickled; save it and load it")
        return _load_again, (self.found, self.base_revision, self.members)

    def __deepcopy__(self, memo: dict[int, Any]) -> "OpenPoolPredictor":
        return self

    def __repr__(self) -> str:
        return f"OpenPoolPredictor({self.name!r}, {len(self.pool)} candidates of {len(self.catalogue)} known)"


def _load_again(found: Found, base_revision: str, members: tuple) -> OpenPoolPredictor:
    predictor = OpenPoolPredictor.from_found(found)
    check_unchanged(found, base_revision, predictor.base_revision)
    return predictor._with(members)


def folds_to_tell(prompts: Sequence[str]) -> np.ndarray | None:
    """Where answers are enough to be foreseen from each other: `(n,)` fold of each prompt, near-duplicates in one."""
    from lookahead_router.data.duplicates import folds_of

    return folds_of(prompts, N_FOLDS, 0) if len(prompts) >= MIN_PROMPTS_TO_TELL else None


def _merged(candidate: Candidate, known: Candidate) -> Candidate:
    """The user's candidate; what it does not say is as known. A price of its own stands alone."""
    kept = known.told()
    if candidate.has_price:
        kept = {name: value for name, value in kept.items() if "usd" not in name}
    return Candidate(**{**kept, **candidate.told()})


def _warn_of_strangers(members: Sequence[Member], told: set[str], known: Sequence[str]) -> None:
    """Says which names are not known, and what would help; of each name once."""
    new = [m for m in members if m.candidate.name not in told]
    strangers = [m.candidate.name for m in new if m.match.how == "unknown" and m.profile.n_answers == 0]
    relatives = [m for m in new if m.match.how == "family" and m.profile.origin.startswith("its relative")]
    told.update(strangers, (member.candidate.name for member in relatives))
    parts = [str(member.match) for member in relatives]
    if strangers:
        parts.append(
            f"nothing is known of {', '.join(strangers)}: routing starts from what any model can. Name a known "
            "relative with profiles={name: known name}, tell size, release or price in a Candidate, or onboard some "
            "20 scored answers"
        )
        import difflib

        near = {name: difflib.get_close_matches(name, known, n=1, cutoff=0.85) for name in strangers}
        parts += [f"did you mean {found[0]} by {name}?" for name, found in near.items() if found]
    if parts:
        warnings.warn("; ".join(parts), UnknownProfileWarning, stacklevel=4)
