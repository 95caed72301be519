"""Asking candidate after candidate as a decision process of finite horizon, on answers that are there already.

HierRouter (arXiv 2511.09873) learns such a policy. Its models read each other's answers, which no log of single calls
holds; here each answers for itself, checks look at the answers, and the policy asks on or gives one of those it has.
What was spent is part of the state. `solve` is the optimum of what can be told apart, by dynamic programming.
"""

import hashlib
import io
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from lookahead_router import __version__
from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.data.duplicates import folds_of
from lookahead_router.evaluation.cascades import Asked, Looked
from lookahead_router.evaluation.crossfit import Embedded, crossfit
from lookahead_router.extras import require
from lookahead_router.files import replacing_file
from lookahead_router.predictors.base import Predictor
from lookahead_router.predictors.fitted.base import FittedPredictor

MIN_GROUP = 20
"""Prompts that look alike below which the table asks nobody else: they are too few to tell by."""
N_FOLDS = 5
N_UPDATES, N_EPISODES, N_HIDDEN, LEARNING_RATE = 300, 512, 64, 5e-3


@dataclass(frozen=True)
class Solved:
    """The optimum for one weight of a dollar."""

    value: float
    """Mean score less dollars, in score."""
    done: Asked


@dataclass(frozen=True)
class Hops:
    """The process on `n` prompts and `K` candidates: ask one more, up to `max_calls`, or give an answer."""

    log_odds: np.ndarray
    """`(n, K)` of a right answer, as foreseen; -inf of whoever may not be asked."""
    looked: Looked
    """What checks say of the answers; it is seen once they were asked for."""
    scores: np.ndarray
    """`(n, K)` observed."""
    prices: np.ndarray
    """`(K,)` dollars of a call, as expected."""
    max_calls: int

    @cached_property
    def alone(self) -> np.ndarray:
        """`(n, K, checks)` of single answers: 1 passes, -1 fails, 0 nothing."""
        return self._signs([each for each in self.looked.found if each.ndim == 2])

    @cached_property
    def beside(self) -> np.ndarray:
        """`(n, K, K, checks)` of answers beside others."""
        return self._signs([each for each in self.looked.found if each.ndim == 3], 3)

    def _signs(self, found: list[np.ndarray], ndim: int = 2) -> np.ndarray:
        shape = self.scores.shape + self.scores.shape[1:] * (ndim - 2)
        signs = [np.nan_to_num(2 * each - 1).astype(np.int8) for each in found]
        return np.stack(signs, axis=-1) if signs else np.zeros((*shape, 0), dtype=np.int8)

    def observe(self, rows: np.ndarray, is_asked: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What a policy sees of each row, `(b, D)`, and which of the `2 K` actions are allowed, `(b, 2 K)`.

        Args:
            rows: `(b,)` of the prompts.
            is_asked: `(b, K)` bool.
            weights: `(b,)` score that a dollar is worth.
        """
        alone = self.alone[rows] * is_asked[:, :, None]
        pairs = self.beside[rows] * (is_asked[:, :, None] & is_asked[:, None, :])[..., None]
        n_calls = is_asked.sum(axis=1)
        prices = weights[:, None] * self.prices
        spent = (prices * is_asked).sum(axis=1, keepdims=True)
        seen = [
            np.clip(self.log_odds[rows], -6, 6) / 3,
            is_asked,
            alone.reshape(len(rows), -1),
            (pairs > 0).sum(axis=2).reshape(len(rows), -1),
            (pairs < 0).sum(axis=2).reshape(len(rows), -1),
            np.eye(self.max_calls + 1)[n_calls],
            *(np.log10(dollars + 1e-4) / 2 + 1 for dollars in (prices, spent)),
        ]
        asks = ~is_asked & (n_calls < self.max_calls)[:, None] & (self.log_odds[rows] > -np.inf)
        return np.concatenate(seen, axis=1).astype(np.float32), np.concatenate([asks, is_asked], axis=1)

    def reward(self, rows: np.ndarray, actions: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """`(b,)`: less the price of a call, in score, or the score of the answer that is given."""
        k = actions % len(self.prices)
        return np.where(actions < len(self.prices), -weights * self.prices[k], self.scores[rows, k])

    def learn(
        self,
        weights: np.ndarray,
        *,
        seed: int = 0,
        cache: Path | None = None,
        tell: Callable[[float], None] = lambda share: None,
        **options: float,
    ) -> "Learnt":
        """A policy by proximal policy optimisation on these prompts, for all weights of a dollar.

        Args:
            weights: those that it is for; it is learnt between them too.
            seed: of all that is random.
            cache: folder that keeps the policy, so that the same one is not learnt again; nothing is kept when absent.
            tell: told what share is done.
            options: of `learn_policy`, in place of the defaults.

        Raises:
            MissingDependencyError: torch is not installed.
        """
        require("torch", "train")
        from lookahead_router.networks.hops import learn_policy

        positive = np.log(weights[weights > 0]) if (weights > 0).any() else np.zeros(1)

        def draw(generator: np.random.Generator, n: int) -> np.ndarray:
            drawn = np.exp(generator.uniform(positive.min(), positive.max(), n))
            return np.where(generator.random(n) < 0.1, 0.0, drawn) if (weights > 0).any() else np.zeros(n)

        chosen = {
            "n_updates": N_UPDATES,
            "n_episodes": N_EPISODES,
            "n_hidden": N_HIDDEN,
            "learning_rate": LEARNING_RATE,
        }
        chosen |= {**options, "n_rows": len(self.scores), "n_candidates": len(self.prices), "seed": seed}
        path = None if cache is None else cache / f"{self._key(weights, chosen)}.npz"
        if path is not None:
            with suppress(OSError, ValueError, EOFError, BadZipFile):  # nothing there, or damaged
                return Learnt(dict(np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)))
        learnt = Learnt(learn_policy(self.observe, self.reward, draw, **chosen, tell=tell))
        if path is not None:
            with replacing_file(path) as temporary, temporary.open("wb") as file:
                np.savez(file, **learnt.actor)
        return learnt

    def _key(self, weights: np.ndarray, options: dict[str, float]) -> str:
        """A file name for what these answers, weights, options and this version of the library determine."""
        digest = hashlib.sha256(json.dumps([__version__, self.max_calls, options], sort_keys=True).encode())
        for array in (self.log_odds, self.alone, self.beside, self.scores, self.prices, weights):
            digest.update(f"{array.dtype.str} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:24]

    def run(self, policy: "Learnt", weight: float) -> Asked:
        """What a policy does on these prompts."""
        n, n_candidates = self.scores.shape
        is_asked, accepted, active = np.zeros((n, n_candidates), dtype=bool), np.zeros(n, dtype=int), np.arange(n)
        while len(active):
            actions = policy.decide(*self.observe(active, is_asked[active], np.full(len(active), weight)))
            ends = actions >= n_candidates
            accepted[active[ends]] = actions[ends] - n_candidates
            is_asked[active[~ends], actions[~ends]] = True
            active = active[~ends]
        return Asked(accepted, is_asked.sum(axis=1), is_asked)

    def gain(self, done: Asked, weight: float) -> float:
        """Mean score less dollars, in score, of what was done."""
        scores = self.scores[np.arange(len(self.scores)), done.accepted]
        return float((scores - weight * (done.is_asked * self.prices).sum(axis=1)).mean())

    def solve(
        self,
        weights: Sequence[float],
        cells: np.ndarray,
        *,
        min_group: int = MIN_GROUP,
        tell: Callable[[float], None] = lambda share: None,
    ) -> list[Solved]:
        """The best of all rules that see a prompt's cell and what checks said, by dynamic programming.

        It knows the mean scores of who looks alike, on these very prompts: what it gains is an upper bound for such
        rules, and too high a one for small groups.

        Args:
            weights: scores that a dollar is worth.
            cells: `(n,)` int: prompts of one cell look alike before the first call.
            min_group: prompts below which nobody else is asked.
            tell: told what share is done.
        """
        table, solved = _Table(self, min_group), []
        for weight in weights:
            tell(len(solved) / len(weights))
            solved.append(table.solve(weight * self.prices, cells))
        return solved


class _Table:
    """States are groups of rows that look alike, known by their first row, and who was asked."""

    def __init__(self, hops: Hops, min_group: int) -> None:
        self.hops, self.min_group = hops, min_group
        self._parts: dict[tuple, list[np.ndarray]] = {}  # whatever a dollar is worth

    def solve(self, prices: np.ndarray, cells: np.ndarray) -> Solved:
        is_asked, accepted = np.zeros(self.hops.scores.shape, dtype=bool), np.zeros(len(cells), dtype=int)
        total, known = 0.0, {}
        for cell in np.unique(cells):
            rows = np.flatnonzero(cells == cell)
            total += len(rows) * self._best(rows, (), prices, known)
            self._follow(rows, (), known, is_asked, accepted)
        return Solved(total / len(cells), Asked(accepted, is_asked.sum(axis=1), is_asked))

    def _best(self, rows: np.ndarray, asked: tuple[int, ...], prices: np.ndarray, known: dict) -> float:
        """The value of a state; `known` gets it, and the best action: whom to ask, or -1 less whose answer to give."""
        key = (rows[0], asked)
        if key in known:
            return known[key][0]
        best, action = -np.inf, -1
        if asked:
            means = self.hops.scores[rows[:, None], asked].mean(axis=0)
            best, action = float(means.max()), -1 - asked[int(means.argmax())]
        if len(asked) < self.hops.max_calls and (len(rows) >= self.min_group or not asked):
            for k in np.flatnonzero(self.hops.log_odds[rows[0]] > -np.inf).tolist():
                if k in asked:
                    continue
                after = tuple(sorted((*asked, k)))
                values = [len(each) * self._best(each, after, prices, known) for each in self._groups(rows, k, asked)]
                worth = sum(values) / len(rows) - prices[k]
                if worth > best:
                    best, action = worth, k
        known[key] = (best, action)
        return best

    def _groups(self, rows: np.ndarray, k: int, asked: tuple[int, ...]) -> list[np.ndarray]:
        """The rows by what checks say of one more answer."""
        key = (rows[0], asked, k)
        if key not in self._parts:
            beside = self.hops.beside[rows, k][:, list(asked)].reshape(len(rows), -1)
            codes = np.concatenate([self.hops.alone[rows, k], beside], axis=1)
            _, of = np.unique(codes, axis=0, return_inverse=True)
            self._parts[key] = [rows[of.ravel() == each] for each in range(of.max() + 1)]
        return self._parts[key]

    def _follow(self, rows, asked: tuple[int, ...], known: dict, is_asked: np.ndarray, accepted: np.ndarray) -> None:
        _, action = known[rows[0], asked]
        if action < 0:
            accepted[rows] = -1 - action
            return
        is_asked[rows, action] = True
        for part in self._groups(rows, action, asked):
            self._follow(part, tuple(sorted((*asked, action))), known, is_asked, accepted)


@dataclass(frozen=True)
class Learnt:
    """A learnt policy; deciding needs no torch."""

    actor: dict[str, np.ndarray]

    def decide(self, seen: np.ndarray, allowed: np.ndarray) -> np.ndarray:
        """`(b,)` the most likely of the allowed actions."""
        p = self.actor
        hidden = np.tanh(np.tanh(seen @ p["inner"] + p["inner_bias"]) @ p["outer"] + p["outer_bias"])
        return np.where(allowed, hidden @ p["act"] + p["act_bias"], -np.inf).argmax(axis=1)


def alike(chances: np.ndarray) -> np.ndarray:
    """`(n,)` cells of prompts that look alike before the call: whom they are for, and a quarter by mean chance."""
    mean = np.nan_to_num(chances).mean(axis=1)
    quarter = np.searchsorted(np.quantile(mean, [0.25, 0.5, 0.75]), mean)
    return np.nan_to_num(chances, nan=-1.0).argmax(axis=1) * 4 + quarter


def experience(
    predictor: Predictor,
    train: RoutingDataset,
    validation: RoutingDataset,
    before: np.ndarray,
    tell: Callable[[str, float], None] = lambda what, share: None,
) -> tuple[RoutingDataset, np.ndarray]:
    """Rows to learn a policy on, and chances of them by a predictor that was not fitted on them.

    A fitted predictor is fitted again on four fifths of the train rows at a time; of others, the validation rows are
    what they have not seen.

    Args:
        predictor: whose chances the policy goes by.
        train: what it was fitted on.
        validation: rows that it was not fitted on.
        before: `(n, K)` its chances of the validation rows.
        tell: told what comes, and what share is done.
    """
    rows, chances = [validation], [before]
    if isinstance(predictor, FittedPredictor):
        settings, embedder = predictor.settings.model_dump(), predictor.embedder
        if predictor.reads_embeddings:
            tell("embedding", 0.0)
            embedder = Embedded(embedder, train.prompts)

        def again(part: RoutingDataset) -> FittedPredictor:
            return type(predictor)(embedder=embedder, **settings).fit(part)

        folds = folds_of(train.prompts, N_FOLDS, predictor.settings.seed)
        scores = crossfit({predictor.kind: again}, train, folds, tell)[predictor.kind].predict(train.requests()).scores
        curves = predictor.calibration
        rows.append(train)
        chances.append(scores if curves is None else curves.probabilities(scores, train.pool.names))
    judged = [~np.isnan(each.scores).any(axis=1) for each in rows]
    return (
        RoutingDataset.concatenate([each.select(kept) for each, kept in zip(rows, judged, strict=True)]),
        np.concatenate([each[kept] for each, kept in zip(chances, judged, strict=True)]),
    )
