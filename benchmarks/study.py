"""What response modelling is worth: a grid of runs, and its report beside the query-only classifier.

Runs are trained one after the other, skip what is done and resume what was cut off. The report routes
the test split with every finished run, and compares variants by a paired bootstrap over prompts of the
mean over seeds.

    python benchmarks/study.py train  lookahead7.parquet --backbone FOLDER --group main --seeds 0 1 2
    python benchmarks/study.py report lookahead7.parquet --figures docs/results
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lookahead_router import LookaheadPredictor, RoutingDataset, metrics
from lookahead_router.evaluation.evaluate import average_normalized_score
from lookahead_router.training import Recipe, fit

RECIPE = Path(__file__).parents[1] / "recipes" / "lookahead-mlm-minilm.yaml"
SMALL = ("optimizer.n_epochs=0.25", "optimizer.n_evaluations=1", "refit=null")
"""The ablations' budget: a quarter of the steps under a schedule as much shorter, and no second head."""
CONTROL = "query-only classifier"

GROUPS: dict[str, dict[str, tuple[str, ...]]] = {
    "main": {"lookahead": (), CONTROL: ("network.n_slots=0",)},
    "ablation": {
        "lookahead": SMALL,
        CONTROL: (*SMALL, "network.n_slots=0"),
        "without reconstruction": (*SMALL, "objective.reconstruction_weight=0"),
        "without curriculum": (*SMALL, "curriculum.warmup_share=0"),
        "separate prediction": (*SMALL, "network.prediction=separate"),
        "CLS and latents": (*SMALL, "network.readout=cls+latents"),
        "4 slots": (*SMALL, "network.n_slots=4"),
        "32 slots": (*SMALL, "network.n_slots=32"),
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
        # As many steps as the ablations with all of the data, so that the prompts alone differ.
        f"{name}, 1/{part}": (*SMALL, f"data.train_fraction={1 / part}", f"optimizer.n_epochs={part / 4}", *overrides)
        for part in (8, 4, 2)
        for name, overrides in {"lookahead": (), CONTROL: ("network.n_slots=0",)}.items()
    },
}


def runs(group: str, seeds: list[int], folder: Path) -> Iterator[tuple[str, int, tuple[str, ...], Path]]:
    """Name, seed, overrides and folder of every run of a group."""
    for name, overrides in GROUPS[group].items():
        for seed in seeds:
            slug = "".join(c if c.isalnum() else "-" for c in f"{group}-{name}-{seed}".lower())
            yield name, seed, (*overrides, f"seed={seed}"), folder / slug


def train(arguments: argparse.Namespace) -> None:
    dataset = RoutingDataset.from_file(arguments.data)
    for name, seed, overrides, folder in runs(arguments.group, arguments.seeds, arguments.output):
        print(f"{arguments.group}: {name}, seed {seed} -> {folder}", flush=True)
        fit(dataset, Recipe.from_yaml(RECIPE, overrides), folder, backbone=arguments.backbone)


def chosen_by(folder: Path, test: RoutingDataset) -> np.ndarray:
    """Score of the candidate that a finished run chooses for each test prompt; kept beside the run."""
    cache = folder / f"chosen-{test.fingerprint()}.npy"
    if not cache.is_file():
        import torch

        predictor = LookaheadPredictor.load(folder / "predictor", backend="torch")
        with torch.autocast("cpu", torch.bfloat16):
            scores = predictor.predict_scores(test.prompts)
        np.save(cache, metrics.chosen_scores(test.scores, scores.argmax(axis=1)))
    return np.load(cache)


def compare(group: str, arguments: argparse.Namespace, test: RoutingDataset) -> list[dict]:
    """One record a variant: its seeds' averages, their mean, and its paired difference to the control."""
    found: dict[str, dict[int, np.ndarray]] = {}
    for name, seed, _, folder in runs(group, arguments.seeds, arguments.output):
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
    """Bars of every group with more than one variant, and win/tie/loss per source of the main comparison."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    for group, found in records.items():
        if len(found) < 2:
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
        if name == "train":
            command.add_argument("--backbone", required=True)
            command.add_argument("--group", choices=list(GROUPS), default="main")
        else:
            command.add_argument("--figures", type=Path, default=None)
            command.add_argument("--resamples", type=int, default=1000)
    arguments = parser.parse_args()
    (train if arguments.command == "train" else report)(arguments)


if __name__ == "__main__":
    main()
