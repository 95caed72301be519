"""Embeddings of the network for any pool: what is fitted on them is saved with it, and needs no other encoder."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lookahead_router.threads import computed_once

if TYPE_CHECKING:
    from lookahead_router.predictors.open_pool import OpenPoolPredictor

NETWORK = "network"
"""Folder within a saved predictor that holds the network."""


class NetworkEmbedder:
    """What `Embedder` is, by the network of a predictor for any pool. Safe under threads, and picklable."""

    location = NETWORK

    def __init__(self, predictor: "OpenPoolPredictor") -> None:
        """Reads with the network, also where the predictor itself decides by static vectors."""
        found = predictor.found
        if found is not None and found.backend == "static":
            predictor = type(predictor).from_found(replace(found, backend="auto"))
        self.predictor = predictor

    @computed_once
    def fingerprint(self) -> str:
        """Hash of weights and tokenizer; equal ones give equal embeddings."""
        from lookahead_router.predictors.open_pool_folder import network_files

        digest = hashlib.sha256()
        for name, record in sorted(network_files(self.predictor).items()):
            digest.update(f"{name} {record.sha256}".encode())
        return digest.hexdigest()[:16]

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors `(n_texts, H)` float32, row `i` of text `i` alone.

        Raises:
            PredictionError: the weights give no embeddings.
        """
        return self.predictor.foresee(list(texts))[0].embedding.astype(np.float32)

    def save(self, folder: Path) -> None:
        """Writes the network to a folder within that of the predictor fitted on its embeddings."""
        self.predictor.save(folder / NETWORK)

    @classmethod
    def load(cls, folder: Path) -> "NetworkEmbedder":
        """The embedder that `save` wrote.

        Raises:
            CheckpointError: it is missing or damaged.
        """
        from lookahead_router.predictors.open_pool import OpenPoolPredictor

        return cls(OpenPoolPredictor.load(folder / NETWORK))

    def __repr__(self) -> str:
        return f"NetworkEmbedder({self.predictor.name!r})"
