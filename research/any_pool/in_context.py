"""`in-context` on candidates that training never saw, beside the lines of study.py on the same draws.

    python research/any_pool/in_context.py DATA FEATURES EMBEDDINGS --held-out HELD.json --beside RUN.json --output NEW

DATA, FEATURES and EMBEDDINGS are those of study.py, and RUN.json is what it wrote for as many draws, mixtures or, with
--within, of one source. The network is trained on the train split of all graded sources, by the candidates that are not
held out; those of a draw join by n scored answers each.

    python research/any_pool/in_context.py DATA FEATURES EMBEDDINGS --held-out HELD.json --choose --output settings.json

tries settings on what the tables are not of: a quarter of the other candidates is left out of the training and joins,
and what is asked are prompts of the validation split.
"""

import argparse
import json
import time
import warnings
from collections import defaultdict
from pathlib import Path

import numpy as np
import study

from lookahead_router import RoutingDataset
from lookahead_router.predictors.fitted import InContext
from lookahead_router.types import CandidatePool

LINES = ("profile", "mean of the answers", "kNN", "clusters", "ridge on known", "logistic regression")
FIGURES = ("log_loss", "normalized", "saved_0.95")
COUNTS = (20, 100, 500)
CHANGES = (
    {}, {"learning_rate": 3e-3}, {"learning_rate": 1e-2}, {"learning_rate": 3e-3, "n_epochs": 30},
    {"learning_rate": 3e-3, "weight_decay": 0.1}, {"learning_rate": 3e-3, "n_heads": 4},
    {"learning_rate": 3e-3, "n_dimensions": 192}, {"learning_rate": 1e-2, "n_epochs": 30},
    {"n_heads": 4}, {"n_heads": 8}, {"learning_rate": 3e-3, "n_heads": 8}, {"learning_rate": 3e-3, "n_heads": 16},
    {"learning_rate": 3e-3, "n_heads": 4, "n_epochs": 30}, {"learning_rate": 3e-3, "n_heads": 8, "n_epochs": 30},
    {"learning_rate": 3e-3, "n_heads": 8, "n_dimensions": 32},
    {"learning_rate": 3e-3, "n_heads": 16, "n_epochs": 30}, {"n_heads": 8, "n_epochs": 30},
    {"learning_rate": 3e-3, "n_heads": 8, "n_epochs": 100},
)  # fmt: skip
TRIED = tuple({"learning_rate": 1e-3, "n_heads": 1, "n_epochs": 10, **each} for each in CHANGES)
"""Settings that `--choose` tries, the first ones being those that others are changes of."""


class Rows:
    """Gives the embedding of a prompt that is called by its row."""

    fingerprint = location = "rows"

    def __init__(self, embedding: np.ndarray) -> None:
        self.embedding = embedding.astype(np.float32)

    def embed(self, texts: list[str]) -> np.ndarray:
        return self.embedding[[int(text) for text in texts]]


def dataset_of(rows: np.ndarray, names: list[str], scores: np.ndarray, kinds: np.ndarray) -> RoutingDataset:
    nothing = np.broadcast_to(np.array(None, dtype=object), scores.shape)
    blank = np.broadcast_to(np.nan, scores.shape)
    texts = np.array([str(row) for row in rows], dtype=object)
    return RoutingDataset(
        pool=CandidatePool(names), ids=texts, sources=kinds.astype(object), splits=np.array([""] * len(rows), object),
        prompts=texts, responses=nothing, scores=scores, costs_usd=blank, output_tokens=blank,
    )  # fmt: skip


def known_answers(world: study.World) -> RoutingDataset:
    """The train split of graded sources, by candidates that are not held out."""
    place, cells = {}, []
    for (k, kind), answers in world.answers.items():
        if not world.is_held[k] and not kind.startswith(study.STUDY_ONLY):
            cells += [
                (place.setdefault((row, kind), len(place)), k, world.score[at])
                for row, at in answers.items()
                if world.split[row] == "train"
            ]
    at, column, value = (np.array(each) for each in zip(*cells, strict=True))
    scores = np.full((len(place), len(world.names)), np.nan)
    scores[at, column] = value
    known = np.flatnonzero((~np.isnan(scores)).sum(axis=0) >= 50)
    rows, kinds = (np.array(each) for each in zip(*place, strict=True))
    return dataset_of(rows, [world.names[k] for k in known], scores[:, known], kinds)


