"""An audit of the predictor for any pool beside fitted ones, on the candidates of a dataset.

Fits kNN, a rule and the best single candidate on the train split, in the embedding of the same network, and audits each
with the package's suite. Without prices of the candidates, upgrades are left out.

    python benchmarks/audit.py lookahead7.parquet --train 2000
"""

import argparse
from pathlib import Path

import numpy as np

from lookahead_router import Router
from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.evaluation.audit import KINDS, audit
from lookahead_router.evaluation.audit_suite import read_suite
from lookahead_router.predictors.fitted import fitted_class
from lookahead_router.predictors.network_embedder import NetworkEmbedder
from lookahead_router.predictors.open_pool import OpenPoolPredictor

PEERS = ("knn", "rule", "best-single")


def routers(data: RoutingDataset, n_train: int, seed: int) -> dict[str, Router]:
    """Routers over the dataset's candidates, by name."""
    network = OpenPoolPredictor.load()
    train, validation = data.filter(split="train"), data.filter(split="validation")
    drawn = np.random.default_rng(seed).permutation(len(train))[:n_train]
    found = {"any pool": Router(network).with_candidates(data.pool.names)}
    for kind in PEERS:
        fitted = fitted_class(kind)(embedder=NetworkEmbedder(network)).fit(train.select(np.sort(drawn)))
        fitted.fit_calibration(validation.select(np.arange(min(len(validation), n_train // 4))))
        found[kind] = Router(fitted)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, help="Parquet with a train and a validation split.")
    parser.add_argument("--train", type=int, default=2000, help="Prompts of the train split to fit on.")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    data = RoutingDataset.from_parquet(arguments.data)
    questions = read_suite()
    found = {}
    for name, router in routers(data, arguments.train, arguments.seed).items():
        found[name] = audit(router, questions, seed=arguments.seed)
        print(f"audited {name}", flush=True)
    print(f"| flips (other choices) in % | {' | '.join(found)} |\n|---|{'--:|' * len(found)}")
    for kind in KINDS:
        changes = [next(each for each in report.changes if each.kind == kind) for report in found.values()]
        cells = (
            f"{100 * each.flips.value:.1f} [{100 * each.flips.low:.1f}, {100 * each.flips.high:.1f}]"
            f" ({100 * each.differ.value:.1f})"
            for each in changes
        )
        print(f"| {kind} | {' | '.join(cells)} |")
    for figure in ("flips", "collapse", "entropy", "category-index", "difficulty-index"):
        values = (report.figures[figure] for report in found.values())
        print(f"| {figure} | {' | '.join('–' if each is None else f'{each.value:.3f}' for each in values)} |")


if __name__ == "__main__":
    main()
