"""What response modelling is worth: a grid of runs, and its report beside the query-only classifier.

Runs skip what is done and resume what was cut off. Each has a process of its own, as many at a time as there
are workers: on few cores, two with one thread each get through more than one with two. The report routes the
test split with every finished run, and compares variants by a paired bootstrap over prompts of the mean over
seeds.

    python benchmarks/study.py train  lookahead7.parquet --backbone FOLDER --groups main --seeds 0 1 2
    python benchmarks/study.py report lookahead7.parquet --figures docs/results
"""

import argparse
import json
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from lookahead_router import LookaheadPredictor, RoutingDataset, metrics
from lookahead_router.evaluation.evaluate import average_normalized_score
from lookahead_router.training import Recipe, fit

RECIPE = Path(__file__).parents[1] / "recipes" / "Llama-lookahead-mlm-minilm.yaml"
SMALL = ("optimizer.n_epochs=0.5", "optimizer.n_evaluations=1", "refit=null")
"""The ablations' budget: half of the steps under a schedule as much shorter, and no second head."""
HALVES = (
    "optimizer.batch_size=16",
    "optimizer.gradient_accumulation_steps=2",
    "objective.max_reconstruction_targets=320",
)
"""The same steps in two passes, for variants that would otherwise take 15 GB or more."""
CONTROL = "query-only classifier"

GROUPS: dict[str, dict[str, tuple[str, ...]]] = {
    "main": {"lookahead": (), CONTROL: ("network.n_slots=0",)},
    "ablation": {
        "lookahead": SMALL,
        CONTROL: (*SMALL, "network.n_slots=0"),
        "without reconstruction": (*SMALL, "objective.reconstruction_weight=0"),
        "without curriculum": (*SMALL, "curriculum.warmup_share=0"),
        "separate prediction": (*SMALL, "network.prediction=separate", *HALVES),
        "CLS and latents": (*SMALL, "network.readout=cls+latents"),
        "4 slots": (*SMALL, "network.n_slots=4"),
        "32 slots": (*SMALL, "network.n_slots=32"),
        "64 slots": (*SMALL, "network.n_slots=64", *HALVES),
        "lambda 0.05": (*SMALL, "objective.reconstruction_weight=0.05"),
        "lambda 0.5": (*SMALL, "objective.reconstruction_weight=0.5"),
        "random masking": (*SMALL, "curriculum.masking=random"),
        "start masking": (*SMALL, "curriculum.masking=start"),
    },
    "objective": {
        "lookahead": SMALL,
        "without shrinkage": (*SMALL, "objective.source_shrinkage=0"),
        "shrinkage to the mean": (*SMALL, "objective.source_prior=mean"),
        "bce, threshold 0.8": (*SMALL, "objective.routing=bce"),
        "bce, soft": (*SMALL, "objective.routing=bce", "objective.threshold=null"),
        "mse": (*SMALL, "objective.routing=mse"),
        "forward KL": (*SMALL, "objective.routing=forward-kl"),
        "expected regret": (*SMALL, "objective.routing=expected-regret", "objective.temperature=0.05"),
    },
    "data": {
        # As many steps whatever the share of the data, so that the prompts alone differ.
        f"{name}, 1/{part}": (*SMALL, *overrides, *share)
        for part, share in {
            8: ("data.train_fraction=0.125", "optimizer.n_epochs=4"),
            4: ("data.train_fraction=0.25", "optimizer.n_epochs=2"),
            2: ("data.train_fraction=0.5", "optimizer.n_epochs=1"),
            1: (),
        }.items()
        for name, overrides in {"lookahead": (), CONTROL: ("network.n_slots=0",)}.items()
    },
}


def runs(group: str, arguments: argparse.Namespace) -> Iterator[tuple[str, int, tuple[str, ...], Path]]:
    """Name, seed, overrides and folder of every run of a group; groups share the runs that they have in common."""
    for name, overrides in GROUPS[group].items():
        for seed in arguments.seeds:
            settings = (*overrides, *arguments.overrides, f"seed={seed}")
            yield name, seed, settings, arguments.output / "_".join(settings)


