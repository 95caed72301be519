"""`compare`: is this router better than what could be done without it? The one engine of all evaluation."""

import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lookahead_router import __version__
from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.errors import ConfigurationError, DataError, LookaheadRouterError, TruncatedPromptWarning
from lookahead_router.evaluation.entries import Ask, Entry, Foresight, Tell, ask_here
from lookahead_router.evaluation.leakage import find_leakage
from lookahead_router.evaluation.measure import Measured, Yardstick
from lookahead_router.evaluation.results import ComparisonReport, DatasetResult, PredictorResult
from lookahead_router.policies import BestQuality, Policy
from lookahead_router.predictors.embedder import Embedder


@dataclass(frozen=True)
class Material:
    """A dataset as a comparison needs it: prompts to route, and what predictors may learn from."""

    name: str
    split: str
    evaluation: RoutingDataset
    train: RoutingDataset | None = None
    validation: RoutingDataset | None = None
    """Calibrates what is fitted, which stays uncalibrated without it."""

    @property
    def aligned_train(self) -> RoutingDataset | None:
        """Training rows, columns as in the evaluation."""
        return None if self.train is None else self.train.align(self.evaluation.pool)

    @property
    def aligned_validation(self) -> RoutingDataset | None:
        """Validation rows, columns as in the evaluation."""
        return None if self.validation is None else self.validation.align(self.evaluation.pool)


def compare(
    entries: Sequence[Entry],
    materials: Sequence[Material],
    *,
    policy: Policy | None = None,
    embedder: Callable[[], Embedder] = Embedder.load,
    cache: Path | None = None,
    n_seeds: int = 1,
    n_resamples: int = 1000,
    seed: int = 0,
    check_leakage: bool = True,
    keep_going: bool = True,
    ask: Ask = ask_here,
    on_progress: Callable[[str, float], None] = lambda step, share: None,
) -> ComparisonReport:
    """Routes every dataset with every entry, on the same rows and the same resamples of them.

    A dataset's candidates are the field of all entries: one that decides among some of them is measured against all.
    A router among the entries decides by its own policy and prices, the others by `policy` and by the expected
    prices of `lookahead_router.evaluation.prices`.

    Args:
        entries: the first is the reference, which the others are compared to in pairs.
        materials: the datasets.
        policy: predictions to utilities; `BestQuality()` when absent.
        embedder: gives the encoder that fitted predictors share, called when one needs it.
        cache: folder that keeps fitted predictors and predictions; nothing is kept when absent.
        n_seeds: fits of each predictor that is random, averaged.
        n_resamples: bootstrap samples behind the 95 % intervals.
        seed: seed of the bootstrap.
        check_leakage: whether to look for evaluation prompts in the training split.
        keep_going: whether an entry that fails is a row with its error, while the others go on; it raises otherwise.
        ask: has predictors predict; those that need embeddings do so in this process.
        on_progress: told before each step what comes, and what share of all is done.

    Raises:
        ConfigurationError: no predictor, no dataset, or a label twice.
        DataError: a dataset without any prompt with a score of every candidate, or whose splits differ in candidates.
    """
    _check(entries, materials)
    start = time.perf_counter()
    policy = BestQuality() if policy is None else policy
    results = []
    n_steps = (len(entries) + 1) * len(materials)

    def begin(step: int, name: str) -> Tell:
        """Tells that one of the steps begins, and gives what tells of its progress."""
        on_progress(name, step / n_steps)
        return lambda what, share: on_progress(f"{name}, {what}" if what else name, (step + share) / n_steps)

    for at, material in enumerate(materials):
        yardstick = _yardstick(material, n_resamples, seed)
        train, validation = material.aligned_train, material.aligned_validation
        foresight = Foresight(yardstick.rows, train, validation, policy, embedder, cache, n_seeds, ask)
        measured = []
        before, first = f"{material.name}: " if material.name else "", at * (len(entries) + 1)
        for entry in entries:
            tell = begin(first + len(measured), before + entry.label)
            measured.append(_measure(entry, foresight, yardstick, keep_going, tell))
        begin(first + len(entries), before + "intervals")
        results.append(_result(material, yardstick, measured, check_leakage))
    seconds = time.perf_counter() - start
    policies = dict.fromkeys(repr(policy if entry.router is None else entry.router.policy) for entry in entries)
    return ComparisonReport(tuple(results), ", ".join(policies), n_resamples, __version__, seconds)


def _check(entries: Sequence[Entry], materials: Sequence[Material]) -> None:
    labels = [entry.label for entry in entries]
    if not entries or not materials:
        raise ConfigurationError("name at least one predictor and one dataset to compare")
    if len(set(labels)) < len(labels):
        raise ConfigurationError(f"labels must differ, got {', '.join(labels)}; name one with LABEL=LOCATION")


def _yardstick(material: Material, n_resamples: int, seed: int) -> Yardstick:
    train, validation = material.aligned_train, material.aligned_validation
    try:
        return Yardstick(material.evaluation, train, validation, n_resamples=n_resamples, seed=seed)
    except DataError as error:
        raise DataError(f"{material.name}: {error}" if material.name else str(error)) from error


def _measure(
    entry: Entry, foresight: Foresight, yardstick: Yardstick, keep_going: bool, tell: Tell
) -> Measured | PredictorResult:
    """A router's figures, or why there are none: one must not lose the run for the others."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TruncatedPromptWarning)
            return Measured(yardstick, entry.label, list(foresight.of(entry, tell)))
    except LookaheadRouterError as error:
        if not keep_going:
            raise
        return PredictorResult(entry.label, error=str(error))
    except Exception as error:  # its text may hold a prompt's
        if not keep_going:
            raise
        return PredictorResult(entry.label, error=f"{type(error).__name__} in {entry.label}; run it alone to see where")


def _result(
    material: Material, yardstick: Yardstick, measured: Sequence[Measured | PredictorResult], check_leakage: bool
) -> DatasetResult:
    reference = next((one for one in measured if isinstance(one, Measured)), None)
    rows, train = yardstick.rows, material.train
    has_leakage_check = check_leakage and train is not None
    return DatasetResult(
        dataset=material.name,
        split=material.split,
        fingerprint=rows.fingerprint(),
        n_prompts=dict(Counter(rows.sources.tolist())),
        n_unscored=yardstick.n_unscored,
        reference="" if reference is None else reference.label,
        predictors=tuple(one.result(reference) if isinstance(one, Measured) else one for one in measured),
        references=tuple(yardstick.references()),
        candidates=tuple(yardstick.candidates()),
        leakage=find_leakage(train.prompts, rows.prompts, rows.ids) if has_leakage_check else None,
        best_single=None if yardstick.best_single is None else yardstick.pool.names[yardstick.best_single],
    )
