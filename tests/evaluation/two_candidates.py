"""A dataset of two candidates, cheap and dear, whose strengths a rule on keywords finds; and comparisons on it."""

import numpy as np

from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.data.examples import Outcome, RoutingExample
from lookahead_router.evaluation.compare import Material, compare
from lookahead_router.evaluation.entries import Entry

ENTRIES = [
    Entry("rule", baseline="rule"),
    Entry("best-single", baseline="best-single"),
    Entry("random", baseline="random"),
]
PRICES = {"cheap": 1.0, "dear": 10.0}


def world(n=60, *, has_costs=True, seed=0, names=("cheap", "dear")):
    """Prompts with code are answered by the dear candidate, others rather by the cheap one."""
    generator = np.random.default_rng(seed)
    examples = []
    for row in range(n):
        is_code, luck = generator.random() < 0.5, generator.random()
        right = {"cheap": float(luck < (0.1 if is_code else 0.9)), "dear": float(luck < (0.9 if is_code else 0.8))}
        prompt = f"def f_{row}(x): return x" if is_code else f"tell me of river {row}"
        outcomes = {
            name: Outcome(score=right[name], cost_usd=PRICES[name] * (1 + row % 3) if has_costs else None)
            for name in names
        }
        split = ("train", "validation", "test")[row % 3]
        examples.append(RoutingExample(prompt, outcomes, str(row), "code" if is_code else "chat", split))
    return RoutingDataset.from_examples(examples)


def material(dataset=None, name="world"):
    dataset = world(300) if dataset is None else dataset
    return Material(name, "test", *(dataset.filter(split=split) for split in ("test", "train", "validation")))


def run(entries=ENTRIES, materials=None, **options):
    return compare(entries, [material()] if materials is None else materials, **{"n_resamples": 50, **options})


def by_label(dataset_result):
    return {one.predictor: one for one in dataset_result.predictors}
