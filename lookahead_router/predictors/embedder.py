"""Prompt embeddings of a frozen sentence encoder, which the baselines share."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lookahead_router._files import replacing_file
from lookahead_router._hub import hub_errors
from lookahead_router._optional import require
from lookahead_router.errors import CheckpointError
from lookahead_router.hub.download import is_repo_id
from lookahead_router.predictors.tokenization import PromptTokenizer

DEFAULT_EMBEDDER = "sentence-transformers/all-MiniLM-L6-v2"
_GRAPHS = ("onnx/model.onnx", "model.onnx")
_FILES = ("config.json", "tokenizer.json", "1_Pooling/config.json")
_BATCH_SIZE = 32


class Embedder:
    """A sentence encoder on ONNX Runtime: texts in, unit vectors out. Safe under threads."""

    def __init__(
        self, graph: Path, folder: Path, *, location: str, max_tokens: int = 256, cache: Path | None = None
    ) -> None:
        """Opens a graph; `load` is what users call.

        Args:
            graph: an encoder as optimum and `export_encoder` write it.
            folder: where its `tokenizer.json` is.
            location: what to load to get it again.
            max_tokens: window; of a longer prompt the tail is read, as by the routers.
            cache: folder to keep embeddings in, for prompts that come again; none when absent.

        Raises:
            CheckpointError: not an encoder, or no tokenizer.
        """
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's own exceptions share no public base
            raise CheckpointError(
                f"{graph.name} is no graph that ONNX Runtime can run: {error}", location=location
            ) from error
        self._inputs = {entry.name for entry in self._session.get_inputs()}
        outputs = self._session.get_outputs()
        if "input_ids" not in self._inputs or len(outputs[0].shape) != 3:
            raise CheckpointError(
                f"{graph.name} is no encoder: expected input_ids in, a state per token out", location=location
            )
        self._output = outputs[0].name
        tokenizer = PromptTokenizer.read(folder / "tokenizer.json")
        framed = tokenizer.encode("a")
        words = [at for at, is_special in enumerate(framed.special_tokens_mask) if not is_special]
        self._tokenizer = PromptTokenizer(
            tokenizer,
            max_prompt_tokens=max_tokens - len(framed.ids) + len(words),
            pad_token_id=(tokenizer.padding or {}).get("pad_id", 0),
            prefix=framed.ids[: words[0]],
            suffix=framed.ids[words[-1] + 1 :],
        )
        pooling = folder / "1_Pooling" / "config.json"
        self._takes_first = pooling.is_file() and json.loads(pooling.read_bytes()).get("pooling_mode_cls_token", False)
        self._cache = cache
        self.location = location
        digest = hashlib.sha256(f"{max_tokens} {self._takes_first}".encode())
        for path in (graph, folder / "tokenizer.json"):
            digest.update(path.read_bytes())
        self.fingerprint = digest.hexdigest()[:16]
        """Of weights, tokenizer and window: the same, the same embeddings."""

    @classmethod
    def load(cls, location: str | Path = DEFAULT_EMBEDDER, *, cache: Path | None = None) -> "Embedder":
        """The encoder in a folder or a repository of the Hugging Face Hub.

        A folder without a graph is exported once, which takes torch, to the cache of huggingface_hub.

        Args:
            location: folder with `tokenizer.json` and `onnx/model.onnx` or torch weights; or `org/name` on the Hub.
            cache: folder to keep embeddings of prompts in; none when absent.

        Raises:
            CheckpointError: no encoder there.
            HubError: the repository cannot be read.
            MissingDependencyError: torch is needed and not installed.
        """
        if is_repo_id(location):
            import huggingface_hub

            with hub_errors(str(location)):
                patterns = [*_FILES, _GRAPHS[0]]
                folder = Path(huggingface_hub.snapshot_download(str(location), allow_patterns=patterns))
        else:
            folder = Path(location).absolute()
            location = str(folder)
        missing = [name for name in _FILES[:2] if not (folder / name).is_file()]
        if missing:
            raise CheckpointError(
                "no sentence encoder: expected config.json, tokenizer.json and onnx/model.onnx or model.safetensors",
                location=location,
                missing=missing,
            )
        graph = next((folder / name for name in _GRAPHS if (folder / name).is_file()), None)
        return cls(graph or _exported(folder, location), folder, location=str(location), cache=cache)

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors `(n_texts, H)` float32, row `i` of text `i` alone."""
        if self._cache is None:
            return self._embed(texts)
        digest = hashlib.sha256(self.fingerprint.encode())
        for text in texts:
            digest.update(b"%d:" % len(text) + text.encode())
        path = self._cache / f"{digest.hexdigest()[:32]}.npy"
        if not path.is_file():
            vectors = self._embed(texts)
            with replacing_file(path) as temporary, temporary.open("wb") as file:
                np.save(file, vectors, allow_pickle=False)
        return np.load(path, allow_pickle=False)

    def _embed(self, texts: Sequence[str]) -> np.ndarray:
        rows, _ = self._tokenizer.encode(texts)
        width = self._session.get_outputs()[0].shape[2]
        vectors = np.zeros((len(rows), width), dtype=np.float32)
        by_length = sorted(range(len(rows)), key=lambda row: len(rows[row]))
        for start in range(0, len(rows), _BATCH_SIZE):
            batch = by_length[start : start + _BATCH_SIZE]
            vectors[batch] = self._encode([rows[row] for row in batch])
        return vectors

    def _encode(self, rows: list[np.ndarray]) -> np.ndarray:
        length = max(len(row) for row in rows)
        ids = np.full((len(rows), length), self._tokenizer.pad_token_id, dtype=np.int64)
        mask = np.zeros_like(ids)
        for index, row in enumerate(rows):  # on the right: positions count from the first token
            ids[index, : len(row)], mask[index, : len(row)] = row, 1
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        states = self._session.run([self._output], {k: v for k, v in feed.items() if k in self._inputs})[0]
        weights = mask[:, :, None].astype(np.float32)
        pooled = states[:, 0] if self._takes_first else (states * weights).sum(axis=1) / weights.sum(axis=1)
        return pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-12)


def _exported(folder: Path, location: str) -> Path:
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise CheckpointError(
            "no sentence encoder: neither onnx/model.onnx nor model.safetensors", location=location, missing=_GRAPHS[:1]
        )
    from huggingface_hub import cached_assets_path

    with weights.open("rb") as file:
        fingerprint = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    path = cached_assets_path("lookahead-router", "embedders", fingerprint) / "model.onnx"
    if not path.is_file():
        for module in ("torch", "transformers"):
            require(module, "train")
        from lookahead_router.backends.export import export_encoder

        export_encoder(folder, path)
    return path
