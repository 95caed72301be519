"""From public outcomes of many candidates to the population, and to a profile of each (empirical Bayes)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lookahead_router.errors import DataError
from lookahead_router.metrics import sigmoid
from lookahead_router.predictors.catalogue import FACTS
from lookahead_router.predictors.profiles import Answers, Foreseen, Population, Profile, posterior

MIN_VARIANCE = 1e-4
"""Variance of a principal component, as a share of the first one's, below which it is not scaled up further."""
SEEN_WEIGHT = 0.3
"""What an answer counts as where the network was fitted on its prompt, whose demands it foresees better than those of
any new one; chosen on validation."""
EXPECTED_WEIGHT = 12.0
"""What an answer counts as that nobody gave, but that is expected of every candidate: to an everyday prompt. How
far abilities spread is not learnt from such answers: they would say that it is hardly at all."""
STRANGERS_SHARE = 0.7
"""Share of a known candidate's lift by such answers that a stranger is lifted by. With all of it later answers
are met less well; with none easy prompts look hard for everybody new."""
CODERS_LEAN = 0.3
"""Logits by which a candidate that was made for code is better at code, and worse at the rest, than its public answers
or its other facts let expect. In one series and size the coder is 0.3 to 0.4 ahead at code (Qwen2.5-Coder-7B beside
Qwen2.5-7B on HumanEval, MBPP and LiveCodeBench; Hui et al., 2024) or 0.5 to 0.8 (DeepSeek-Coder-V2 beside
DeepSeek-V2-Chat on LiveCodeBench and HumanEval; Zhu et al., 2024)."""
CODE_SPREAD = 0.3
"""Prior standard deviation, in logits, of how much better a candidate is at code than it leans to."""
MIN_NEW_ANSWERS = 20
"""Answers, to prompts that are new to the network, that a candidate needs to tell how far abilities spread."""
CODER = FACTS.index("coder")
N_COMPONENTS = 24
"""Principal components of the embeddings that an own ability is learnt for; of 16 to 384, chosen on validation."""
N_ANCHORS = 256
MIN_COVARIANCE = 1e-4
FAMILY_SHARE = 0.15
"""Share of the spread of abilities that relatives have in common."""
MODEL_SHARE = 0.6
"""Share of the spread of abilities that versions of one model have in common beyond that."""
N_LENGTH_ROUNDS = 12
USUAL_LENGTH_VARIANCE = 4.0
"""Prior variance, in logarithms squared, of the usual length at a source that the network was not fitted on."""
N_LENIENCY_ROUNDS = 3
"""Rounds of profiles and leniency in turn, once the population stands."""
VERBOSITY_SHARES = (0.05, 0.95)
"""Quantiles of the prompts between which the verbosity counts: lengths are not drawn on beyond what was seen."""


@dataclass(frozen=True, eq=False)
class PublicAnswers:
    """Scored answers in long form: `n` of them, by `K` candidates, to the prompts that were foreseen."""

    prompts: np.ndarray
    """`(n,)` int: row of the foreseen prompts."""
    candidates: np.ndarray
    """`(n,)` int in [0, K)."""
    scores: np.ndarray
    """`(n,)` in [0, 1]."""
    sources: np.ndarray
    """`(n,)` int in [0, n_sources): who graded."""
    has_severity: np.ndarray
    """`(n_sources,)` bool: whether a source is lenient or severe beyond what the network foresees: one of marks or
    preferences, whose judge has his own scale, or one that the network was not fitted on."""
    output_tokens: np.ndarray
    """`(n,)` lengths, NaN where unknown."""
    is_new: np.ndarray | None = None
    """`(n,)` bool: whether the network was not fitted on the prompt; `None` where it was on none."""
    expected: np.ndarray | None = None
    """`(m, 2)`: prompts that every candidate is taken to answer, and with what chance; `None` for none."""

    def select(self, rows: np.ndarray) -> "PublicAnswers":
        """The answers of the rows."""
        common = ("has_severity", "expected")
        own = {name: values for name, values in vars(self).items() if name not in common and values is not None}
        return replace(self, **{name: values[rows] for name, values in own.items()})

    @property
    def weights(self) -> np.ndarray:
        """`(n,)` what each counts as."""
        return np.ones(len(self.scores)) if self.is_new is None else np.where(self.is_new, 1.0, SEEN_WEIGHT)


