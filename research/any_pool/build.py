"""The embedded predictor from its trained network: population, profiles, catalogue, default pool.

    python research/any_pool/build.py NETWORK DATA OUTPUT [--features all.npz --texts texts.json]

NETWORK is what `lookahead-router train recipes/Llama-lookahead-any-pool-minilm.yaml` wrote, exported; DATA holds the
openpool files and the wide ones. What the network foresees of all texts takes some ten minutes; --features gives it,
in the order of --texts.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

from lookahead_router.data.outcomes import OutcomeTable
from lookahead_router.predictors.catalogue import Spelling
from lookahead_router.predictors.open_pool import OUTPUTS
from lookahead_router.predictors.profiles import Foreseen
from lookahead_router.prompts import prompt_text
from lookahead_router.training.open_pool import build_open_pool

EVERYDAY = Path(__file__).parents[2] / "recipes" / "everyday"
NAME = "Llama-lookahead-any-pool-minilm"
POOL = ("gpt-4o", "gpt-4o-mini", "claude-sonnet-4", "gemini-2.5-pro", "deepseek-r1", "llama-3.1-8b-instruct")
"""What the embedded router decides among where the user names none."""
WIDE = ("lookahead7", "lookahead7_gemma", "mmlupro12", "routerbench3")
WINDOWS = {"llama-3-8b-instruct": 8_192, "llama-3.1-8b-instruct": 131_072}
"""Their maker's, where some host lists more."""
EXCLUDED = ("alpaca_eval*", "swe-bench-verified*", "faithbench*", "AlpacaEval", "MT-Bench*")
"""For their terms (CC BY-NC, or no grading that we may pass on)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--features", type=Path)
    parser.add_argument("--texts", type=Path)
    parser.add_argument("--price-list", type=Path, help="litellm's model_prices_and_context_window_backup.json")
    parser.add_argument("--prices-as-of", default="2026-11-20 (litellm 1.110.2)")
    options = parser.parse_args()
    about = json.loads((options.data / "openpool_models.json").read_text())
    if options.price_list is not None:
        _list_prices(about, json.loads(options.price_list.read_text()))
    tables = [
        OutcomeTable.from_file(
            options.data / "openpool_outcomes.parquet", prompts=options.data / "openpool_prompts.parquet"
        )
    ]
    aliases = json.loads((options.network / "training.json").read_text())["recipe"]["data"]["aliases"]
    for name in WIDE:
        table = OutcomeTable.from_file(options.data / f"{name}.parquet")
        tables.append(table.rename(_spelt(table.candidates, about, aliases)))
    table = _once(OutcomeTable.concatenate(tables), len(tables[0]))
    print(f"{len(table):,} answers of {len(table.candidates)} candidates to {len(table.prompts):,} prompts", flush=True)
    foreseen = None if options.features is None else _foreseen(options.features, options.texts, table.prompts)
    start = time.time()

    def tell(step: str, share: float) -> None:
        print(f"{time.time() - start:6.0f} s  {step}  {share:.0%}", file=sys.stderr, flush=True)

    build_open_pool(
        options.network,
        table,
        options.output,
        name=NAME,
        about=about,
        pool=POOL,
        prices_as_of=options.prices_as_of,
        exclude_sources=EXCLUDED,
        splits=("train", "validation", ""),
        everyday=EVERYDAY / "prompts.jsonl",
        requests=EVERYDAY / "requests.jsonl",
        foreseen=foreseen,
        on_progress=tell,
    )


def _list_prices(about: dict, listed: dict) -> None:
    """Adds windows, and in place of medians over hosts the prices of those who made a closed model.

    A window is the maker's, or the largest that a host offers.
    """
    by_words: dict[tuple, list[tuple[str, dict]]] = {}
    for key, record in listed.items():
        if record.get("mode") == "chat" and not key.startswith("ft:"):
            by_words.setdefault(tuple(Spelling.of(key).words), []).append((key, record))
    for name, facts in about.items():
        same = by_words.get(tuple(Spelling.of(name).words), [])
        makers = [] if facts["open"] else [record for key, record in same if "/" not in key]
        windows = [record.get("max_input_tokens") for record in makers or [record for _, record in same]]
        largest = max((w for w in windows if isinstance(w, int)), default=None)
        facts["context_window_tokens"] = WINDOWS.get(name, largest)
        priced = [record for record in makers if record.get("input_cost_per_token")]
        if priced:
            facts["usd_per_m_in"] = round(1e6 * priced[0]["input_cost_per_token"], 6)
            facts["usd_per_m_out"] = round(1e6 * priced[0]["output_cost_per_token"], 6)


def _spelt(candidates: tuple[str, ...], about: dict, aliases: dict[str, str]) -> dict[str, str]:
    """Names of the wide files as the open corpus writes them."""
    lower = {name.lower(): name for name in about}
    return {name: aliases.get(name, lower.get(name.lower(), name)) for name in candidates}


def _once(table: OutcomeTable, n_first: int) -> OutcomeTable:
    """Without those answers of the wide files whose grades the first table has too."""
    pairs = table.prompt_index.astype(np.int64) * len(table.candidates) + table.candidate_index
    graded = table.kinds == "correct"
    is_wide = np.arange(len(table)) >= n_first
    return table.select(~(is_wide & graded & np.isin(pairs, pairs[~is_wide & graded])))


def _foreseen(features: Path, texts: Path, prompts: np.ndarray) -> Foreseen:
    place = {prompt_text(text): row for row, text in enumerate(json.loads(texts.read_text())["texts"])}
    rows = np.array([place[prompt_text(text)] for text in prompts])
    with np.load(features, allow_pickle=False) as given:
        return Foreseen(**{name: given[name][rows].astype(np.float64) for name in OUTPUTS})


if __name__ == "__main__":
    main()
