"""`sample`: which prompts of a log are worth asking, so that few answers stand for all of its traffic."""

import json
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lookahead_router.data.duplicates import duplicate_groups
from lookahead_router.errors import ConfigurationError, TruncatedPromptWarning
from lookahead_router.files import replacing_file
from lookahead_router.live.answers import Question, Redact
from lookahead_router.live.choosing import covering, telling
from lookahead_router.live.logs import Log, log_of, read_logs
from lookahead_router.predictors.fitted.clusters import cluster
from lookahead_router.predictors.open_pool import OpenPoolPredictor
from lookahead_router.router import Router

Logs = str | Path | Iterable[Any]
"""A log file; or several of them, texts, conversations, `Question`s, or what lines of a log hold."""

COVERAGE, INFORMATIVE = PREFERENCES = ("coverage", "informative")
"""What is preferred among prompts that are alike: nothing, so that chance draws; or what tells most of candidates."""
MAX_READ = 5000
"""Different prompts that the network reads, at most; of more, so many are drawn first."""
N_TOPICS = 8
"""Topics that the coverage is told by, at most."""


@dataclass(frozen=True)
class Topic:
    """Prompts of a log that are alike, and how the sample covers them."""

    example: str
    """The prompt of the sample that is nearest to all of them."""
    share: float
    """Share of the log's prompts, repeats included, in [0, 1]."""
    n_sampled: int


@dataclass(frozen=True)
class Sample:
    """Prompts to ask, and what of the log they cover."""

    questions: tuple[Question, ...]
    """In the order of the log."""
    topics: tuple[Topic, ...]
    """Topics by falling share."""
    n_records: int
    n_unreadable: int
    """Records in which no prompt was found."""
    n_different: int
    """Prompts without their near-duplicates."""
    nearness: float
    """Median cosine of a prompt of the log to the nearest one of the sample, at most 1."""
    nearness_random: float
    """Median cosine to the nearest of as many prompts drawn by chance."""

    def write(self, path: str | Path) -> None:
        """Writes a prompt file, as `collect` reads it, whole or not at all."""
        with replacing_file(Path(path)) as temporary, temporary.open("w", encoding="utf-8") as lines:
            for question in self.questions:
                lines.write(json.dumps(_record(question), ensure_ascii=False) + "\n")


def sample(
    logs: Logs,
    n: int = 200,
    *,
    prefer: str = COVERAGE,
    router: Router | None = None,
    redact: Redact | None = None,
    seed: int = 0,
    on_progress: Callable[[str, float], None] = lambda step, share: None,
) -> Sample:
    """Draws prompts from logs that cover what they hold in proportion.

    Near-duplicates count as one prompt that comes often. The different ones are clustered by the network's embeddings,
    about four prompts of the sample to a cluster, and each cluster gives as many as its share of the log says. So the
    sample is one of the traffic: a mean over it stands for the mean over the log. Within a cluster chance draws, or the
    prompts are taken whose answers are expected to tell most about candidates.

    Args:
        logs: what to draw from; see `lookahead_router.live.logs`.
        n: prompts to draw, > 0; a log with fewer different ones gives all of these.
        prefer: `coverage`, or `informative` for the prompts of each cluster that tell most.
        router: whose predictor for any pool embeds; the embedded one when absent.
        redact: takes personal data out of a text; it is applied first, to whatever is kept.
        seed: another one draws others.
        on_progress: told before each step what comes, and what share of all is done.

    Raises:
        ConfigurationError: no number of at least 1, nothing that can be preferred, or a router whose pool is fixed.
        DataError: no such log, or no prompt in it.
        MissingDependencyError: scikit-learn is not installed.
    """
    predictor = _reader(n, prefer, router)
    on_progress("reading the log", 0.0)
    log = _read(logs)
    if redact is not None:
        log = replace(log, questions=tuple(question.redacted(redact) for question in log.questions))
    on_progress("looking for near-duplicates", 0.05)
    generator = np.random.default_rng(seed)
    first, weights, n_different = _different(log, max(MAX_READ, 2 * n), generator)
    prompts = [log.questions[row].prompt for row in first]
    on_progress(f"reading {len(first):,} different prompts", 0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncatedPromptWarning)
        foreseen, _ = predictor.foresee(prompts)
    embedding = foreseen.embedding.astype(np.float32)
    on_progress("covering the log", 0.9)
    if prefer == INFORMATIVE:
        chosen = np.sort(telling(predictor.population, foreseen, weights, n, seed))
    else:
        chosen = np.sort(covering(embedding, weights, n, seed))
    by_chance = generator.choice(len(first), len(chosen), replace=False)
    return Sample(
        questions=tuple(log.questions[row] for row in first[chosen]),
        topics=_topics(embedding, weights, chosen, prompts, seed),
        n_records=log.n_records,
        n_unreadable=log.n_unreadable,
        n_different=n_different,
        nearness=_nearness(embedding, weights, chosen),
        nearness_random=_nearness(embedding, weights, by_chance),
    )


