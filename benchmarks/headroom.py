"""How much there is to gain: what prompts tell within a source, and what real responses would tell.

`within` asks for each source of the training data whether anything that a frozen encoder sees in a prompt
beats that source's best candidate, by ten-fold cross-validation over the strength of the regularisation.

`seen` trains the recipe with the *real* responses in the slots, in training and in evaluation: their first
or their last tokens. No router can have them. What such a network gains over the prompt alone is an upper
bound of what foreseeing these tokens could gain.

    python benchmarks/headroom.py within lookahead7.parquet --backbone FOLDER
    python benchmarks/headroom.py seen   lookahead7.parquet --backbone FOLDER
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import AutoModel, AutoTokenizer

from lookahead_router import RoutingDataset, metrics
from lookahead_router.evaluation.evaluate import average_normalized_score
from lookahead_router.predictors.embedder import Embedder
from lookahead_router.predictors.tokenization import PromptTokenizer, left_pad
from lookahead_router.training import Recipe
from lookahead_router.training.backbones import build_network
from lookahead_router.training.batches import Collator, TokenizedDataset
from lookahead_router.training.memory import keeping_freed_memory
from lookahead_router.training.recipe import ObjectiveSettings
from lookahead_router.training.run import _arguments
from lookahead_router.training.trainer import LookaheadTrainer

RECIPE = Path(__file__).parents[1] / "recipes" / "Llama-lookahead-mlm-minilm.yaml"
SETTINGS = ("objective.reconstruction_weight=0", "optimizer.n_evaluations=1", "refit=null")
STRENGTHS = np.logspace(-1, 5, 13)
"""Of the ridge penalty, on embeddings of unit variance."""


@dataclass(frozen=True)
class Variant:
    """What a network sees of each response."""

    n_tokens: int
    from_end: bool = False


VARIANTS = {
    "prompt alone": Variant(0),
    "first 16 tokens": Variant(16),
    "last 16 tokens": Variant(16, from_end=True),
    "first 64 tokens": Variant(64),
    "last 64 tokens": Variant(64, from_end=True),
}


def within(arguments: argparse.Namespace) -> None:
    dataset = RoutingDataset.from_file(arguments.data)
    dataset = dataset.select(np.isin(dataset.splits, ["train", "validation"]))
    if arguments.layer is None:
        embeddings = Embedder.load(arguments.backbone).embed(dataset.prompts)
    else:
        embeddings = decoder_states(arguments.backbone, dataset.prompts, arguments.layer)
    print(
        "| source | prompts | best candidate | best ridge of all strengths, cross-validated | ridge minus candidate |"
    )
    print("|---|--:|--:|--:|--:|")
    for source in dict.fromkeys(dataset.sources):
        rows = dataset.filter(source=source)
        scores, known = rows.scores, embeddings[dataset.sources == source]
        best = scores[:, scores.mean(axis=0).argmax()]
        tried = [ridge_choices(known, scores, strength, n_repeats=arguments.repeats) for strength in STRENGTHS]
        chosen = max(tried, key=np.mean)
        low, high = (
            [lambda i, values=values, scores=scores: metrics.normalized_score(values[i], scores[i])]
            for values in (best, chosen)
        )
        everything = np.arange(len(rows))
        gap = metrics.bootstrap_interval(high, rows.sources, minus=low, n_resamples=arguments.resamples)
        print(
            f"| {source} | {len(rows):,} | {low[0](everything):.1f} | {high[0](everything):.1f} "
            f"| {gap.value:+.1f} [{gap.low:.1f}, {gap.high:.1f}] |",
            flush=True,
        )


def decoder_states(folder: str, prompts: Sequence[str], layer: int, max_tokens: int = 256) -> np.ndarray:
    """`(n, H)` mean states of the prompts' last tokens in a layer of a causal language model."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    decoder = AutoModel.from_pretrained(folder, dtype=torch.bfloat16).eval()
    ids = [np.array(tokenizer(prompt).input_ids[-max_tokens:]) for prompt in prompts]
    states = np.empty((len(ids), decoder.config.hidden_size), dtype=np.float32)
    order = np.argsort([len(row) for row in ids], kind="stable")
    with torch.inference_mode():
        for rows in np.array_split(order, -(-len(order) // 16)):
            padded, mask = map(torch.from_numpy, left_pad([ids[row] for row in rows], 0))
            found = decoder(padded, attention_mask=mask, output_hidden_states=True, use_cache=False)
            weights = mask[..., None] / mask.sum(dim=1)[:, None, None]
            states[rows] = (found.hidden_states[layer].float() * weights).sum(dim=1).numpy()
    return states


def ridge_choices(embeddings: np.ndarray, scores: np.ndarray, strength: float, *, n_repeats: int) -> np.ndarray:
    """`(n,)` mean observed score of the candidates that ten-fold ridge regressions choose, over repeated splits."""
    total = np.zeros(len(scores))
    for seed in range(n_repeats):
        fold = np.random.default_rng(seed).permutation(len(scores)) % 10
        predicted = np.empty_like(scores)
        for held in range(10):
            train = fold != held
            mean, scale = embeddings[train].mean(axis=0), embeddings[train].std(axis=0) + 1e-6
            x, y = (embeddings - mean) / scale, scores[train].mean(axis=0)
            gram = x[train].T @ x[train] + strength * np.eye(x.shape[1])
            weights = np.linalg.solve(gram, x[train].T @ (scores[train] - y))
            predicted[~train] = y + x[~train] @ weights
        total += metrics.chosen_scores(scores, predicted.argmax(axis=1))
    return total / n_repeats


class SeeingTrainer(LookaheadTrainer):
    """Shows every slot its token of the real response, and asks for no reconstruction."""

    def _slots(self, network, inputs):
        return seen(network, inputs), None

    def evaluate(self, *args, **kwargs):
        """Nothing: without the responses, validation would be another task."""
        return {}


def seen(network, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """`(B, K, M)` each candidate's MID token, the tokens of its response, and MID tokens where that is shorter."""
    ids, lengths = batch["response_ids"], batch["response_lengths"]
    mids = network.mid_token_ids[None, :, None].expand(*ids.shape[:2], network.configuration.n_slots)
    is_shown = torch.arange(ids.shape[2], device=ids.device) < lengths[..., None]
    return torch.cat([mids[..., :1], torch.where(is_shown, ids, mids[..., 1:])], dim=2) if mids.shape[2] else mids


def tokenized(rows: RoutingDataset, tokenizer: PromptTokenizer, variant: Variant, objective: ObjectiveSettings):
    """The rows with the tokens of each response that a variant sees."""
    tokens = TokenizedDataset.build(rows, tokenizer, variant.n_tokens, objective)
    if variant.from_end:
        ids, lengths = np.zeros_like(tokens.response_ids), tokens.response_lengths
        for k in range(ids.shape[1]):
            whole = tokenizer.encode_responses([text or "" for text in rows.responses[:, k]], 10**6)
            for row, response in enumerate(whole):
                ids[row, k, : lengths[row, k]] = response[-variant.n_tokens :]
        tokens = replace(tokens, response_ids=ids)
    return tokens


def choose(network, rows: TokenizedDataset, batch_size: int = 64) -> np.ndarray:
    """`(n,)` observed score of the candidate that the network chooses, having seen the responses."""
    collate = Collator(network.configuration.pad_token_id)
    logits = np.empty(rows.scores.shape, dtype=np.float32)
    network.eval()
    order = np.argsort([len(ids) for ids in rows.prompt_ids], kind="stable")
    device = network.mid_token_ids.device
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16):
        for batch_rows in np.array_split(order, -(-len(order) // batch_size)):
            batch = {name: tensor.to(device) for name, tensor in collate([rows[int(i)] for i in batch_rows]).items()}
            output = network(batch["prompt_ids"], batch["prompt_mask"], seen(network, batch))
            logits[batch_rows] = output.score_logits.float().cpu().numpy()
    return metrics.chosen_scores(rows.scores, logits.argmax(axis=1))


def train(variant: Variant, dataset: RoutingDataset, arguments: argparse.Namespace, folder: Path) -> np.ndarray:
    """Scores of the choices on the test split, kept in the folder."""
    result = folder / "chosen.npy"
    if result.is_file():
        return np.load(result)
    overrides = [*SETTINGS, f"optimizer.n_epochs={arguments.epochs}", "network.n_slots=0"]
    if variant.n_tokens:  # one slot more says whose response it is; without it, blocks would look alike
        overrides += [f"network.n_slots={variant.n_tokens + 1}", "network.readout=cls+latents"]
    recipe = Recipe.from_yaml(RECIPE, (*overrides, f"seed={arguments.seed}"))
    transformers.set_seed(recipe.seed)
    network, fast = build_network(recipe, arguments.backbone, n_candidates=len(dataset.pool))
    tokenizer = PromptTokenizer.of(network.configuration, fast)
    learnt = ~np.isin(dataset.sources, recipe.data.exclude_sources)
    parts = dataset.select(learnt & (dataset.splits == "train")), dataset.filter(split="test")
    rows, test = (tokenized(part, tokenizer, variant, recipe.objective) for part in parts)
    folder.mkdir(parents=True, exist_ok=True)
    trainer = SeeingTrainer(network, recipe, _arguments(recipe, folder, len(rows)), rows, test, folder)
    with keeping_freed_memory():
        trainer.train()
    np.save(result, choose(trainer.average.module, test))
    return np.load(result)


def real(arguments: argparse.Namespace) -> None:
    dataset = RoutingDataset.from_file(arguments.data)
    test = dataset.filter(split="test")
    everything = np.arange(len(test))
    benchmarks = list(dict.fromkeys(test.sources.tolist()))
    print(f"| the network sees | average [95 %] | minus the prompt alone [95 %, paired] | {' | '.join(benchmarks)} |")
    print("|---|--:|--:|" + "--:|" * len(benchmarks))
    alone = None
    for name, variant in VARIANTS.items():
        if arguments.only and name not in ("prompt alone", *arguments.only):
            continue
        folder = arguments.output / f"{name.replace(' ', '-')}-{arguments.epochs}-{arguments.seed}"
        chosen = train(variant, dataset, arguments, folder)

        def average(rows, chosen=chosen):
            return average_normalized_score(chosen[rows], test.scores[rows], test.sources[rows])

        alone = alone or average
        value = metrics.bootstrap_interval([average], test.sources, n_resamples=arguments.resamples)
        gap = metrics.bootstrap_interval([average], test.sources, minus=[alone], n_resamples=arguments.resamples)
        each = [average(everything[test.sources == benchmark]) for benchmark in benchmarks]
        difference = "" if average is alone else f"{gap.value:+.1f} [{gap.low:.1f}, {gap.high:.1f}]"
        print(
            f"| {name} | {value.value:.1f} [{value.low:.1f}, {value.high:.1f}] | {difference} "
            f"| {' | '.join(f'{v:.1f}' for v in each)} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("within", "seen"):
        command = commands.add_parser(name)
        command.add_argument("data", type=Path)
        command.add_argument("--backbone", required=True)
        command.add_argument("--resamples", type=int, default=1000)
        if name == "within":
            command.add_argument("--repeats", type=int, default=5)
            command.add_argument("--layer", type=int, help="the backbone is a decoder: mean states of this layer")
        else:
            command.add_argument("--output", type=Path, default=Path("runs/headroom"))
            command.add_argument("--epochs", type=float, default=1.0)
            command.add_argument("--seed", type=int, default=0)
            command.add_argument("--only", nargs="+", choices=list(VARIANTS))
    arguments = parser.parse_args()
    (within if arguments.command == "within" else real)(arguments)


if __name__ == "__main__":
    main()