def foretell(reader: InContext, pool: np.ndarray, rows: np.ndarray, y: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Probabilities of candidates that it knows by these answers alone."""
    names = [str(k) for k in pool]
    record = dataset_of(rows, names, y, np.array([""] * len(rows)))
    return reader.onboard(record, min_record=1).with_candidates(names).predict([str(row) for row in test]).scores


def one_draw(world: study.World, readers: list[InContext], seed: int, within: bool) -> list[dict]:
    held = np.flatnonzero(world.is_held)
    pool, train, test, kind_of = study.draw(world, held, np.random.default_rng(seed), within)
    y_test, usd_test = study.matrices(world, pool, test, kind_of)
    single = int(y_test.mean(axis=0).argmax())
    rows = []
    for n in [n for n in COUNTS if n <= len(train)]:
        y, _ = study.matrices(world, pool, train[:n], kind_of)
        for number, reader in enumerate(readers):
            found = study.figures(foretell(reader, pool, train[:n], y, test), y_test, usd_test, single)
            rows.append({"draw": seed, "n": n, "line": f"in-context, seed {number}", **found})
    return rows


def for_choosing(world: study.World, seed: int = 0) -> None:
    """Changes the world into one without the candidates and prompts that the tables are of."""
    others = np.unique([k for k, _ in world.answers if not world.is_held[k]])
    world.answers = {key: answers for key, answers in world.answers.items() if not world.is_held[key[0]]}
    world.is_held[:] = False
    world.is_held[np.random.default_rng(seed).choice(others, len(others) // 4, replace=False)] = True
    world.split = np.where(world.split == "test", "", np.where(world.split == "validation", "test", world.split))


def choose(world: study.World, embedder: Rows, n_draws: int) -> list[dict]:
    """Figures of every setting that is tried, on the same draws of mixtures and of one source."""
    for_choosing(world)
    dataset, found = known_answers(world), []
    print(f"{len(dataset.pool)} candidates, {len(dataset):,} prompts, {int(world.is_held.sum())} join", flush=True)
    print("| settings | log loss | of mixtures | within one source | normalised | saved at 95 % | seconds |")
    print("|---|--:|--:|--:|--:|--:|--:|", flush=True)
    for settings in TRIED:
        start = time.time()
        readers = [InContext(embedder=embedder, **settings).fit(dataset)]
        seconds = time.time() - start
        rows = [
            {**row, "within": within}
            for within in (False, True)
            for seed in range(n_draws)
            for row in one_draw(world, readers, seed, within)
        ]
        found.append({"settings": settings, "rows": rows})
        losses = [np.mean([row["log_loss"] for row in rows if row["within"] == within]) for within in (False, True)]
        others = [np.nanmean([row.get(name, np.nan) for row in rows]) for name in FIGURES[1:]]
        cells = [np.mean(losses), *losses, *others]
        words = ", ".join(f"{name} {value:g}" for name, value in settings.items())
        print(f"| {words} | {' | '.join(f'{cell:.4f}' for cell in cells)} | {seconds:.0f} |", flush=True)
    return found


def by_draw(rows: list[dict], draws: list[int], n: int, line: str, figure: str) -> np.ndarray:
    """A figure of each draw, averaged over the seeds of a line; NaN where a draw lacks it."""
    found = defaultdict(list)
    for row in rows:
        if row["n"] == n and row["line"].startswith(line) and figure in row:
            found[row["draw"]].append(row[figure])
    return np.array([np.mean(found[draw]) if draw in found else np.nan for draw in draws])


def beside(rows: list[dict], others: list[dict], n_resamples: int = 10_000) -> str:
    """Tables of means, and of differences on the same draws with 95 % intervals over them."""
    draws = sorted({row["draw"] for row in rows})
    taken = np.random.default_rng(0).integers(0, len(draws), (n_resamples, len(draws)))
    lines = [line for line in LINES if any(row["line"] == line for row in others)]
    text = []
    for figure in FIGURES:
        text += ["", f"{figure}; in-context, and less it of others:", ""]
        text += ["| n | in-context | " + " | ".join(lines) + " |", "|--:|" + "--:|" * (len(lines) + 1)]
        for n in COUNTS:
            mine = by_draw(rows, draws, n, "in-context", figure)
            cells = [f"{np.nanmean(mine):.3f}"]
            for line in lines:
                gaps = mine - by_draw(others, draws, n, line, figure)
                low, high = np.nanquantile(np.nanmean(gaps[taken], axis=1), [0.025, 0.975])
                cells.append(f"{np.nanmean(gaps):+.3f} [{low:+.3f}, {high:+.3f}]")
            text.append(f"| {n} | " + " | ".join(cells) + " |")
        seeds = sorted({row["line"] for row in rows})
        means = [f"{np.nanmean(by_draw(rows, draws, 100, line, figure)):.3f}" for line in seeds]
        text += ["", f"By seed, n = 100: {', '.join(means)}"]
    return "\n".join(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("features", type=Path)
    parser.add_argument("embeddings", type=Path)
    parser.add_argument("--held-out", type=Path, required=True, help="JSON list of candidates that training never saw")
    parser.add_argument("--beside", type=Path, help="what study.py wrote for the same draws")
    parser.add_argument("--choose", action="store_true", help="try settings instead")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--within", action="store_true", help="within one source")
    parser.add_argument("--settings", default="{}", help="of in-context, as JSON")
    options = parser.parse_args()
    if options.beside is None and not options.choose:
        parser.error("give --beside, or --choose")
    warnings.simplefilter("ignore")
    start, settings = time.time(), json.loads(options.settings)
    world = study.World(
        options.data, options.features, options.embeddings, set(json.loads(options.held_out.read_text()))
    )
    embedder = Rows(world.embedding)
    if options.choose:
        options.output.write_text(json.dumps(choose(world, embedder, options.draws)))
        return
    dataset = known_answers(world)
    print(f"{len(dataset.pool)} candidates, {len(dataset):,} prompts, {time.time() - start:.0f} s", flush=True)
    readers = []
    for seed in range(options.seeds):
        readers.append(InContext(embedder=embedder, seed=seed, **settings).fit(dataset))
        print(f"seed {seed} is trained, {time.time() - start:.0f} s", flush=True)
    rows = []
    for seed in range(options.draws):
        rows += one_draw(world, readers, seed, options.within)
        options.output.write_text(json.dumps(rows))
    print(beside(rows, json.loads(options.beside.read_text())))


if __name__ == "__main__":
    main()
