"""Trains a predictor on a pool of your own, from data to an evaluation report, in a minute or two on a CPU.

The pool is invented so that its best choice is known: `calculator` answers prompts about numbers well,
`poet` all others, and `parrot` neither. The backbone is a small encoder with fresh weights, so nothing is
downloaded. Take a pretrained one and answers of your own candidates in their place.
"""

import argparse
import random
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from lookahead_router import Candidate, CandidatePool, Router, RoutingDataset
from lookahead_router.data.examples import Outcome, RoutingExample
from lookahead_router.evaluation.compare import Material, compare
from lookahead_router.evaluation.entries import Entry
from lookahead_router.evaluation.report import write_report
from lookahead_router.predictors.export import export_predictor
from lookahead_router.training import Recipe, fit

POOL = CandidatePool(
    [
        Candidate(name="calculator", input_usd_per_million_tokens=0.1, output_usd_per_million_tokens=0.3),
        Candidate(name="poet", input_usd_per_million_tokens=0.5, output_usd_per_million_tokens=1.5),
        Candidate(name="parrot", input_usd_per_million_tokens=0.01, output_usd_per_million_tokens=0.01),
    ]
)
THINGS = ["river", "stone", "light", "cloud", "paper", "green", "music", "winter", "garden", "harbour", "lantern"]
SPLITS = ("train",) * 6 + ("validation", "test")


def make_dataset(n_prompts: int, seed: int = 0) -> RoutingDataset:
    """Prompts with every candidate's answer and its score."""
    generator = random.Random(seed)
    examples = []
    for row in range(n_prompts):
        if row % 2:
            a, b = generator.randint(2, 99), generator.randint(2, 99)
            prompt = generator.choice(["What is {} plus {}?", "Add {} to {}.", "{} and {} make how many?"]).format(a, b)
            answers = {"calculator": f"{a} plus {b} is {a + b}", "poet": "numbers drift like snow", "parrot": prompt}
            scores = {"calculator": 0.95, "poet": 0.1, "parrot": 0.05}
        else:
            a, b = generator.sample(THINGS, 2)
            prompt = generator.choice(["Write a line about {} and {}.", "Rhyme on {}, then {}.", "A verse: {}, {}."])
            prompt = prompt.format(a, b)
            answers = {"calculator": "0", "poet": f"o {a}, the {b} remembers", "parrot": prompt}
            scores = {"calculator": 0.05, "poet": 0.9, "parrot": 0.2}
        outcomes = {
            name: Outcome(response=answers[name], score=min(1.0, max(0.0, generator.gauss(scores[name], 0.1))))
            for name in POOL.names
        }
        source, split = ("sums" if row % 2 else "verses"), SPLITS[row // 2 % len(SPLITS)]
        examples.append(RoutingExample(prompt, outcomes, id=str(row), source=source, split=split))
    return RoutingDataset.from_examples(examples, pool=POOL)


def make_backbone(dataset: RoutingDataset, folder: Path) -> None:
    """A small encoder with fresh weights and a vocabulary of the training prompts and answers."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    rows = dataset.filter(split="train")
    tokenizer.train_from_iterator([*rows.prompts, *rows.responses.ravel()], trainer)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    ).save_pretrained(folder)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=128,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=256,
        max_position_embeddings=128,
    )
    torch.manual_seed(0)
    BertModel(config).save_pretrained(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("runs/example"))
    parser.add_argument("--prompts", type=int, default=2400)
    parser.add_argument("--epochs", type=float, default=6)
    arguments = parser.parse_args()

    dataset = make_dataset(arguments.prompts)
    make_backbone(dataset, arguments.output / "backbone")
    recipe = Recipe(
        name="example",
        backbone=str(arguments.output / "backbone"),
        network={"n_slots": 8, "max_prompt_tokens": 32, "mid_tokens": "<MID_{index}>"},
        optimizer={"learning_rate": 1e-3, "n_epochs": arguments.epochs, "batch_size": 16, "use_bf16": False},
    )
    fit(dataset, recipe, arguments.output / "run")
    folder = arguments.output / "run" / "predictor"
    print(export_predictor(folder, dataset.filter(split="validation").prompts))

    splits = {name: dataset.filter(split=name) for name in ("test", "train", "validation")}
    entries = [Entry("lookahead", locations=(str(folder),)), Entry("rule", baseline="rule")]
    report = compare(entries, [Material("sums-and-verses", "test", *splits.values())])
    write_report(report, arguments.output / "report")
    for result in report.datasets[0].predictors:
        value, low, high = result.average
        print(f"{result.predictor}: normalised score on test {value:.1f} [{low:.1f}, {high:.1f}]")
    print(f"wrote {arguments.output / 'report' / 'report.html'}")

    router = Router.from_pretrained(folder)
    for prompt in ("What is 17 plus 25?", "Write a line about winter and copper."):
        print(f"{prompt} -> {router.route(prompt).name}")


if __name__ == "__main__":
    main()
