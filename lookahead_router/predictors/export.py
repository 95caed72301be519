"""ONNX graphs of a saved predictor, kept only if they route as its torch weights do."""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from lookahead_router.errors import CheckpointError
from lookahead_router.predictors.lookahead import LookaheadPredictor
from lookahead_router.prompts import Prompt
from lookahead_router.saved.card import PARITY, record_result, write_card
from lookahead_router.saved.folder import PredictorFolder

MAX_SCORE_DIFFERENCE = 1e-4
"""Of fp32 scores from torch's."""
MIN_SAME_DECISIONS = 0.98
"""Share of prompts on which int8 decides as fp32 does."""
TORCH_SAMPLE = 256
"""Prompts, evenly spaced, that torch scores too."""


@dataclass(frozen=True)
class Parity:
    """How the exported graphs agree with torch."""

    n_prompts: int
    max_score_difference: float
    same_decisions: float
    """Share in [0, 1]."""
    weight_bits: int = 8
    """Of the int8 graph."""

    @property
    def holds(self) -> bool:
        """Whether the graphs may be kept."""
        return self.max_score_difference <= MAX_SCORE_DIFFERENCE and self.same_decisions >= MIN_SAME_DECISIONS

    def __str__(self) -> str:
        return (
            f"fp32 scores within {self.max_score_difference:.1e} of torch (at most {MAX_SCORE_DIFFERENCE:.0e}), "
            f"int8 decides the same on {self.same_decisions:.2%} of {self.n_prompts} prompts "
            f"(at least {MIN_SAME_DECISIONS:.0%}) with {self.weight_bits}-bit weights"
        )


def export_predictor(folder: str | Path, prompts: Sequence[Prompt], weight_bits: int = 8) -> Parity:
    """Writes both graphs into the folder if they agree with torch on the prompts.

    Args:
        folder: a saved predictor with torch weights.
        prompts: real ones, a few hundred at least.
        weight_bits: of the int8 graph's weights, 8 or 4.

    Raises:
        CheckpointError: the folder has no torch weights, or the graphs disagree with them; then the
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
        if not parity.holds:
            raise CheckpointError(f"the graphs do not route as the torch weights do: {parity}", location=str(folder))
        final.onnx.parent.mkdir(exist_ok=True)
        trial.onnx.replace(final.onnx)
        trial.onnx_int8.replace(final.onnx_int8)
        trial.config.replace(final.config)
    record_result(final, PARITY, asdict(parity))
    write_card(final)
    return parity


def _compare(predictor: LookaheadPredictor, exported: PredictorFolder, prompts: Sequence[Prompt]) -> Parity:
    """Torch against fp32 on a sample, as one function has to give one result; fp32 against int8 on all."""
    fp32_predictor = LookaheadPredictor.load(exported.path, backend="onnx")
    sample = prompts[:: max(1, len(prompts) // TORCH_SAMPLE)]
    difference = np.abs(fp32_predictor.predict(sample).scores - predictor.predict(sample).scores).max()
    fp32 = fp32_predictor.predict(prompts).scores
    int8 = LookaheadPredictor.load(exported.path, backend="onnx-int8").predict(prompts).scores
    return Parity(
        n_prompts=len(fp32),
        max_score_difference=float(difference),
        same_decisions=float((int8.argmax(axis=1) == fp32.argmax(axis=1)).mean()),
    )
