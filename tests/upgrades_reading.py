"""What is read from files of a version: by the script that keeps them, and by the test that reads them later."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from lookahead_router import Router, RoutingDataset
from lookahead_router.data.outcomes import OutcomeTable
from lookahead_router.evaluation.decisions import read_decisions
from lookahead_router.live import JudgeConfig, PoolConfig, read_answers
from lookahead_router.live.answers import read_questions
from lookahead_router.live.journal import read_records
from lookahead_router.predictors.embedder import Embedder
from lookahead_router.predictors.fitted import fitted_class
from lookahead_router.server.keys import KeyFile
from lookahead_router.training.demand_recipe import read_recipe

PROMPTS = ["sum 1 2 3 ?", "rhyme river stone light ?", "one two three", "a", "six seven eight words of no vocabulary"]


def opened(folder: Path) -> Router:
    """The router over a saved predictor; a sentence encoder is given, since the saved one names where it was."""
    if folder.name.endswith("-sentences"):
        encoder = Embedder.load(folder.parents[1] / "encoder")
        return Router(fitted_class(folder.name.removesuffix("-sentences")).load(folder, embedder=encoder))
    if folder.name.endswith("-static"):  # names that the catalogue alone knows, read by the word vectors
        return Router.from_pretrained(folder, candidates=["gpt-5", "llama-3.1-8b-instruct"], backend="static")
    return Router.from_pretrained(folder)


def predicted(folder: Path) -> dict[str, Any]:
    """What a saved predictor foresees for `PROMPTS`."""
    router = opened(folder)
    prediction = router.predict(PROMPTS)
    arrays = ("scores", "probabilities", "standard_errors", "expected_tokens")
    found = {name: getattr(prediction, name) for name in arrays}
    rounded = {name: None if values is None else values.round(6).tolist() for name, values in found.items()}
    usual = {"policy": repr(router.policy)} if folder.name.endswith("-ordinary") else {}
    return {"pool": router.pool.to_dict(), **rounded, **usual}


def read_files(folder: Path) -> dict[str, Any]:
    """What the other files say, in few words."""
    parquet, jsonl = (RoutingDataset.from_file(folder / f"dataset.{suffix}") for suffix in ("parquet", "jsonl"))
    pool, judge = PoolConfig.load(folder / "pool.yaml"), JudgeConfig.load(folder / "judge.yaml")
    decisions = read_decisions(folder / "decisions.jsonl")
    with tempfile.TemporaryDirectory() as place:  # SQLite writes beside what it reads
        stored = read_decisions(Path(shutil.copy(folder / "decisions.sqlite", place)))
    recipes = {path.name: read_recipe(path) for path in sorted((folder / "recipes").iterdir())}
    settings = json.dumps({name: recipe.model_dump(mode="json") for name, recipe in recipes.items()})
    return {
        "dataset": [parquet.fingerprint(), jsonl.fingerprint(), len(jsonl.prompts)],
        "questions": [[each.prompt, each.reference] for each in read_questions(folder / "prompts.jsonl")],
        "answers": sorted(
            [each.prompt, each.candidate, each.response] for each in read_answers(folder / "answers.jsonl")
        ),
        "scores": OutcomeTable.from_file(folder / "scored.jsonl").to_dataset().scores.tolist(),
        "pool": pool.pool().to_dict(),
        "whole pool": PoolConfig.load(folder / "pool-whole.yaml").model_dump(mode="json"),
        "keys": KeyFile.load(folder / "keys.json").model_dump(mode="json"),
        "verdicts": sorted(
            [each["prompt_id"], *each["candidates"], each["judge"], each["verdict"]]
            for each in read_records(folder / "rated.jsonl.verdicts")
            if "verdict" in each
        ),
        "judge": judge.model_dump(mode="json", include={"reference", "method", "rubric"}),
        "decisions": [[each["kind"], each.get("candidate")] for each in decisions],
        "stored decisions": [[each["kind"], each.get("candidate")] for each in stored],
        "recipes": json.loads(settings.replace(str(folder), "FOLDER")),
    }