def fit_population(
    foreseen: Foreseen,
    answers: PublicAnswers,
    facts: np.ndarray,
    names: Sequence[str],
    *,
    families: Sequence[str] | None = None,
    models: Sequence[str] | None = None,
    n_rounds: int = 8,
    seed: int = 0,
    on_progress: Callable[[str, float], None] = lambda step, share: None,
) -> tuple[Population, list[Profile]]:
    """Expectation maximisation: profiles under the population, then the population of these profiles.

    How far abilities spread, and what facts tell of them, is learnt from answers to prompts that are new to the
    network, where there are such; the profiles then rest on all answers. What is expected of everybody lifts the
    profiles, and by `STRANGERS_SHARE` of that the start of whoever is not known.

    Args:
        foreseen: all prompts.
        answers: of known candidates.
        facts: `(K, n_facts)`, of `facts_of`.
        names: `(K,)`, for messages.
        families: `(K,)` what relatives have in common, such as `gpt-4o`; empty for none.
        models: `(K,)` what versions of one model have in common, such as the name without its date.
        n_rounds: of both steps.
        seed: of the anchors.
        on_progress: told before each round what comes, and what share of all is done.

    Raises:
        DataError: a candidate without an answer.
    """
    counts = np.bincount(answers.candidates, minlength=len(names))
    if (counts == 0).any():
        empty = ", ".join(name for name, count in zip(names, counts, strict=True) if not count)
        raise DataError(f"no answer of {empty}; leave them out")
    families, models = families or [""] * len(names), models or [""] * len(names)
    teachers, taught = _new_answers(answers)
    fit = _Rounds(foreseen, facts.shape[1])
    kin = _kinships([families[k] for k in teachers], [models[k] for k in teachers])
    given = replace(answers, expected=None)
    taught = replace(taught, expected=None)
    for round_ in range(n_rounds):
        on_progress(f"population, round {round_ + 1} of {n_rounds}", round_ / n_rounds)
        found = fit.profiles(taught, facts[teachers], kin)
        fit.learn_population(found, facts[teachers])
    relatives = _kinships(families, models)
    if len(taught.scores) < len(answers.scores):
        for _ in range(N_LENIENCY_ROUNDS):
            found = fit.profiles(given, facts, relatives)
    if answers.expected is not None:
        plain = np.stack([mode for mode, _ in found])
        for _ in range(N_LENIENCY_ROUNDS):
            found = fit.profiles(answers, facts, relatives)
        lift = np.stack([mode for mode, _ in found]) - plain
        fit.regression += STRANGERS_SHARE * _ridge(facts, lift)
    verbosities = tuple(np.quantile(foreseen.verbosity[answers.prompts], VERBOSITY_SHARES).tolist())
    lengths, spread, variance = _fit_lengths(foreseen, answers, len(names), verbosities)
    everyday = [] if answers.expected is None else answers.expected[:, 0].astype(int)
    embeddings = foreseen.embedding[np.unique([*answers.prompts, *everyday])]
    center, components = _components(embeddings)
    population = Population(
        covariance=fit.covariance,
        regression=fit.regression,
        lengths=lengths.mean(axis=0),
        lengths_covariance=spread,
        length_variance=variance,
        verbosities=verbosities,
        components=components,
        center=center,
        anchors=_anchors(embeddings, seed),
    )
    profiles = [
        Profile(mode, cov, length, int(count), is_known=True)
        for (mode, cov), length, count in zip(found, lengths, counts, strict=True)
    ]
    return population, profiles


def with_code_ability(
    population: Population, profiles: Sequence[Profile], is_coder: np.ndarray
) -> tuple[Population, list[Profile]]:
    """Population and profiles with one more ability: for a last demand that is the probability that code is asked for.

    Public answers do not teach it. Benchmarks ask for code in a way of their own and few candidates answered, which the
    other demands explain; what is said of a candidate by whoever made it tells more, and the user's answers all else.

    Args:
        population: fitted without it.
        profiles: of the known candidates.
        is_coder: `(K,)` bool: who was made for code.
    """
    lean = np.zeros(population.n_abilities + 1)
    lean[[0, -1]] = -CODERS_LEAN, 2.0 * CODERS_LEAN
    regression = np.column_stack([population.regression, np.zeros(len(population.regression))])
    regression[CODER] += lean
    wider = replace(population, covariance=_with_one_more(population.covariance), regression=regression)
    return wider, [
        replace(
            profile, mean=np.append(profile.mean, 0.0) + lean * leans, covariance=_with_one_more(profile.covariance)
        )
        for profile, leans in zip(profiles, is_coder, strict=True)
    ]


def _with_one_more(covariance: np.ndarray) -> np.ndarray:
    wider = np.zeros(np.add(covariance.shape, 1))
    wider[:-1, :-1] = covariance
    wider[-1, -1] = CODE_SPREAD**2
    return wider


