"""Policies beside each other on public prompts: what is kept of the best single candidate's score, for which dollars.

    python research/any_pool/policies.py DATA FEATURES [--split test] [--draws 40]

DATA and FEATURES as in `study.py`, of the embedded predictor's own network; its candidates are known by name alone, so
that `--split test` holds prompts whose answers made no profile. A draw is a pool of 3 to 8 of them, all priced, and a
mixture of kinds of graded sources.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from study import World, draw, matrices

from lookahead_router.policies import BestQuality, CostAware, KeepQuality, Policy, WithinMargin
from lookahead_router.predictors.open_pool import OpenPoolPredictor
from lookahead_router.types import Candidate, Prediction
from lookahead_router.workhorse import Workhorse, usual_policy

POLICIES: dict[str, Policy | float] = {
    "best-quality": BestQuality(),
    "the usual, a workhorse": 0.03,
    "with a gain of 0.02": 0.02,
    "with a gain of 0.05": 0.05,
    "within-margin:0.02": WithinMargin(0.02),
    "within-margin:0.03": WithinMargin(0.03),
    "quality=0.95": KeepQuality(0.95),
    "cost-aware:30": CostAware(30),
    "cost-aware:100": CostAware(100),
}
"""A number is the gain of the usual policy."""
FIGURES = ("score kept", "dollars", "normalised score", "by the workhorse")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("features", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--draws", type=int, default=40)
    options = parser.parse_args()
    world, base = World(options.data, options.features, options.features, set()), OpenPoolPredictor.load()
    world.split = np.where(world.split == options.split, "test", np.where(world.split == "test", "", world.split))
    known = {entry.name for entry in base.catalogue.entries}
    candidates = np.array([k for k, name in enumerate(world.names) if name in known])
    found = [one_draw(world, base, candidates, seed) for seed in range(options.draws)]
    print("| policy | " + " | ".join(FIGURES) + " |\n|---|" + "--:|" * len(FIGURES))
    for name in POLICIES:
        rows = np.array([each[name] for each in found])
        means, errors = rows.mean(axis=0), rows.std(axis=0) / (len(rows) - 1) ** 0.5
        cells = (f"{mean:.3f} ± {error:.3f}" for mean, error in zip(means, errors, strict=True))
        print(f"| {name} | " + " | ".join(cells) + " |")


def one_draw(world: World, base: OpenPoolPredictor, candidates: np.ndarray, seed: int) -> dict[str, tuple]:
    """`FIGURES` by policy: shares of the best single candidate's in hindsight, but for the normalised score."""
    columns, _, rows, kind_of = draw(world, candidates, np.random.default_rng(seed), within=False)
    scores, usd = matrices(world, columns, rows, kind_of)
    names = ("input_usd_per_million_tokens", "output_usd_per_million_tokens")
    predictor = base.with_candidates(
        Candidate(name=world.names[k], **dict(zip(names, world.prices[k].tolist(), strict=True))) for k in columns
    )
    foreseen, profiles = world.foreseen.select(rows), [member.profile for member in predictor.members]
    chances, errors = predictor.population.predict(foreseen, profiles)
    tokens = predictor.population.expected_tokens(foreseen, profiles)
    prediction = Prediction(predictor.pool, chances, chances, errors, tokens, world.length[rows])
    usual, at = usual_policy(predictor.in_general, predictor.pool), np.arange(len(rows))
    single = int(scores.mean(axis=0).argmax())
    assert isinstance(usual, Workhorse)
    column = predictor.pool.index(usual.name)
    found = {}
    for name, policy in POLICIES.items():
        rule = replace(usual, gain=policy) if isinstance(policy, float) else policy
        chosen = rule.utilities(prediction, predictor.pool).argmax(axis=1)
        score = scores[at, chosen].mean()
        spread = scores.max(axis=1).mean() - scores.mean()
        found[name] = (
            score / scores[:, single].mean(),
            usd[at, chosen].mean() / usd[:, single].mean(),
            100 * (score - scores.mean()) / spread,
            (chosen == column).mean(),
        )
    return found


if __name__ == "__main__":
    main()
