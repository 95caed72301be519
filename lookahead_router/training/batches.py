"""From a routing dataset to training batches: token arrays, the order of rows, padding."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.predictors.tokenization import PromptTokenizer, left_pad
from lookahead_router.training.objectives import routing_targets
from lookahead_router.training.recipe import DISTRIBUTION_OBJECTIVES, ObjectiveSettings, SourcePrior


@dataclass(frozen=True, eq=False)
class TokenizedDataset(Dataset):
    """Prompts and the heads of their responses as tokens, with scores and weights."""

    prompt_ids: list[np.ndarray]
    """Framed prompts, as in routing."""
    response_ids: np.ndarray
    """`(n, K, M)` int64, the first M tokens of each response, right-padded with 0."""
    response_lengths: np.ndarray
    """`(n, K)` int64; 0 where a response is empty or missing."""
    scores: np.ndarray
    """`(n, K)` float32, NaN where not judged."""
    targets: np.ndarray
    """`(n, K)` float32, what the routing loss compares the logits with; NaN where nothing is known."""
    weights: np.ndarray
    """`(n,)` float32 weight in the routing loss, mean 1 over prompts that rank candidates."""

    @classmethod
    def build(
        cls,
        dataset: RoutingDataset,
        tokenizer: PromptTokenizer,
        n_slots: int,
        objective: ObjectiveSettings,
    ) -> "TokenizedDataset":
        """Tokenises every prompt, and of every response what the slots can hold."""
        n, K = dataset.scores.shape
        response_ids = np.zeros((n, K, n_slots), dtype=np.int64)
        lengths = np.zeros((n, K), dtype=np.int64)
        if n_slots:
            for k in range(K):
                heads = tokenizer.encode_responses([text or "" for text in dataset.responses[:, k]], n_slots)
                for row, ids in enumerate(heads):
                    response_ids[row, k, : len(ids)] = ids
                    lengths[row, k] = len(ids)
        prompt_ids, _ = tokenizer.encode(list(dataset.prompts))
        return cls(
            prompt_ids=prompt_ids,
            response_ids=response_ids,
            response_lengths=lengths,
            scores=dataset.scores.astype(np.float32),
            targets=dataset_targets(dataset, objective),
            weights=source_weights(dataset, objective.source_weight_exponent),
        )

    def __len__(self) -> int:
        return len(self.prompt_ids)

    def __getitem__(self, row: int) -> dict[str, np.ndarray]:
        return {
            "prompt_ids": self.prompt_ids[row],
            "response_ids": self.response_ids[row],
            "response_lengths": self.response_lengths[row],
            "scores": self.scores[row],
            "targets": self.targets[row],
            "weights": self.weights[row],
        }


def dataset_targets(dataset: RoutingDataset, objective: ObjectiveSettings) -> np.ndarray:
    """`(n, K)` float32 targets of the routing loss, shrunk to the sources; NaN where nothing is known."""
    targets = routing_targets(
        torch.from_numpy(dataset.scores),
        objective.routing,
        threshold=objective.threshold,
        temperature=objective.temperature,
    )
    return shrink_to_sources(
        targets.numpy(),
        dataset.scores,
        dataset.sources,
        objective.source_shrinkage,
        objective.source_prior,
        is_distribution=objective.routing in DISTRIBUTION_OBJECTIVES,
    )


def ranks_candidates(scores: np.ndarray) -> np.ndarray:
    """`(n,)` bool: prompts whose judged candidates do not all score alike."""
    judged = ~np.isnan(scores)
    high = np.where(judged, scores, -np.inf).max(axis=1)
    low = np.where(judged, scores, np.inf).min(axis=1)
    return high > low


def source_weights(dataset: RoutingDataset, exponent: float) -> np.ndarray:
    """`(n,)` float32: each prompt weighs n_ranking_prompts_of_its_source ** -exponent, scaled to mean 1."""
    ranking = ranks_candidates(dataset.scores)
    names, source = np.unique(dataset.sources, return_inverse=True)
    sizes = np.bincount(source[ranking], minlength=len(names)).clip(min=1)
    weights = (sizes[source].astype(np.float64)) ** -exponent
    return (weights / weights[ranking].mean() if ranking.any() else weights).astype(np.float32)


def shrink_to_sources(
    targets: np.ndarray,
    scores: np.ndarray,
    sources: np.ndarray,
    share: float,
    prior: SourcePrior = "mean",
    *,
    is_distribution: bool = False,
) -> np.ndarray:
    """`(n, K)` targets, of which `share` is what the prompts of the same source have in common.

    One answer is a single draw of what its candidate can do, and a network that believes every draw
    routes by accidents. The source is a steadier guess; a mixture of both, as in shrinkage estimators,
    keeps what is particular about a prompt only where it is strong.

    Args:
        targets: `(n, K)`, NaN where nothing is known, which stays so.
        scores: `(n, K)` observed, NaN where not judged.
        sources: `(n,)`.
        share: in [0, 1).
        prior: `mean`, each candidate's mean target; `best`, 1 for the candidate with the highest mean
            score and 0 for the others, so that every source speaks with the same voice, however close
            its candidates are.
        is_distribution: keep the known targets of a prompt at a sum of 1, as far as they were.
    """
    shrunk = targets.copy()
    for source in np.unique(sources) if share else ():
        rows = sources == source
        means = _known_means(targets[rows])
        if prior == "best":
            known = ~np.isnan(targets[rows])
            best = _known_means(np.where(known, scores[rows], np.nan), empty=-1.0).argmax()
            means = np.eye(targets.shape[1], dtype=targets.dtype)[best]
        given = np.broadcast_to(means, targets[rows].shape)
        if is_distribution:
            judged = np.where(np.isnan(targets[rows]), 0.0, given)
            mass = judged.sum(axis=1, keepdims=True)
            given = np.where(mass > 0, judged / np.where(mass > 0, mass, 1.0), targets[rows])
        shrunk[rows] = (1 - share) * targets[rows] + share * given
    return shrunk


def _known_means(values: np.ndarray, empty: float = 0.0) -> np.ndarray:
    """`(n, K)` -> `(K,)` means without NaN; `empty` where a column has nothing else."""
    known = ~np.isnan(values)
    sums = np.where(known, values, 0.0).sum(axis=0)
    return np.where(known.any(axis=0), sums / known.sum(axis=0).clip(min=1), empty)


class Collator:
    """Rows to one batch of tensors, prompts padded on the left."""

    def __init__(self, pad_token_id: int) -> None:
        self.pad_token_id = pad_token_id

    def __call__(self, rows: Sequence[dict[str, np.ndarray]]) -> dict[str, torch.Tensor]:
        ids, mask = left_pad([row["prompt_ids"] for row in rows], self.pad_token_id)
        batch = {name: np.stack([row[name] for row in rows]) for name in rows[0] if name != "prompt_ids"}
        return {
            "prompt_ids": torch.from_numpy(ids),
            "prompt_mask": torch.from_numpy(mask),
            **{name: torch.from_numpy(values) for name, values in batch.items()},
        }


class LengthBucketSampler(Sampler[int]):
    """Batches of prompts of like length, in random order.

    The order depends on seed and epoch alone, so a resumed run sees the rows that it would have seen. The
    first rows of an epoch fill its last step, so that a row counts alike in however many batches and on however
    many processes a step is spread.

    Args:
        lengths: tokens of each prompt.
        batch_size: rows of a batch.
        batches_per_step: batches of an optimiser step, over accumulation and processes.
        seed: of the order.
        batches_per_bucket: batches among whose prompts like lengths are sought.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        batch_size: int,
        batches_per_step: int,
        seed: int,
        batches_per_bucket: int = 30,
    ) -> None:
        self.lengths = np.asarray(lengths)
        self.batch_size, self.seed, self.batches_per_bucket = batch_size, seed, batches_per_bucket
        step = batch_size * batches_per_step
        self.n_rows = -(-len(lengths) // step) * step
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.n_rows

    def __iter__(self) -> Iterator[int]:
        generator = np.random.default_rng((self.seed, self.epoch))
        order = generator.permutation(len(self.lengths))
        bucket = self.batch_size * self.batches_per_bucket
        batches = []
        for start in range(0, len(order), bucket):
            rows = order[start : start + bucket]
            rows = rows[np.argsort(self.lengths[rows], kind="stable")]
            batches += [rows[i : i + self.batch_size] for i in range(0, len(rows), self.batch_size)]
        full = [batch for batch in batches if len(batch) == self.batch_size]
        partial = [batch for batch in batches if len(batch) < self.batch_size]
        shuffled = [full[i] for i in generator.permutation(len(full))]
        return iter(np.resize(np.concatenate([*shuffled, *partial]), self.n_rows).tolist())