def _new_answers(answers: PublicAnswers) -> tuple[np.ndarray, PublicAnswers]:
    """The candidates with enough answers to new prompts, and those answers, by their place among them; else all."""
    n_all = answers.candidates.max() + 1
    if answers.is_new is None or answers.is_new.all():
        return np.arange(n_all), answers
    counts = np.bincount(answers.candidates[answers.is_new], minlength=n_all)
    teachers = np.flatnonzero(counts >= MIN_NEW_ANSWERS)
    if len(teachers) < 2:
        return np.arange(n_all), answers
    rows = np.flatnonzero(answers.is_new & np.isin(answers.candidates, teachers))
    taught = answers.select(rows)
    return teachers, replace(taught, candidates=np.searchsorted(teachers, taught.candidates))


class _Rounds:
    """What the rounds of expectation maximisation carry along."""

    def __init__(self, foreseen: Foreseen, n_facts: int) -> None:
        self.foreseen = foreseen
        width = foreseen.demands.shape[1] + 1
        self.regression = np.zeros((n_facts, width))
        self.covariance = np.diag([1.0] + [0.05] * (width - 1))
        self.leniency: np.ndarray | None = None

    def profiles(self, answers: PublicAnswers, facts: np.ndarray, kinships: Sequence) -> list:
        """Every candidate's posterior under the population so far; judges' leniency moves one step."""
        if self.leniency is None:
            self.leniency = np.zeros(len(answers.has_severity))
        given = _answers(self.foreseen, answers, self.leniency)
        found = _posteriors(given, facts @ self.regression, self.covariance, kinships)
        self.leniency = _leniency(self.foreseen, answers, np.stack([mode for mode, _ in found]), self.leniency)
        return found

    def learn_population(self, found: Sequence[tuple[np.ndarray, np.ndarray]], facts: np.ndarray) -> None:
        """The population of these profiles."""
        modes = np.stack([mode for mode, _ in found])
        self.regression = _ridge(facts, modes)
        gaps = modes - facts @ self.regression
        # Each posterior's own width counts: a candidate of few answers tells little about the spread.
        self.covariance = (gaps.T @ gaps + sum(spread for _, spread in found)) / len(found)
        self.covariance += MIN_COVARIANCE * np.eye(len(self.covariance))


def _kinships(families: Sequence[str], models: Sequence[str]) -> list[tuple[np.ndarray, list[str]]]:
    """Groups of relatives: the columns of each, and the model of every one of them."""
    members: dict[str, list[int]] = {}
    for k, (family, model) in enumerate(zip(families, models, strict=True)):
        members.setdefault(family or model or f"alone {k}", []).append(k)
    return [(np.array(columns), [models[k] or f"alone {k}" for k in columns]) for columns in members.values()]


