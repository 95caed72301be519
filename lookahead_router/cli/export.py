"""`lookahead-router export`: torch weights to ONNX graphs, gated by parity."""

import warnings
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from lookahead_router.cli._output import progress, show
from lookahead_router.errors import TruncatedPromptWarning
from lookahead_router.extras import require


class WeightBits(StrEnum):
    """Choices of `--weight-bits`."""

    EIGHT = "8"
    FOUR = "4"


def export(
    folder: Annotated[Path, typer.Argument(help="Folder of a saved predictor with model.safetensors.")],
    data: Annotated[str, typer.Option(help="Dataset whose prompts parity is checked on: Parquet, JSONL, or org/name.")],
    split: Annotated[str, typer.Option(help="Split of that dataset; 'all' for every row.")] = "validation",
    weight_bits: Annotated[
        WeightBits, typer.Option(help="Bits of the int8 graph's weights; 4 makes it little more than half as large.")
    ] = WeightBits.EIGHT,
) -> None:
    """Write onnx/model.onnx and onnx/model_int8.onnx into the folder.

    Refuses to keep them where fp32 scores differ from torch by more than 1e-4 or where int8 decides
    otherwise on more than 2 % of the prompts.
    """
    for module in ("torch", "transformers", "onnx", "onnxscript"):
        require(module, "train")
    from lookahead_router.data.dataset import RoutingDataset
    from lookahead_router.predictors.export import export_predictor

    with progress(f"reading {data}") as update, warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncatedPromptWarning)  # every backend cuts them alike
        dataset = RoutingDataset.from_file(data)
        rows = dataset if split == "all" else dataset.filter(split=split)
        update(f"exporting, then routing {len(rows)} prompts with each backend", None)
        parity = export_predictor(folder, rows.prompts, int(weight_bits))
    show(f"{parity}")
    show(f"saved {folder / 'onnx'}")
