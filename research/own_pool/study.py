"""`fit` on 200 scored prompts of five candidates, replayed on public answers, beside what else could be fitted.

    python research/own_pool/study.py DATA --pools mmlupro12,routerbench3,held-out --output study.json [--draws 20]

DATA holds mmlupro12.parquet, routerbench3.parquet and, for held-out pools, the files of research/any_pool/study.py;
these also take --features, what a network that never saw their candidates foresees of the prompts (npz: prompt_ids
and the fields of `Foreseen`), and --held-out. Candidates are called by numbers, so no public profile is known of any.
`leaders` alone is told which benchmark a prompt to fit on is of. --only fits the named baselines and nothing else.

A draw is five candidates, 200 prompts to fit on and up to 500 others that figures are of. What the embedded network
foresees is kept in --cache. Everything goes through `lookahead_router.fit` as users call it.
"""

import argparse
import importlib.util
import json
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from lookahead_router import Router, RoutingDataset, fit, metrics
from lookahead_router.evaluation.crossfit import Remembered, with_parts
from lookahead_router.policies import BestQuality
from lookahead_router.predictors.fitted import fitted_class
from lookahead_router.predictors.network_embedder import NetworkEmbedder
from lookahead_router.predictors.open_pool import OpenPoolPredictor
from lookahead_router.predictors.profiles import Foreseen
from lookahead_router.prompts import prompt_text
from lookahead_router.types import CandidatePool

N_CANDIDATES, N_PROMPTS, N_TEST, N_JOINING = 5, 200, 500, 50
BASELINES = {
    "kNN, 10": ("knn", {"n_neighbors": 10}),
    "kNN, 40": ("knn", {"n_neighbors": 40}),
    "logistic, C 0.1": ("classifier", {"inverse_penalty": 0.1}),
    "logistic, C 1": ("classifier", {"inverse_penalty": 1.0}),
    "rule": ("rule", {}),
    "leaders": ("leaders", {"n_clusters": 32}),
}
MMLU_USD = {  # dollars a million tokens, input and output alike; of 2024's lists, rounded
    "gemini-1.5-pro-002": 2.5, "gemini-1.5-flash-002": 0.15, "jamba-1.5-large": 4.0,
    "Meta-Llama-3_1-70B-Instruct": 0.6, "Meta-Llama-3_1-8B-Instruct": 0.06, "Mixtral-8x7B-Instruct-v0.1": 0.4,
    "Mistral-7B-Instruct-v0.2": 0.05, "Phi-3-mini-4k-instruct": 0.04, "Qwen1.5-72B-Chat": 0.7,
    "Qwen1.5-7B-Chat": 0.05, "c4ai-command-r-v01": 0.3, "mathstral-7B": 0.05,
}  # fmt: skip
FIELDS = ("demands", "difficulty", "log_tokens", "verbosity", "embedding")


def wide(name: str, options, draws: range, n_rows: int = N_PROMPTS + N_TEST) -> Iterator[tuple]:
    """Draws from a file whose whole pool answered every prompt; of mmlupro12, prompts that trained no network."""
    dataset = RoutingDataset.from_file(options.data / f"{name}.parquet")
    if name == "mmlupro12":
        dataset = dataset.select(dataset.splits != "train")
        length = np.array([len(prompt) / 4 + 300 for prompt in dataset.prompts])
        dataset = replace(dataset, costs_usd=length[:, None] * [MMLU_USD[n] / 1e6 for n in dataset.pool.names])
    predictor = OpenPoolPredictor.load()
    path = options.cache / f"{name}-{predictor.base_revision}.npz"
    if path.is_file():
        given = np.load(path)
        foreseen, lengths = Foreseen(**{each: given[each] for each in FIELDS}), given["lengths"]
    else:
        foreseen, lengths = predictor.foresee(list(dataset.prompts))
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, lengths=lengths, **vars(foreseen))
    predictor = with_parts(predictor, foresee=Remembered(foreseen, lengths, dataset.prompts))
    for draw in draws:
        generator = np.random.default_rng(draw)
        pool = generator.choice(dataset.pool.names, N_CANDIDATES, replace=False)
        rows = generator.permutation(len(dataset))[:n_rows]
        part = dataset.with_candidates(pool).select(rows)
        yield draw, predictor, numbered(part)


