"""ONNX graphs of a saved predictor, kept only if they route as its torch weights do."""

import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from lookahead_router.errors import CheckpointError, LookaheadRouterWarning
from lookahead_router.predictors.lookahead import LookaheadPredictor
from lookahead_router.predictors.plain_prompts import PLAIN_PROMPTS
from lookahead_router.prompts import Prompt
from lookahead_router.saved.card import PARITY, record_result, write_card
from lookahead_router.saved.folder import PredictorFolder

MAX_SCORE_DIFFERENCE = 1e-4
"""Largest difference of fp32 scores from torch's."""
MIN_SAME_DECISIONS = 0.98
"""Share of the given prompts on which int8 decides as fp32 does."""
MIN_SAME_PLAIN_DECISIONS = 0.95
"""Share of plain prompts, whose candidates are often close, on which it does."""
TORCH_SAMPLE = 256
"""Prompts, evenly spaced, that torch scores too."""


@dataclass(frozen=True)
class Parity:
    """How the exported graphs agree with torch."""

    n_prompts: int
    max_score_difference: float
    same_decisions: float
    """Share of the given prompts, in [0, 1]."""
    same_plain_decisions: float
    """Share of `PLAIN_PROMPTS`, in [0, 1]."""
    weight_bits: int = 8
    """Bits of the int8 graph's weights."""

    @property
    def fp32_holds(self) -> bool:
        """Whether the fp32 graph may be kept."""
        return self.max_score_difference <= MAX_SCORE_DIFFERENCE

    @property
    def int8_holds(self) -> bool:
        """Whether the int8 graph may be kept beside it."""
        return self.same_decisions >= MIN_SAME_DECISIONS and self.same_plain_decisions >= MIN_SAME_PLAIN_DECISIONS

    def __str__(self) -> str:
        return (
            f"fp32 scores within {self.max_score_difference:.1e} of torch (at most {MAX_SCORE_DIFFERENCE:.0e}), "
            f"int8 decides the same on {self.same_decisions:.2%} of {self.n_prompts} prompts "
            f"(at least {MIN_SAME_DECISIONS:.0%}) and on {self.same_plain_decisions:.2%} of {len(PLAIN_PROMPTS)} plain "
            f"ones (at least {MIN_SAME_PLAIN_DECISIONS:.0%}) with {self.weight_bits}-bit weights"
        )


def export_predictor(folder: str | Path, prompts: Sequence[Prompt], weight_bits: int = 8) -> Parity:
    """Writes into the folder what agrees with its torch weights: both graphs, or the fp32 one alone, with a warning.

    Args:
        folder: a saved predictor with torch weights.
        prompts: real ones, a few hundred at least; some plain ones are compared besides.
        weight_bits: of the int8 graph's weights, 8 or 4.

    Raises:
        CheckpointError: the folder has no torch weights, or the fp32 graph disagrees with them; then the
            folder is left as it was.
        MissingDependencyError: torch, onnx or onnxscript is not installed.
    """
    from lookahead_router.backends.export import export_onnx
    from lookahead_router.backends.quantize import quantize_onnx

    predictor = LookaheadPredictor.load(folder, backend="torch")
    final = PredictorFolder(Path(folder).absolute())
    with tempfile.TemporaryDirectory(prefix=".export.", dir=final.path) as name:
        trial = PredictorFolder(Path(name) / "predictor")
        predictor.save(trial.path)
        export_onnx(predictor.backend.network, trial.onnx)
        quantize_onnx(trial.onnx, trial.onnx_int8, weight_bits)
        trial.write(trial.read_config(), predictor.pool)
        parity = replace(_compare(predictor, trial, prompts), weight_bits=weight_bits)
        if not parity.fp32_holds:
            raise CheckpointError(f"the graphs do not route as the torch weights do: {parity}", location=str(folder))
        if not parity.int8_holds:
            trial.onnx_int8.unlink()
            trial.write(trial.read_config(), predictor.pool)
        final.onnx.parent.mkdir(exist_ok=True)
        final.onnx_int8.unlink(missing_ok=True)
        trial.onnx.replace(final.onnx)
        if parity.int8_holds:
            trial.onnx_int8.replace(final.onnx_int8)
        trial.config.replace(final.config)
    record = {**asdict(parity), "n_plain_prompts": len(PLAIN_PROMPTS), "is_int8_kept": parity.int8_holds}
    record_result(final, PARITY, record)
    write_card(final)
    if not parity.int8_holds:
        other = "weight_bits=8, or " if weight_bits < 8 else ""
        warnings.warn(
            f"the int8 graph is left out, for it decides otherwise too often: {parity}. The fp32 graph is kept and "
            f"routes. Try {other}more training: candidates that score nearly alike change places at the least rounding",
            LookaheadRouterWarning,
            stacklevel=2,
        )
    return parity


def _compare(predictor: LookaheadPredictor, exported: PredictorFolder, prompts: Sequence[Prompt]) -> Parity:
    """Torch against fp32 on a sample, as one function has to give one result; fp32 against int8 on all."""
    fp32 = LookaheadPredictor.load(exported.path, backend="onnx")
    int8 = LookaheadPredictor.load(exported.path, backend="onnx-int8")
    sample = prompts[:: max(1, len(prompts) // TORCH_SAMPLE)]
    difference = np.abs(fp32.predict(sample).scores - predictor.predict(sample).scores).max()
    return Parity(
        n_prompts=len(prompts),
        max_score_difference=float(difference),
        same_decisions=_same_decisions(fp32, int8, prompts),
        same_plain_decisions=_same_decisions(fp32, int8, PLAIN_PROMPTS),
    )


def _same_decisions(first: LookaheadPredictor, second: LookaheadPredictor, prompts: Sequence[Prompt]) -> float:
    """Share of prompts on which both have the same best candidate."""
    return float((first.predict(prompts).scores.argmax(axis=1) == second.predict(prompts).scores.argmax(axis=1)).mean())
