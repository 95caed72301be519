"""Which prompts to ask: drawn by chance, covering the log as `sample` does, or by what answers would tell.

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
from lookahead_router.evaluation.fit_choice import squared_error
from lookahead_router.live.choosing import covering
from lookahead_router.predictors.catalogue import facts_of
from lookahead_router.predictors.profiles import Foreseen, Population

COUNTS = (25, 50, 100, 200)
N_LOG = 1500


def telling(population: Population, foreseen: Foreseen, n: int) -> np.ndarray:
    """Rows whose answers reduce most the mean variance of predictions over the log, of a stranger; greedily."""
    size = population.n_abilities
    x, spread = population.design(foreseen)[:, :size], population.covariance.copy()
    log = x.T @ x / len(x)
    chance = population.predict(foreseen, [population.start(facts_of())])[0][:, 0]
    weight, is_left, found = chance * (1 - chance), np.ones(len(x), dtype=bool), []
    for _ in range(n):
        reach = x @ spread
        gain = weight * ((reach @ log) * reach).sum(axis=1) / (1 + weight * (reach * x).sum(axis=1))
        row = int(np.where(is_left, gain, -1.0).argmax())
        found.append(row)
        is_left[row] = False
        direction = spread @ x[row]
        spread -= np.outer(direction, direction) * weight[row] / (1 + weight[row] * (x[row] @ direction))
    return np.array(found)


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
            for n in COUNTS:
                ways = {
                    "by chance": generator.permutation(len(log))[:n],
                    "covering the log": covering(asked.embedding.astype(np.float32), np.ones(len(log)), n, draw),
                    "by what answers tell": telling(population, asked, n),
                }
                for way, rows in ways.items():
                    profiles = population.onboard(asked.select(rows), start, log.scores[rows])
                    chances = population.predict(fresh, profiles)[0]
                    score = metrics.chosen_scores(test.scores, chances.argmax(axis=1)).mean()
                    levels = np.abs(log.scores[rows].mean(axis=0) - log.scores.mean(axis=0)).mean()
                    found.setdefault((n, way), []).append((score, squared_error(chances, test.scores), levels))
        print(f"\n## {name}, {options.draws} draws\n")
        print("| n | way | score | beside chance | squared error | error of levels |\n|--:|---|--:|--:|--:|--:|")
        for (n, way), figures in found.items():
            gaps = 100 * (np.array(figures)[:, 0] - np.array(found[n, "by chance"])[:, 0])
            score, error, levels = np.mean(figures, axis=0)
            spread = gaps.std() / len(gaps) ** 0.5
            beside = "" if way == "by chance" else f"{gaps.mean():+.2f} ± {spread:.2f}"
            print(f"| {n} | {way} | {100 * score:.1f} | {beside} | {error:.4f} | {100 * levels:.1f} |", flush=True)


if __name__ == "__main__":
    main()
