"""`lookahead-router card`: a saved predictor's model card, rendered again."""

from pathlib import Path
from typing import Annotated

import typer

from lookahead_router.cli._output import show


def card(
    folder: Annotated[Path, typer.Argument(help="Folder of a saved predictor.")],
    recipe: Annotated[
        Path | None, typer.Option(help="Recipe whose section 'card' replaces licence, terms, limits and notes.")
    ] = None,
) -> None:
    """Render README.md from the folder's own files.

    Results come from 'evaluate --save', the parity of the graphs from 'export'.
    """
    from lookahead_router.saved.card import write_card, write_card_settings
    from lookahead_router.saved.folder import PredictorFolder

    saved = PredictorFolder(folder)
    saved.check()
    if recipe is not None:
        from lookahead_router.training.recipe import Recipe

        write_card_settings(saved, Recipe.from_yaml(recipe).card)
    write_card(saved)
    show(f"wrote {saved.card}")
