"""Profiles: what is known of a candidate, as a Gaussian over its abilities.

A network gives the demands `a(x)`, the difficulty `d(x)` and the usual answer length of a prompt, whatever the pool.
A candidate of level `b` and abilities `u` answers well with probability `sigmoid(b + u·a(x) - d(x))`: multidimensional
item response theory (Reckase, 2009), amortised over prompts. Onboarding is the posterior mode by Newton steps with
Laplace's covariance; feedback is the same for one answer. numpy only.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lookahead_router.errors import DataError
from lookahead_router.metrics import averaged_sigmoid, sigmoid
from lookahead_router.threads import computed_once

_ROWS = 256
"""Prompts whose variances are computed at one time, for the memory that they take."""
_LANES = 8
"""Sums that numpy keeps beside each other: with zeros up to a multiple, abilities add up to the same last bit whether
domain components follow or not."""
MAX_STEPS = 60
"""Newton steps, at most; some ten are enough as a rule."""
EFFECT_VARIANCE = 1.5
"""Prior variance, in logits, of how much easier or harder a prompt is than foreseen."""
DOMAIN_SCALES = (1.0, 0.3, 3.0, 10.0)
"""What the prior variance of domain components is multiplied by, one of them, where scored answers can tell."""
MIN_PROMPTS_TO_TELL = 20
"""Prompts with which folds are made at all."""
MANY_PROMPTS = 150
"""Prompts from which on what the folds say is taken as it is."""
DOUBT = 8.0
"""Nats by which another scale has to be better where prompts are fewer: what is best there is mostly so by chance."""
N_FOLDS = 4


@dataclass(frozen=True, eq=False)
class Foreseen:
    """What the network says of `n` prompts, whatever the pool."""

    demands: np.ndarray
    """`(n, R)`."""
    difficulty: np.ndarray
    """`(n,)`, in logits."""
    log_tokens: np.ndarray
    """`(n,)` natural logarithm of the usual length of an answer."""
    verbosity: np.ndarray
    """`(n,)` how far the lengths of the candidates' answers differ here."""
    embedding: np.ndarray
    """`(n, H)` unit vectors."""

    def __len__(self) -> int:
        return len(self.difficulty)

    def select(self, rows: np.ndarray | slice) -> "Foreseen":
        """The prompts of the rows."""
        return Foreseen(**{name: values[rows] for name, values in vars(self).items()})


@dataclass(frozen=True, eq=False)
class Profile:
    """A Gaussian over one candidate's abilities, and what is known of the lengths of its answers."""

    mean: np.ndarray
    """`(D,)`: the level, an ability for every demand, and, once it was onboarded, one for every domain component."""
    covariance: np.ndarray
    """`(D, D)`."""
    lengths: np.ndarray
    """`(2,)`: how much longer its answers are than usual, in logarithms, and how that grows with the verbosity."""
    n_answers: int = 0
    """Scored answers that it rests on."""
    is_known: bool = False
    """Whether public answers stand behind it; another starts from the population."""
    origin: str = ""
    """Where it comes from, in words."""


@dataclass(frozen=True, eq=False)
class Panel:
    """The profiles of `K` candidates side by side, as predictions read them."""

    means: np.ndarray
    """`(K, D)`, zero where a profile has no domain components; where none has, `(K, R + 1)` with zeros behind."""
    covariances: np.ndarray
    """`(K, R + 1, R + 1)` of level and abilities."""
    lengths: np.ndarray
    """`(K, 2)`."""