def _posteriors(
    given: Sequence[Answers],
    means: np.ndarray,
    covariance: np.ndarray,
    kinships: Sequence[tuple[np.ndarray, list[str]]],
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Every candidate's posterior, relatives together: what few answers leave open, their kin tells."""
    found: list = [None] * len(given)
    for columns, models in kinships:
        shared, membership = [], np.zeros((len(columns), 0))
        if len(columns) > 1:
            several = [model for model in dict.fromkeys(models) if models.count(model) > 1]
            membership = np.array([[1.0, *(float(model == each) for each in several)] for model in models])
            shared = [FAMILY_SHARE * covariance, *[MODEL_SHARE * covariance] * len(several)]
        parts = [covariance - sum(m * s for m, s in zip(row, shared, strict=True)) for row in membership]
        own = parts if len(columns) > 1 else [covariance]
        answers = [given[k] for k in columns]
        joint = posterior(answers, [means[k] for k in columns], own, membership, shared)
        for k, each in zip(columns, joint, strict=True):
            found[k] = each
    return found


def _answers(foreseen: Foreseen, answers: PublicAnswers, leniency: np.ndarray) -> list[Answers]:
    """What each candidate answered."""
    design = np.concatenate([np.ones((len(foreseen), 1)), foreseen.demands], axis=1, dtype=np.float64)
    offsets = leniency[answers.sources] - foreseen.difficulty[answers.prompts].astype(np.float64)
    weights = answers.weights
    order = np.argsort(answers.candidates, kind="stable")
    bounds = np.cumsum(np.bincount(answers.candidates))[:-1]
    expected = np.empty((0, 2)) if answers.expected is None else answers.expected
    easy = expected[:, 0].astype(int)
    return [
        Answers(
            design[np.concatenate([answers.prompts[rows], easy])],
            np.concatenate([offsets[rows], -foreseen.difficulty[easy]]),
            np.concatenate([answers.scores[rows], expected[:, 1]]),
            np.concatenate([weights[rows], np.full(len(easy), EXPECTED_WEIGHT)]),
        )
        for rows in np.split(order, bounds)
    ]


def _leniency(foreseen: Foreseen, answers: PublicAnswers, modes: np.ndarray, before: np.ndarray) -> np.ndarray:
    """`(n_sources,)` one Newton step of every judge's leniency, drawn to 0 by a prior of variance 1."""
    abilities = modes[answers.candidates]
    logits = abilities[:, 0] + (foreseen.demands[answers.prompts] * abilities[:, 1:]).sum(axis=1)
    chance = sigmoid(logits - foreseen.difficulty[answers.prompts] + before[answers.sources])
    weights = answers.weights
    slopes = np.bincount(answers.sources, weights * (answers.scores - chance), minlength=len(before)) - before
    curvature = np.bincount(answers.sources, weights * chance * (1 - chance), minlength=len(before)) + 1.0
    return np.where(answers.has_severity, before + slopes / curvature, 0.0)


def _ridge(facts: np.ndarray, modes: np.ndarray, penalty: float = 2.0) -> np.ndarray:
    """Regression of abilities on facts; the first fact is 1 and is not drawn to 0."""
    penalties = np.full(facts.shape[1], penalty)
    penalties[0] = 1e-6
    return np.linalg.solve(facts.T @ facts + np.diag(penalties), facts.T @ modes)


def _fit_lengths(
    foreseen: Foreseen, answers: PublicAnswers, n_candidates: int, verbosities: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray, float]:
    """`(K, 2)` lengths of the candidates, their covariance, and the variance of one answer.

    A source whose severity is its own has a usual length of its own as well: a benchmark of long reports, which the
    network was not fitted on, says nothing of how long its candidates answer elsewhere.
    """
    known = np.flatnonzero(answers.output_tokens > 0)
    rows, sources = answers.prompts[known], answers.sources[known]
    y = np.log(answers.output_tokens[known]) - foreseen.log_tokens[rows]
    x = np.stack([np.ones(len(known)), np.clip(foreseen.verbosity[rows], *verbosities)], axis=1)
    variance, mean, spread = 0.5, np.zeros(2), np.diag([0.3, 0.1])
    lengths, usual = np.zeros((n_candidates, 2)), np.zeros(len(answers.has_severity))
    groups = [np.flatnonzero(answers.candidates[known] == k) for k in range(n_candidates)]
    counts = np.bincount(sources, minlength=len(usual))
    for _ in range(N_LENGTH_ROUNDS):
        left = y - (x * lengths[answers.candidates[known]]).sum(axis=1)
        sums = np.bincount(sources, left, minlength=len(usual))
        usual = np.where(answers.has_severity, sums / (counts + variance / USUAL_LENGTH_VARIANCE), 0.0)
        precision, widths, residuals = np.linalg.inv(spread), [], 0.0
        for k, group in enumerate(groups):
            own = y[group] - usual[sources[group]]
            information = precision + x[group].T @ x[group] / variance
            lengths[k] = np.linalg.solve(information, precision @ mean + x[group].T @ own / variance)
            widths.append(np.linalg.inv(information))
            residuals += float(((own - x[group] @ lengths[k]) ** 2).sum())
        mean = lengths.mean(axis=0)
        gaps = lengths - mean
        spread = (gaps.T @ gaps + sum(widths)) / n_candidates + 1e-6 * np.eye(2)
        variance = max(residuals / max(len(known), 1), 1e-3)
    return lengths, spread, variance


def _components(embeddings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and leading principal components, scaled so that each has variance 1."""
    center = embeddings.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov((embeddings - center).T))
    leading = slice(-1, -N_COMPONENTS - 1, -1)
    least = max(MIN_VARIANCE * values[-1], 1e-12)  # what hardly varies is noise, and too large for half precision
    return center, vectors[:, leading] / np.sqrt(np.maximum(values[leading], least))


def _anchors(embeddings: np.ndarray, seed: int) -> np.ndarray:
    """Unit centres of spherical k-means."""
    generator = np.random.default_rng(seed)
    sample = embeddings[generator.permutation(len(embeddings))[:20_000]]
    centers = sample[generator.permutation(len(sample))[:N_ANCHORS]]
    for _ in range(10):
        nearest = (sample @ centers.T).argmax(axis=1)
        sums = np.zeros_like(centers)
        np.add.at(sums, nearest, sample)
        norms = np.linalg.norm(sums, axis=1, keepdims=True)
        centers = np.where(norms > 0, sums / np.maximum(norms, 1e-12), centers)
    return centers