def _reader(n: int, prefer: str, router: Router | None) -> OpenPoolPredictor:
    """Whose network reads the prompts, if all is in its range."""
    if type(n) is not int or n < 1:
        raise ConfigurationError(f"n is a number of prompts, at least 1, got {n!r}")
    if prefer not in PREFERENCES:
        raise ConfigurationError(f"prefer is one of {', '.join(PREFERENCES)}, got {prefer!r}")
    predictor = OpenPoolPredictor.load() if router is None else router.predictor
    if not isinstance(predictor, OpenPoolPredictor):
        raise ConfigurationError(
            f"a sample is drawn by a predictor for any pool, such as the embedded one, not {router!r}"
        )
    return predictor


def _different(log: Log, most: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, int]:
    """The first row of each group of near-duplicates, how many each has, and the number of groups; by chance `most`."""
    groups = duplicate_groups([question.prompt for question in log.questions])
    first, weights = np.unique(groups, return_index=True)[1], np.bincount(groups).astype(float)
    n_different = len(first)
    if n_different > most:
        kept = np.sort(generator.choice(n_different, most, replace=False))
        first, weights = first[kept], weights[kept]
    return first, weights, n_different


def _read(logs: Logs) -> Log:
    if isinstance(logs, str | Path):
        return read_logs([logs])
    logs = list(logs)
    if logs and all(isinstance(each, Path) for each in logs):
        return read_logs(logs)
    return log_of(logs)


def _topics(
    embedding: np.ndarray, weights: np.ndarray, chosen: np.ndarray, prompts: list[str], seed: int
) -> tuple[Topic, ...]:
    """The log in a few topics; those that the sample has nothing of have an example of the log."""
    centers, labels = cluster(embedding, N_TOPICS, seed)
    is_chosen = np.zeros(len(embedding), dtype=bool)
    is_chosen[chosen] = True
    found = []
    for number, center in enumerate(centers):
        rows = np.flatnonzero(labels == number)
        shown = rows[is_chosen[rows]] if is_chosen[rows].any() else rows
        example = prompts[shown[int((embedding[shown] @ center).argmax())]]
        found.append(Topic(example, float(weights[rows].sum() / weights.sum()), int(is_chosen[rows].sum())))
    return tuple(sorted(found, key=lambda topic: -topic.share))


def _nearness(embedding: np.ndarray, weights: np.ndarray, chosen: np.ndarray) -> float:
    """Median cosine to the nearest chosen row, over the log."""
    nearest = np.concatenate([(part @ embedding[chosen].T).max(axis=1) for part in np.array_split(embedding, 20)])
    order = np.argsort(nearest)
    middle = np.searchsorted(np.cumsum(weights[order]), weights.sum() / 2)
    return float(min(nearest[order][min(middle, len(order) - 1)], 1.0))


def _record(question: Question) -> dict[str, Any]:
    """A line of a prompt file."""
    asked = {"prompt": question.prompt} if question.messages is None else {"messages": list(question.messages)}
    about = {name: getattr(question, name) for name in ("reference", "id", "source", "split")}
    return asked | {name: value for name, value in about.items() if value not in (None, "")}