@dataclass(frozen=True, eq=False)
class Population:
    """What all candidates have in common: where profiles start, and how far they may go.

    Learnt with the network; `training/population.py` fits it.
    """

    covariance: np.ndarray
    """`(R + 1, R + 1)` of abilities around what the facts of a candidate let expect."""
    regression: np.ndarray
    """`(n_facts, R + 1)`: the expected abilities from the facts of a candidate, `facts_of`; fewer rows where the
    population is older than the last facts."""
    lengths: np.ndarray
    """`(2,)` mean of the lengths."""
    lengths_covariance: np.ndarray
    """`(2, 2)`."""
    length_variance: float
    """Variance of the logarithm of one answer's length around what is expected, > 0."""
    verbosities: tuple[float, float]
    """Least and highest verbosity that counts: lengths are not drawn on beyond what was seen."""
    components: np.ndarray
    """`(H, P)` leading principal components of the embeddings of prompts, whitened."""
    center: np.ndarray
    """`(H,)` mean embedding."""
    anchors: np.ndarray
    """`(n_anchors, H)` unit vectors around which the population's prompts lie; kept in single precision, since every
    decision reads them all."""
    reach: tuple[float, float] = (0.3, 0.6)
    """Cosine to the nearest anchor at which nothing is known of a prompt, and from which on all is."""
    far_variance: float = 1.0
    """Variance in logits that is added where nothing is known."""
    component_variance: float = 0.01
    """Prior variance of an ability for a domain component."""
    drift: float = 0.15
    """Share of the population's covariance by which a user's prompts may shift a known candidate."""
    ordinary: np.ndarray | None = None
    """`(n_ordinary, R + 4)` of ordinary prompts: demands to verbosity, as in `Foreseen`, and tokens; `None`: older."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "anchors", self.anchors.astype(np.float32))

    @computed_once
    def n_abilities(self) -> int:
        """R + 1: the level and the abilities."""
        return len(self.covariance)

    def start(self, facts: np.ndarray, origin: str = "the population") -> Profile:
        """The profile of a candidate of which only facts are known.

        Args:
            facts: `(n_facts,)`, of `facts_of`.
            origin: what it starts from, in words.
        """
        return Profile(facts[: len(self.regression)] @ self.regression, self.covariance, self.lengths, origin=origin)

    def among(self, stranger: Profile, starts: Sequence[Profile], peers: Sequence[Profile]) -> Profile:
        """Where a stranger starts from among strangers whose answers are known.

        Half of the variance of strangers is the pool's, as in `onboard`: what sets peers apart from what their facts
        let expect is partly the prompts' and the judge's doing, and holds for the one that joins.

        Args:
            stranger: of `start`.
            starts: where the peers started from, of `start`.
            peers: their profiles by now.
        """
        if not peers:
            return stranger
        n, width = self.n_abilities, self.n_abilities + self.components.shape[1]
        shift = np.zeros(width)
        for start, peer in zip(starts, peers, strict=True):
            shift[: len(peer.mean)] += peer.mean
            shift[:n] -= start.mean
        mean = shift / (len(peers) + 1)
        mean[:n] += stranger.mean
        covariance = self._domain(width)
        covariance[:n, :n] = self.covariance
        return replace(stranger, mean=mean, covariance=covariance * (0.5 + 0.5 / (len(peers) + 1)))

    def design(self, foreseen: Foreseen) -> np.ndarray:
        """`(n, R + 1 + P)`: 1, the demands, and the domain components of every prompt."""
        domain = _by_row(foreseen.embedding - self.center, self.components)
        return np.concatenate([np.ones((len(foreseen), 1)), foreseen.demands, domain], axis=1, dtype=np.float64)

    def _read(self, foreseen: Foreseen, width: int) -> np.ndarray:
        """`(n, width)`: the design, or its abilities with zeros behind."""
        if width == self.n_abilities + self.components.shape[1]:
            return self.design(foreseen)
        n, n_demands = foreseen.demands.shape
        design = np.zeros((n, width))
        design[:, 0] = 1.0
        design[:, 1 : n_demands + 1] = foreseen.demands
        return design

    def distance(self, foreseen: Foreseen) -> np.ndarray:
        """`(n,)` in [0, 1]: 0 among the population's prompts, 1 where nothing is known."""
        none, everything = self.reach
        embedding = foreseen.embedding.astype(np.float32)
        found = np.empty(len(embedding))
        for row in range(len(found)):  # by number: what ends the iteration of an array is an exception
            nearness = self.anchors.dot(embedding[row])
            nearest = nearness.item(nearness.argmax())
            found[row] = min(max((everything - nearest) / (everything - none), 0.0), 1.0)
        return found

    def panel(self, profiles: Sequence[Profile]) -> Panel:
        """Profiles side by side, for who predicts with them more than once."""
        n, width = self.n_abilities, self.n_abilities + self.components.shape[1]
        if all(len(profile.mean) == n for profile in profiles):
            width = min(width, n + -n % _LANES)
        means = np.zeros((len(profiles), width))
        for row, profile in zip(means, profiles, strict=True):
            row[: len(profile.mean)] = profile.mean
        covariances = np.stack([profile.covariance[:n, :n] for profile in profiles])
        return Panel(means, covariances, np.stack([profile.lengths for profile in profiles]))

    def predict(self, foreseen: Foreseen, profiles: Sequence[Profile] | Panel) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities of a good answer and their standard errors, `(n, K)` each.

        The sigmoid is averaged over the profile (the probit approximation of MacKay, 1992), so what is not
        known draws a probability to the middle. Doubt about domain components is left out: nobody has answered for
        them before they join a profile, so that a first good answer would lower its candidate's chances.
        """
        panel = profiles if isinstance(profiles, Panel) else self.panel(profiles)
        n_prompts, n = foreseen.demands.shape[0], self.n_abilities
        if n_prompts > _ROWS:
            starts = range(0, n_prompts, _ROWS)
            parts = [self.predict(foreseen.select(slice(start, start + _ROWS)), panel) for start in starts]
            averaged, errors = map(np.concatenate, zip(*parts, strict=True))
            return averaged, errors
        design, far = self._read(foreseen, panel.means.shape[1]), self.distance(foreseen) * self.far_variance
        # No sum over several prompts or candidates in one product: its last bit would depend on who else is there.
        logits = np.add.reduce(design[:, None] * panel.means, axis=2) - foreseen.difficulty[:, None]
        rows = design[:, None, None, :n]
        variances = np.add.reduce((rows @ panel.covariances) * rows, axis=(2, 3)) + far[:, None]
        averaged = averaged_sigmoid(logits, variances)
        return averaged, averaged * (1.0 - averaged) * np.sqrt(variances)

    def expected_tokens(self, foreseen: Foreseen, profiles: Sequence[Profile] | Panel) -> np.ndarray:
        """`(n, K)` expected lengths of the answers, in tokens."""
        lengths = (profiles if isinstance(profiles, Panel) else self.panel(profiles)).lengths
        logs = foreseen.log_tokens[:, None] + lengths[:, 0] + self._verbosity(foreseen)[:, None] * lengths[:, 1]
        return np.exp(np.minimum(np.maximum(logs + self.length_variance / 2, 0.0), 12.0))

    def onboard(
        self,
        foreseen: Foreseen,
        profiles: Sequence[Profile],
        scores: np.ndarray,
        output_tokens: np.ndarray | None = None,
        *,
        offsets: np.ndarray | float = 0.0,
        folds: np.ndarray | None = None,
    ) -> list[Profile]:
        """The profiles after scored answers, which move together before they move apart.

        Args:
            foreseen: `n` prompts.
            profiles: `K` candidates so far.
            scores: `(n, K)` in [0, 1], NaN where not judged.
            output_tokens: `(n, K)` lengths of the answers, NaN where not known.
            offsets: `(n,)` severity of whoever judged, in logits.
            folds: `(n,)` numbers. How far these prompts may be unlike the population's is then what foresees the
                scores of each fold best from the other folds'.

        Raises:
            DataError: a score outside [0, 1].
        """
        check_scores(scores)
        judged = replace(foreseen, difficulty=foreseen.difficulty + offsets)
        population = self if folds is None else self._suited(judged, profiles, scores, folds)
        lengths = [
            self._lengths(foreseen, profile, None if output_tokens is None else output_tokens[:, k])
            for k, profile in enumerate(profiles)
        ]
        learnt = population._learn(judged, profiles, scores)
        return [replace(profile, lengths=length) for profile, length in zip(learnt, lengths, strict=True)]

    def _learn(self, foreseen: Foreseen, profiles: Sequence[Profile], scores: np.ndarray) -> list[Profile]:
        """The profiles after scored answers, but for the lengths of these."""
        design = self.design(foreseen)
        priors = [self._widened(profile, design.shape[1]) for profile in profiles]
        shared, own = zip(*(self._drift(profile, design.shape[1]) for profile in profiles), strict=True)
        answers = [
            Answers(design[rows], -foreseen.difficulty[rows], scores[rows, k])
            for k, rows in enumerate(~np.isnan(scores).T)
        ]
        found = posterior(answers, [prior.mean for prior in priors], list(own), np.array(shared), self._shared(design))
        return [
            replace(profile, mean=mean, covariance=covariance, n_answers=profile.n_answers + len(given.scores))
            if len(given.scores)
            else profile
            for profile, (mean, covariance), given in zip(profiles, found, answers, strict=True)
        ]

    def _suited(
        self, foreseen: Foreseen, profiles: Sequence[Profile], scores: np.ndarray, folds: np.ndarray
    ) -> "Population":
        """The population whose prior variance of domain components foresees folds of these scores best."""
        doubt = DOUBT if len(foreseen) < MANY_PROMPTS else 0.0

        def loss(scale: float) -> float:
            population = self._scaled(scale)
            found = 0.0 if scale == 1.0 else doubt
            for fold in np.unique(folds):
                held = folds == fold
                learnt = population._learn(foreseen.select(~held), profiles, scores[~held])
                chances = np.clip(population.predict(foreseen.select(held), learnt)[0], 1e-6, 1 - 1e-6)
                good = scores[held]
                found -= np.nansum(good * np.log(chances) + (1 - good) * np.log1p(-chances))
            return found

        return self._scaled(min(DOMAIN_SCALES, key=loss))

    def _scaled(self, scale: float) -> "Population":
        return replace(self, component_variance=self.component_variance * scale)

    def effects(self, foreseen: Foreseen, profiles: Sequence[Profile], scores: np.ndarray) -> np.ndarray:
        """`(n,)` logits by which prompts are easier than foreseen, as answers of candidates that are known tell.

        What the network does not see of a prompt moves all candidates alike, so that a newcomer's answers to prompts
        that were hard for everybody say less against it.

        Args:
            foreseen: `n` prompts.
            profiles: of `K` candidates that these answers are in already.
            scores: `(n, K)` in [0, 1], NaN where not judged.

        Raises:
            DataError: a score outside [0, 1].
        """
        check_scores(scores)
        design, is_known = self.design(foreseen), ~np.isnan(scores)
        logits = [design[:, : len(profile.mean)] @ profile.mean - foreseen.difficulty for profile in profiles]
        found = np.zeros(len(foreseen))
        for _ in range(MAX_STEPS):
            chances = sigmoid(np.stack(logits, axis=1) + found[:, None])
            slope = np.where(is_known, scores - chances, 0.0).sum(axis=1) - found / EFFECT_VARIANCE
            curvature = np.where(is_known, chances * (1 - chances), 0.0).sum(axis=1) + 1 / EFFECT_VARIANCE
            step = np.clip(slope / curvature, -1.0, 1.0)
            found += step
            if np.abs(step).max(initial=0.0) < 1e-8:
                break
        return found

    def observe(self, foreseen: Foreseen, profile: Profile, score: float) -> Profile:
        """The profile after one more answer: a Gaussian update along the prompt's direction.

        Args:
            foreseen: the prompt.
            profile: of who answered.
            score: in [0, 1].

        Raises:
            DataError: a score outside [0, 1].
        """
        check_scores(np.array([score]))
        x = self.design(foreseen)[0, : len(profile.mean)]
        direction = profile.covariance @ x
        variance = max(float(x @ direction), 1e-12)
        start = float(x @ profile.mean - foreseen.difficulty[0])
        logit = start
        for _ in range(MAX_STEPS):  # the mode along the line: (logit - start) / variance = score - sigmoid(logit)
            chance = float(sigmoid(np.array(logit)))
            step = ((logit - start) / variance - (score - chance)) / (1 / variance + chance * (1 - chance))
            logit -= step
            if abs(step) < 1e-10:
                break
        chance = float(sigmoid(np.array(logit)))
        curvature = chance * (1 - chance)
        return replace(
            profile,
            mean=profile.mean + direction * (logit - start) / variance,
            covariance=profile.covariance - np.outer(direction, direction) * curvature / (1 + curvature * variance),
            n_answers=profile.n_answers + 1,
        )

    def _widened(self, profile: Profile, width: int) -> Profile:
        """The profile with room for the domain components, all at 0."""
        mean = np.zeros(width)
        mean[: len(profile.mean)] = profile.mean
        return replace(profile, mean=mean)

    def _domain(self, width: int) -> np.ndarray:
        """`(width, width)` prior covariance of the domain components, zero elsewhere."""
        covariance = np.zeros((width, width))
        covariance[np.arange(self.n_abilities, width), np.arange(self.n_abilities, width)] = self.component_variance
        return covariance

    def _shared(self, design: np.ndarray) -> list[np.ndarray]:
        """Covariances of what all candidates share, and of what all strangers share."""
        width = design.shape[1]
        everybody = self._domain(width) / 2
        everybody[: self.n_abilities, : self.n_abilities] = self.drift * self.covariance / 2
        strangers = np.zeros((width, width))
        strangers[: self.n_abilities, : self.n_abilities] = self.covariance / 2
        return [everybody, strangers]

    def _drift(self, profile: Profile, width: int) -> tuple[list[float], np.ndarray]:
        """Which shared parts move a candidate, and the covariance of its own part."""
        n = len(profile.mean)
        own = np.zeros((width, width))
        own[:n, :n] = profile.covariance
        if n < width:
            own += self._domain(width) / 2
        own[: self.n_abilities, : self.n_abilities] += self.drift * self.covariance / 2
        is_stranger = not profile.is_known and profile.n_answers == 0
        if is_stranger:
            own[: self.n_abilities, : self.n_abilities] -= self.covariance / 2
        return [1.0, float(is_stranger)], own

    def _verbosity(self, foreseen: Foreseen) -> np.ndarray:
        least, most = self.verbosities
        return np.minimum(np.maximum(foreseen.verbosity, least), most)

    def _lengths(self, foreseen: Foreseen, profile: Profile, tokens: np.ndarray | None) -> np.ndarray:
        if tokens is None or not (known := tokens > 0).any():
            return profile.lengths
        x = np.stack([np.ones(known.sum()), self._verbosity(foreseen)[known]], axis=1)
        y = np.log(tokens[known]) - foreseen.log_tokens[known]
        precision = np.linalg.inv(self.lengths_covariance)
        return np.linalg.solve(
            precision + x.T @ x / self.length_variance, precision @ profile.lengths + x.T @ y / self.length_variance
        )


def _by_row(rows: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """`rows @ matrix`, each row as if it were the only one, to the last bit."""
    return (rows[:, None] @ matrix)[:, 0]


@dataclass(frozen=True, eq=False)
class Answers:
    """Scored answers of one candidate."""

    design: np.ndarray
    """`(n, D)`."""
    offset: np.ndarray
    """`(n,)` logit of a candidate without abilities."""
    scores: np.ndarray
    """`(n,)` in [0, 1]."""
    weights: np.ndarray | float = 1.0
    """`(n,)` in (0, 1]: how much of an answer each counts as."""


def posterior(
    answers: Sequence[Answers],
    means: Sequence[np.ndarray],
    own: Sequence[np.ndarray],
    membership: np.ndarray,
    shared: Sequence[np.ndarray],
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Mode and Laplace covariance of every candidate's abilities `θ_k = mean_k + Σ_g membership_kg w_g + δ_k`.

    Args:
        answers: of the K candidates.
        means: `(D,)` each.
        own: `(D, D)` covariance of each candidate's own part `δ_k`.
        membership: `(K, G)`, 0 or 1: which shared parts move a candidate.
        shared: `(D, D)` covariances of the G shared parts `w_g`.
    """
    width, n_shared = len(means[0]), len(shared)
    roots = [_root(covariance) for covariance in shared]
    nothing = np.zeros((width, 0))
    moves = [np.hstack([nothing, *(m * root for m, root in zip(row, roots, strict=True))]) for row in membership]
    theta = [mean.copy() for mean in means]
    identity = np.eye(width)
    for _ in range(MAX_STEPS):
        precision, pull, parts = np.eye(n_shared * width), np.zeros(n_shared * width), []
        for k, given in enumerate(answers):
            chance = sigmoid(given.design @ theta[k] + given.offset)
            weight = given.weights * chance * (1 - chance) + 1e-9
            information = (given.design * weight[:, None]).T @ given.design
            target = information @ theta[k] + given.design.T @ (given.weights * (given.scores - chance))
            gain = own[k] @ np.linalg.inv(identity + information @ own[k])
            through = moves[k] - gain @ (information @ moves[k])
            precision += moves[k].T @ (information @ through)
            pull += through.T @ (target - information @ means[k])
            parts.append((information, target, gain, through))
        w = np.linalg.solve(precision, pull)
        change = 0.0
        for k, (information, target, gain, _) in enumerate(parts):
            start = means[k] + moves[k] @ w
            step = start + gain @ (target - information @ start) - theta[k]
            largest = float(np.abs(answers[k].design @ step).max(initial=0.0))
            theta[k] = theta[k] + step * min(1.0, 4.0 / max(largest, 1e-12))  # far steps overshoot a sigmoid
            change = max(change, largest)
        if change < 1e-6:
            break
    spread = np.linalg.inv(precision)
    return [
        (theta[k], _symmetric(gain + through @ spread @ through.T)) for k, (_, _, gain, through) in enumerate(parts)
    ]


def _root(covariance: np.ndarray) -> np.ndarray:
    """A square root of a covariance, which may be singular."""
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.clip(values, 0.0, None))


def _symmetric(matrix: np.ndarray) -> np.ndarray:
    return (matrix + matrix.T) / 2


def check_scores(scores: np.ndarray) -> None:
    """Raises `DataError` unless every score that is there lies in [0, 1]."""
    known = scores[~np.isnan(scores)]
    if len(known) and not (known.min() >= 0 and known.max() <= 1):
        raise DataError(f"scores must lie in [0, 1], got {known.min():.6g} to {known.max():.6g}; scale them first")
