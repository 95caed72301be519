"""Which prompts to ask: drawn by chance, or as `sample` does, covering the log or preferring what tells most.

    python research/own_pool/sampling.py DATA [--pools mmlupro12,routerbench3] [--draws 20]

A draw is five candidates called by numbers, a log of up to 1,500 prompts, and 500 other prompts that figures are of.
n of the log's prompts are asked, profiles are fitted on the answers, and each other prompt goes to the best candidate.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from study import COMPONENT_VARIANCE, N_CANDIDATES, N_TEST, wide

from lookahead_router import metrics
from lookahead_router.live.choosing import covering, telling
from lookahead_router.predictors.catalogue import facts_of

COUNTS = (20, 50, 100, 200)
N_LOG = 1500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--pools", default="mmlupro12,routerbench3")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--cache", type=Path, default=Path("own-pool-cache"))
    options = parser.parse_args()
    for name in options.pools.split(","):
        found: dict[tuple[int, str], list[tuple[float, float, float]]] = {}
        for draw, predictor, dataset in wide(name, options, range(options.draws), n_rows=N_TEST + N_LOG):
            test, log = dataset.select(np.arange(N_TEST)), dataset.select(np.arange(N_TEST, len(dataset)))
            population = replace(predictor.population, component_variance=COMPONENT_VARIANCE)
            start = [population.start(facts_of())] * N_CANDIDATES
            asked, _ = predictor.foresee(list(log.prompts))
            fresh, _ = predictor.foresee(list(test.prompts))
            generator = np.random.default_rng(draw)
            weights = np.ones(len(log))
            for n in COUNTS:
                ways = {
                    "by chance": generator.permutation(len(log))[:n],
                    "coverage": covering(asked.embedding.astype(np.float32), weights, n, draw),
                    "informative": telling(population, asked, weights, n, draw),
                }
                for way, rows in ways.items():
                    profiles = population.onboard(asked.select(rows), start, log.scores[rows])
                    chances = np.clip(population.predict(fresh, profiles)[0], 1e-6, 1 - 1e-6)
                    score = metrics.chosen_scores(test.scores, chances.argmax(axis=1)).mean()
                    loss = -(test.scores * np.log(chances) + (1 - test.scores) * np.log(1 - chances)).mean()
                    levels = np.abs(chances.mean(axis=0) - test.scores.mean(axis=0)).mean()
                    found.setdefault((n, way), []).append((score, loss, levels))
        print(f"\n## {name}, {options.draws} draws\n")
        print("| n | way | score | beside chance | log loss | beside chance | error of levels |")
        print("|--:|---|--:|--:|--:|--:|--:|")
        for (n, way), given in found.items():
            mean, gaps = np.mean(given, axis=0), np.array(given) - np.array(found[n, "by chance"])
            error = gaps.std(axis=0) / len(gaps) ** 0.5
            beside = ["", ""]
            if way != "by chance":
                beside[0] = f"{100 * gaps[:, 0].mean():+.2f} ± {100 * error[0]:.2f}"
                beside[1] = f"{gaps[:, 1].mean():+.4f} ± {error[1]:.4f}"
            score, loss, levels = 100 * mean[0], mean[1], 100 * mean[2]
            print(f"| {n} | {way} | {score:.1f} | {beside[0]} | {loss:.4f} | {beside[1]} | {levels:.1f} |", flush=True)


if __name__ == "__main__":
    main()