def held_out(options, draws: range) -> Iterator[tuple]:
    """Draws of candidates that trained neither network nor population, on mixtures of graded sources."""
    spec = importlib.util.spec_from_file_location("study", Path(__file__).parent.parent / "any_pool" / "study.py")
    study = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(study)
    study.MAX_TEST = N_PROMPTS + N_TEST  # all from the test split: a user's prompts are new to the network
    names = set(json.loads(options.held_out.read_text()))
    world = study.World(options.data, options.features, options.features, names)
    embedded = OpenPoolPredictor.load()
    population = embedded.population if options.only else world.population()[0]  # of which baselines read nothing
    world.split[world.split == "validation"] = "test"  # which chose settings at most, and trained nothing
    texts = pq.read_table(options.data / "openpool_prompts.parquet", columns=["prompt"]).column("prompt").to_pylist()
    texts = [prompt_text(text) for text in texts]
    known = dict(zip(texts, range(len(texts)), strict=True))  # of a text under two ids, either says the same
    once = np.array(list(known.values()))
    remembered = Remembered(world.foreseen.select(once), world.length[once], list(known))
    predictor = with_parts(embedded, foresee=remembered, population=population)
    for draw in draws:
        generator = np.random.default_rng(draw)
        while True:
            pool, _, rows, kind_of = study.draw(world, np.flatnonzero(world.is_held), generator, False)
            if len(pool) >= N_CANDIDATES and len(rows) >= N_PROMPTS + 200:
                break
        scores, usd = study.matrices(world, pool[:N_CANDIDATES], rows, kind_of)
        nothing = np.full(scores.shape, None, dtype=object)
        blank = np.array([""] * len(rows), dtype=object)
        kinds = np.array([kind_of[row] for row in rows], dtype=object)
        yield draw, predictor, RoutingDataset(
            pool=CandidatePool(f"candidate {k}" for k in range(1, N_CANDIDATES + 1)),
            ids=np.array([str(row) for row in rows], dtype=object), sources=kinds, splits=blank,
            prompts=np.array([texts[row] for row in rows], dtype=object), responses=nothing,
            scores=scores, costs_usd=usd, output_tokens=np.full(scores.shape, np.nan),
        )  # fmt: skip


def numbered(dataset: RoutingDataset) -> RoutingDataset:
    return dataset.rename({name: f"candidate {k}" for k, name in enumerate(dataset.pool.names, start=1)})


def one_draw(predictor: OpenPoolPredictor, dataset: RoutingDataset, draw: int, only: list[str]) -> dict:
    """Figures of `fit` and of the baselines on prompts that neither saw; where `only` names some, of these alone."""
    train, test = dataset.select(np.arange(N_PROMPTS)), dataset.select(np.arange(N_PROMPTS, len(dataset)))
    if only:
        single = train.best_single()
        routers = baselines(predictor, train, only)
        return {
            "draw": draw, "single": float(test.scores[:, single].mean()),
            "lines": {label: figures(router, test, single) for label, router in routers.items()},
        }  # fmt: skip
    start = time.perf_counter()
    result = fit(train, start=Router(predictor), n_resamples=200)
    seconds = time.perf_counter() - start
    single = train.best_single()
    found = {
        "draw": draw, "n_test": len(test), "seconds": seconds, "chosen": result.chosen,
        "quality": result.setting and result.setting.quality, "errors": result.errors,
        "single": float(test.scores[:, single].mean()), "single_usd": float(test.costs_usd[:, single].mean()),
        "hindsight": float(test.scores.mean(axis=0).max()), "oracle": float(test.scores.max(axis=1).mean()),
    }  # fmt: skip
    profiles = predictor.with_candidates(train.pool.names).onboard(train)
    lines = {"fit": result.router, "profiles, recommended or not": Router(profiles, policy=BestQuality())}
    lines |= baselines(predictor, train, list(BASELINES))
    found["lines"] = {label: figures(router, test, single) for label, router in lines.items()}
    kept = fit(train, start=Router(predictor), quality=0.95, predictors=["profiles"], n_resamples=200)
    found["lines"]["fit, quality=0.95"] = figures(kept.router, test, single)
    found["promised"] = 0.0 if kept.setting is None or kept.setting.saved is None else kept.setting.saved.value
    found["expected"] = 0.0 if kept.outlook.saved is None else kept.outlook.saved.value
    found["joining"] = joining(predictor, train, test, draw)
    return found


