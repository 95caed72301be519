"""`compare`: is this router better than what could be done without it?"""

import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lookahead_router import __version__
from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.errors import ConfigurationError, DataError, LookaheadRouterError, TruncatedPromptWarning
from lookahead_router.evaluation.entries import Entry, Predictions
from lookahead_router.evaluation.leakage import find_leakage
from lookahead_router.evaluation.measure import Measured, Yardstick
from lookahead_router.evaluation.results import ComparisonReport, DatasetResult, PredictorResult
from lookahead_router.extras import require
from lookahead_router.policies import BestQuality, Policy
from lookahead_router.predictors.embedder import Embedder


@dataclass(frozen=True)
class Material:
    """A dataset as a comparison needs it: prompts to route, and what baselines may learn from."""

    name: str
    split: str
    evaluation: RoutingDataset
    train: RoutingDataset | None = None
    validation: RoutingDataset | None = None
    """Calibrates baselines; uncalibrated without it."""

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
    on_progress: Callable[[str, float], None] = lambda step, share: None,
) -> ComparisonReport:
    """Routes every dataset with every predictor, on the same rows and the same resamples of them.

    A predictor that fails is a row with its error; the others go on.

    Args:
        entries: the first is the reference, which the others are compared to in pairs.
        materials: the datasets.
        policy: scores to utilities; `BestQuality()` when absent. Prices are the mean costs of the training split.
        embedder: gives the encoder that the baselines share, called when one needs it.
        cache: folder that keeps fitted baselines and predictions; nothing is kept when absent.
        n_seeds: fits of each baseline that is random, averaged.
        n_resamples: bootstrap samples behind the 95 % intervals.
        seed: of the bootstrap.
        check_leakage: whether to look for evaluation prompts in the training split.
        on_progress: told before each step what comes, and what share of all is done.

    Raises:
        ConfigurationError: no predictor, no dataset, or a label twice.
        MissingDependencyError: the leakage check needs scikit-learn.
        DataError: a dataset without any prompt with a score of every candidate, or whose splits differ in candidates.
    """
    labels = [entry.label for entry in entries]
    if not entries or not materials:
        raise ConfigurationError("name at least one predictor and one dataset to compare")
    if len(set(labels)) < len(labels):
        raise ConfigurationError(f"labels must differ, got {', '.join(labels)}; name one with LABEL=LOCATION")
    if check_leakage and any(material.train is not None for material in materials):
        require("sklearn", "eval")  # not after all the work
    start = time.perf_counter()
    policy = BestQuality() if policy is None else policy
    results = []
    n_steps = len(entries) + 1
    for at, material in enumerate(materials):
        train, validation = material.aligned_train, material.aligned_validation
        try:
            yardstick = Yardstick(material.evaluation, train, policy, n_resamples=n_resamples, seed=seed)
        except DataError as error:
            raise DataError(f"{material.name}: {error}") from error
        predictions = Predictions(yardstick.rows, train, validation, embedder, cache, n_seeds)
        measured = []
        for entry in entries:
            on_progress(f"{material.name}: {entry.label}", (at + len(measured) / n_steps) / len(materials))
            measured.append(_measure(entry, predictions, yardstick))
        on_progress(f"{material.name}: intervals", (at + len(entries) / n_steps) / len(materials))
        results.append(_result(material, yardstick, measured, check_leakage))
    seconds = time.perf_counter() - start
    return ComparisonReport(tuple(results), repr(policy), n_resamples, __version__, seconds)


def _measure(entry: Entry, predictions: Predictions, yardstick: Yardstick) -> Measured | PredictorResult:
    """A predictor's figures, or why there are none: one must not lose the run for the others."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TruncatedPromptWarning)
            return Measured(yardstick, entry.label, list(predictions.of(entry)))
    except LookaheadRouterError as error:
        return PredictorResult(entry.label, error=str(error))
    except Exception as error:  # its text may hold a prompt's
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
