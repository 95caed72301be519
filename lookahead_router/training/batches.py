"""From a routing dataset to training batches: token arrays, the order of rows, padding."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.predictors.tokenization import PromptTokenizer, left_pad
from lookahead_router.training.recipe import ObjectiveSettings
from lookahead_router.training.targets import dataset_targets, source_weights


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