def baselines(predictor: OpenPoolPredictor, train: RoutingDataset, labels: list[str]) -> dict[str, Router]:
    embedder = NetworkEmbedder(predictor)
    chosen = {label: BASELINES[label] for label in labels}
    return {
        label: Router(fitted_class(kind)(embedder=embedder, **settings).fit(train))
        for label, (kind, settings) in chosen.items()
    }


def figures(router: Router, test: RoutingDataset, single: int) -> dict:
    chosen = np.array([test.pool.index(each.name) for each in router.route_batch(list(test.prompts))])
    spent = metrics.mean_cost(test.costs_usd, chosen)
    found = {
        "score": float(metrics.chosen_scores(test.scores, chosen).mean()),
        "saved": 1 - spent / float(test.costs_usd[:, single].mean()),
    }
    if isinstance(router.policy, BestQuality) and router.predictor.name != "best-single":
        scores = router.predict(list(test.prompts)).select(test.pool.names).scores
        price = test.costs_usd.mean(axis=0)
        weights = np.concatenate([[0.0], np.geomspace(1e-3, 1e3, 80) / max(float(np.ptp(price)), 1e-12)])
        choices = [(scores - weight * price).argmax(axis=1) for weight in weights]
        usd = np.array([metrics.mean_cost(test.costs_usd, choice) for choice in choices])
        gained = np.array([metrics.chosen_scores(test.scores, choice).mean() for choice in choices])
        for share in (0.95, 1.0):
            is_reached = gained >= share * test.scores[:, single].mean() - 1e-12
            least = usd[is_reached].min() if is_reached.any() else np.inf
            found[f"could save at {share}"] = max(0.0, 1 - least / float(test.costs_usd[:, single].mean()))
    return found


def joining(predictor: OpenPoolPredictor, train: RoutingDataset, test: RoutingDataset, draw: int) -> dict:
    """The fifth candidate by 50 answers, alone and beside those of the others, and by all; the other four by all."""
    names = train.pool.names
    fifth = train.pool.index(names[draw % N_CANDIDATES])
    others = [name for name in names if name != names[fifth]]
    router = Router(predictor.with_candidates(others), policy=BestQuality()).onboard(train.with_candidates(others))
    few = train.with_candidates([names[fifth]]).select(np.arange(N_JOINING))
    joined, beside = router.onboard(few), router.onboard(few, beside=train.with_candidates(others))
    whole = Router(predictor.with_candidates(names), policy=BestQuality()).onboard(train)
    single = train.best_single()
    ways = (("50", joined), ("50, beside", beside), ("all", whole))
    return {label: figures(one, test, single)["score"] for label, one in ways}