def train(arguments: argparse.Namespace) -> None:
    wanted = {  # once, where groups share a run
        folder: (f"{group}: {name}, seed {seed}", settings)
        for group in arguments.groups
        for name, seed, settings, folder in runs(group, arguments)
        if arguments.only is None or name in arguments.only
    }
    n_threads = max(1, os.cpu_count() // arguments.workers)
    with ProcessPoolExecutor(
        arguments.workers,
        mp_context=multiprocessing.get_context("spawn"),
        max_tasks_per_child=1,  # a run keeps the memory that it has taken
        initializer=_use_threads,
        initargs=(n_threads,),
    ) as pool:
        found = [
            pool.submit(_train_one, title, settings, folder, arguments) for folder, (title, settings) in wanted.items()
        ]
        for each in found:
            each.result()


def _use_threads(n_threads: int) -> None:
    import torch

    torch.set_num_threads(n_threads)


def _train_one(title: str, settings: tuple[str, ...], folder: Path, arguments: argparse.Namespace) -> None:
    print(f"{title} -> {folder}", flush=True)
    dataset, recipe = RoutingDataset.from_file(arguments.data), Recipe.from_yaml(RECIPE, settings)
    fit(dataset, recipe, folder, backbone=arguments.backbone, show_progress=arguments.workers == 1)


def chosen_by(folder: Path, test: RoutingDataset) -> np.ndarray:
    """Score of the candidate that a finished run chooses for each test prompt; kept beside the run."""
    cache = folder / f"chosen-{test.fingerprint()}.npy"
    if not cache.is_file():
        import torch

        predictor = LookaheadPredictor.load(folder / "predictor", backend="torch")
        with torch.autocast("cpu", torch.bfloat16):
            scores = predictor.predict(test.prompts).scores
        np.save(cache, metrics.chosen_scores(test.scores, scores.argmax(axis=1)))
    return np.load(cache)


def compare(group: str, arguments: argparse.Namespace, test: RoutingDataset) -> list[dict]:
    """One record a variant: its seeds' averages, their mean, and its paired difference to the control."""
    found: dict[str, dict[int, np.ndarray]] = {}
    for name, seed, _, folder in runs(group, arguments):
        if (folder / "predictor").is_dir():
            found.setdefault(name, {})[seed] = chosen_by(folder, test)

    def averages(seeds: dict[int, np.ndarray]) -> list[metrics.Statistic]:
        return [
            lambda rows, c=chosen: average_normalized_score(c[rows], test.scores[rows], test.sources[rows])
            for chosen in seeds.values()
        ]

    everything = np.arange(len(test))
    records = []
    for name, seeds in found.items():
        by_seed = {seed: each(everything) for seed, each in zip(seeds, averages(seeds), strict=True)}
        interval = metrics.bootstrap_interval(averages(seeds), test.sources, n_resamples=arguments.resamples)
        record = {"variant": name, "seeds": by_seed, "average": interval}
        control = name.replace("lookahead", CONTROL) if group == "data" else CONTROL
        common = sorted(set(seeds) & set(found.get(control, {})))
        if common and control != name:
            ours, theirs = ({seed: c[seed] for seed in common} for c in (seeds, found[control]))
            record["minus_control"] = metrics.bootstrap_interval(
                averages(ours), test.sources, minus=averages(theirs), n_resamples=arguments.resamples
            )
            record["control_wins_ties_losses"] = _wins(ours, theirs, test.sources)
        records.append(record)
    return records


def _wins(ours: dict, control: dict, sources: np.ndarray) -> dict[str, tuple[float, float, float]]:
    """Per source, the shares of prompts (over seeds) where the choice scores higher, the same, lower."""
    pairs = [(ours[seed], control[seed]) for seed in ours]
    result = {}
    for source in dict.fromkeys(sources):
        gap = np.concatenate([(a - b)[sources == source] for a, b in pairs])
        result[str(source)] = tuple(float(share) for share in ((gap > 0).mean(), (gap == 0).mean(), (gap < 0).mean()))
    return result


def report(arguments: argparse.Namespace) -> None:
    test = RoutingDataset.from_file(arguments.data).filter(split="test")
    records = {group: compare(group, arguments, test) for group in GROUPS}
    for group, found in records.items():
        if found:
            print(f"\n{group}\n\n| variant | seeds | average [95 %] | minus the classifier [95 %, paired] |")
            print("|---|---|--:|--:|")
        for record in found:
            seeds = " / ".join(f"{value:.1f}" for value in record["seeds"].values())
            gap = record.get("minus_control")
            print(f"| {record['variant']} | {seeds} | {_figure(record['average'])} | {_figure(gap) if gap else '–'} |")
    if arguments.figures is not None:
        arguments.figures.mkdir(parents=True, exist_ok=True)
        (arguments.figures / "study.json").write_text(json.dumps(records, indent=2) + "\n", encoding="utf-8")
        draw(records, arguments.figures)


def _figure(interval: metrics.Interval) -> str:
    return f"{interval.value:.1f} [{interval.low:.1f}, {interval.high:.1f}]"


def draw(records: dict[str, list[dict]], folder: Path) -> None:
    """Bars of every group with more than one variant, a curve over the share of the data, and win/tie/loss per source
    of the main comparison."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    for group, found in records.items():
        if len(found) < 2 or group == "data":
            continue
        figure, axes = plt.subplots(figsize=(7, 0.45 * len(found) + 1.2), layout="constrained")
        values = [record["average"] for record in found]
        errors = [[v.value - v.low for v in values], [v.high - v.value for v in values]]
        axes.barh(
            [record["variant"] for record in found], [v.value for v in values], xerr=errors, color="#4c78a8", capsize=3
        )
        axes.invert_yaxis()
        axes.set_xlabel("average normalised score on test (0 random, 100 oracle), 95 % interval")
        figure.savefig(folder / f"{group}.png", dpi=150)
        plt.close(figure)
    if records["data"]:
        figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
        for index, (name, color) in enumerate((("lookahead", "#4c78a8"), (CONTROL, "#f58518"))):
            points = {
                1 / int(record["variant"].rpartition("/")[2]): record["average"]
                for record in records["data"]
                if record["variant"].startswith(f"{name},")
            }
            if not points:
                continue
            shares, values = zip(*sorted(points.items()), strict=True)
            errors = [[v.value - v.low for v in values], [v.high - v.value for v in values]]
            shifted = [share * (1 + 0.03 * (2 * index - 1)) for share in shares]  # so that the intervals do not cover
            axes.errorbar(
                shifted, [v.value for v in values], yerr=errors, color=color, label=name, marker="o", capsize=3
            )
        axes.set_xscale("log", base=2)
        axes.set_xticks(shares, [f"1/{round(1 / share)}" if share < 1 else "all" for share in shares])
        axes.set_xlabel("share of the training prompts")
        axes.set_ylabel("average normalised score on test, 95 % interval")
        axes.legend(frameon=False)
        figure.savefig(folder / "data-efficiency.png", dpi=150)
        plt.close(figure)
    lookahead = next((r for r in records["main"] if r["variant"] == "lookahead"), {})
    if "control_wins_ties_losses" in lookahead:
        shares = lookahead["control_wins_ties_losses"]
        figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
        left = np.zeros(len(shares))
        for column, (label, color) in enumerate((("better", "#54a24b"), ("same", "#bab0ac"), ("worse", "#e45756"))):
            width = np.array([100 * share[column] for share in shares.values()])
            axes.barh(list(shares), width, left=left, label=label, color=color)
            left += width
        axes.invert_yaxis()
        axes.set_xlabel("share of prompts, Lookahead against the classifier [%]")
        axes.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
        figure.savefig(folder / "win-tie-loss.png", dpi=150)
        plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("train", "report"):
        command = commands.add_parser(name)
        command.add_argument("data", type=Path)
        command.add_argument("--output", type=Path, default=Path("runs/study"))
        command.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
        command.add_argument("--set", dest="overrides", action="append", default=[], help="of every run, as in train")
        if name == "train":
            command.add_argument("--backbone", required=True)
            command.add_argument("--groups", choices=list(GROUPS), nargs="+", default=["main"])
            command.add_argument("--only", nargs="+", help="variants, by name; all of the groups when absent")
            command.add_argument("--workers", type=int, default=1)
        else:
            command.add_argument("--figures", type=Path, default=None)
            command.add_argument("--resamples", type=int, default=1000)
    arguments = parser.parse_args()
    (train if arguments.command == "train" else report)(arguments)


if __name__ == "__main__":
    main()