def summary(rows: list[dict]) -> str:
    """Tables of all draws."""
    text = [
        "| | score | beside best single: median, worst | draws below by > 1 | saved | could save at 95 % | at 100 % |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for line in rows[0]["lines"]:
        gaps = 100 * np.array([row["lines"][line]["score"] - row["single"] for row in rows])
        score = 100 * np.mean([row["lines"][line]["score"] for row in rows])
        saved = [
            100 * np.mean([row["lines"][line].get(name, np.nan) for row in rows])
            for name in ("saved", "could save at 0.95", "could save at 1.0")
        ]
        shares = " | ".join("–" if np.isnan(share) else f"{share:.0f} %" for share in saved)
        below = f"{(gaps < -1 - 1e-9).sum()} of {len(gaps)}"
        text.append(f"| {line} | {score:.1f} | {np.median(gaps):+.1f}, {gaps.min():+.1f} | {below} | {shares} |")
    if "leaders" in rows[0]["lines"]:
        text += ["", *paired(rows, "leaders")]
    if "fit" not in rows[0]["lines"]:
        return "\n".join(text)
    best = max(BASELINES, key=lambda each: np.mean([row["lines"][each]["score"] for row in rows]))
    mine = np.array([row["lines"]["fit"]["score"] for row in rows])
    theirs = np.array([[row["lines"][each]["score"] for each in BASELINES] for row in rows])
    gap = 100 * (mine - theirs[:, list(BASELINES).index(best)])
    text += [
        f"best single {100 * np.mean([row['single'] for row in rows]):.1f}, in hindsight "
        f"{100 * np.mean([row['hindsight'] for row in rows]):.1f}, oracle "
        f"{100 * np.mean([row['oracle'] for row in rows]):.1f}",
        f"fit beside {best}, the best baseline: median {np.median(gap):+.2f}, mean {gap.mean():+.2f}; beside the best "
        f"of each draw: median {np.median(100 * (mine - theirs.max(axis=1))):+.2f}",
    ]
    kinds = [row["chosen"] for row in rows]
    text.append(f"chosen: {', '.join(f'{kind} {kinds.count(kind)}' for kind in sorted(set(kinds)))}")
    told = 100 * np.mean([row["promised"] for row in rows])
    expected = 100 * np.mean([row["expected"] for row in rows])
    text.append(f"saved at quality=0.95 by the setting chosen: {told:.0f} %, to be expected: {expected:.0f} %")
    for way, words in (("50", ""), ("50, beside", ", beside those of the others")):
        gaps = 100 * np.array([row["joining"][way] - row["joining"]["all"] for row in rows])
        text.append(
            f"fifth candidate by {N_JOINING} answers{words}, less by all: mean {gaps.mean():+.2f}, median "
            f"{np.median(gaps):+.2f}, worst {gaps.min():+.2f}, within 2 points in {(gaps >= -2 - 1e-9).sum()} of "
            f"{len(gaps)}"
        )
    text.append(f"seconds of fit, without the network: {np.mean([row['seconds'] for row in rows]):.1f}")
    return "\n".join(text)


def paired(rows: list[dict], line: str, n_resamples: int = 10_000) -> list[str]:
    """A line's score less that of every other on the same draws, in points, with intervals over the draws."""
    taken = np.random.default_rng(0).integers(0, len(rows), (n_resamples, len(rows)))
    text = []
    for other in ["best single", *(name for name in rows[0]["lines"] if name != line)]:
        theirs = [row["single"] if other == "best single" else row["lines"][other]["score"] for row in rows]
        gaps = 100 * (np.array([row["lines"][line]["score"] for row in rows]) - theirs)
        low, high = np.quantile(gaps[taken].mean(axis=1), [0.025, 0.975])
        text.append(f"{line} less {other}: {gaps.mean():+.2f} [{low:+.2f}, {high:+.2f}]")
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--pools", default="mmlupro12,routerbench3")
    parser.add_argument("--features", type=Path)
    parser.add_argument("--held-out", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("own-pool-cache"))
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="first draw; others than the reported ones to develop on")
    parser.add_argument("--only", help=f"baselines, with semicolons between: {'; '.join(BASELINES)}")
    options = parser.parse_args()
    only = [] if options.only is None else [each.strip() for each in options.only.split(";")]
    warnings.simplefilter("ignore")
    found = {}
    draws = range(options.first, options.first + options.draws)
    for name in options.pools.split(","):
        given = held_out(options, draws) if name == "held-out" else wide(name, options, draws)
        found[name] = [one_draw(predictor, dataset, draw, only) for draw, predictor, dataset in given]
        options.output.write_text(json.dumps(found))
        print(f"\n## {name}, {len(found[name])} draws\n{summary(found[name])}", flush=True)


if __name__ == "__main__":
    main()
