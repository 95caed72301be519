"""Prompt embeddings of a frozen sentence encoder, which the fitted predictors share."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lookahead_router.backends.base import finite
from lookahead_router.backends.runtime import Session
from lookahead_router.errors import CheckpointError, FileError, PredictionError
from lookahead_router.extras import require
from lookahead_router.files import parse_json, read_json, replacing_file
from lookahead_router.hub import fetch_snapshot, is_repo_id
from lookahead_router.predictors.tokenization import WINDOW_RULE, PromptTokenizer

DEFAULT_EMBEDDER = "sentence-transformers/all-MiniLM-L6-v2"
_GRAPHS = ("onnx/model.onnx", "model.onnx")
_WEIGHTS = "model.safetensors"
_FILES = ("config.json", "tokenizer.json", "modules.json", "1_Pooling/config.json")
_MODULES = ("Transformer", "Pooling", "Normalize")
_POOLING = {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}
"""Whether the first token's state is taken, by the mode in `1_Pooling/config.json`; without one, the mean is."""
_BATCH_SIZE = 32
BLOCK_SIZE = 256
"""Texts whose embeddings are kept in one file, so that long work shows how far it is and goes on where it was."""


class Embedder:
    """A sentence encoder on ONNX Runtime: texts in, unit vectors out.

    Safe under threads. Pickling stores the location and loads again; a deep copy is the same object.
    """

    def __init__(
        self, graph: Path, folder: Path, *, location: str, max_tokens: int = 256, cache: Path | None = None
    ) -> None:
        """Opens a graph; `load` is what users call.

        Args:
            graph: an encoder as optimum and `export_encoder` write it.
            folder: where its `config.json`, `tokenizer.json` and `1_Pooling/config.json` are.
            location: what to load to get it again.
            max_tokens: window, at most; a longer prompt loses its middle, as in routing.
            cache: folder to keep embeddings in, for prompts that come again; none when absent.

        Raises:
            CheckpointError: not an encoder, no tokenizer, or a pooling other than mean and first token.
        """
        self._session = Session.shared(graph, location=location)
        self._inputs = set(self._session.inputs)
        self._output, shape = next(iter(self._session.outputs.items()))
        needed = {"input_ids", "attention_mask"}
        is_encoder = needed <= self._inputs <= needed | {"token_type_ids"} and len(shape or ()) == 3
        if not is_encoder or not isinstance(shape[2], int):
            raise CheckpointError(
                f"{graph.name} is no encoder: expected input_ids and attention_mask in, a state per token out",
                location=location,
            )
        self._width = shape[2]
        window = _read_json(folder / "config.json").get("max_position_embeddings", max_tokens)
        if type(window) is not int:
            raise CheckpointError(f"config.json, max_position_embeddings: no number but {window!r}", location=location)
        max_tokens = min(max_tokens, window)
        tokenizer = PromptTokenizer.read(folder / "tokenizer.json")
        pad_token_id = (tokenizer.padding or {}).get("pad_id", 0)
        tokenizer.no_padding()  # sentence-transformers saves it on, and padding is no part of the frame
        tokenizer.no_truncation()
        framed = tokenizer.encode("a")
        words = [at for at, is_special in enumerate(framed.special_tokens_mask) if not is_special]
        room = max_tokens - len(framed.ids) + len(words)
        if not words or room < 1:
            raise CheckpointError("its window has no room for text", location=location)
        self._tokenizer = PromptTokenizer(
            tokenizer,
            max_prompt_tokens=room,
            pad_token_id=pad_token_id,
            prefix=framed.ids[: words[0]],
            suffix=framed.ids[words[-1] + 1 :],
        )
        _check_modules(folder)
        self._takes_first = _takes_first(folder)
        self.cache = cache
        """Folder of embeddings that are kept; `None` for none."""
        self.location = location
        frame = [*self._tokenizer.prefix, None, *self._tokenizer.suffix]
        digest = hashlib.sha256(f"{max_tokens} {frame} {self._takes_first}".encode())
        for path in (graph, folder / "tokenizer.json"):
            digest.update(path.read_bytes())
        self.fingerprint = digest.hexdigest()[:16]
        """Hash of weights, tokenizer, frame, window and pooling; equal ones give equal embeddings."""

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
            FileError: its graph has to be exported, and cannot be kept.
            MissingDependencyError: torch is needed and not installed.
        """
        if is_repo_id(location):
            folder = _fetched(str(location))
        else:
            folder = Path(location).absolute()
            location = str(folder)
        missing = [name for name in _FILES[:2] if not (folder / name).is_file()]
        if missing:
            raise CheckpointError(
                "no sentence encoder: expected config.json, tokenizer.json and onnx/model.onnx or model.safetensors",
                location=str(location),
                missing=missing,
            )
        graph = next((folder / name for name in _GRAPHS if (folder / name).is_file()), None)
        return cls(graph or _exported(folder, location), folder, location=str(location), cache=cache)

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors `(n_texts, H)` float32, row `i` of text `i` alone.

        Raises:
            PredictionError: the encoder gives no states, or some that are not finite.
        """
        if self.cache is None:
            return self._embed(texts)
        blocks = [self._kept(texts[at : at + BLOCK_SIZE]) for at in range(0, len(texts), BLOCK_SIZE)]
        return np.concatenate(blocks) if blocks else self._embed(texts)

    def _kept(self, texts: Sequence[str]) -> np.ndarray:
        """The embeddings out of the cache, put there if need be."""
        digest = hashlib.sha256(f"{self.fingerprint} {WINDOW_RULE}".encode())
        for text in texts:
            digest.update(b"%d:" % len(text) + text.encode())
        path = self.cache / f"{digest.hexdigest()[:32]}.npy"
        try:
            vectors = np.load(path, allow_pickle=False)
        except (OSError, EOFError, ValueError):  # not there, or damaged
            vectors = None
        if vectors is None or vectors.shape != (len(texts), self._width):
            vectors = self._embed(texts)
            with replacing_file(path) as temporary, temporary.open("wb") as file:
                np.save(file, vectors, allow_pickle=False)
        return vectors

    def _embed(self, texts: Sequence[str]) -> np.ndarray:
        rows, _ = self._tokenizer.encode(texts)
        vectors = np.zeros((len(rows), self._width), dtype=np.float32)
        by_length = sorted(range(len(rows)), key=lambda row: len(rows[row]))
        for start in range(0, len(rows), _BATCH_SIZE):
            batch = by_length[start : start + _BATCH_SIZE]
            vectors[batch] = self._encode([rows[row] for row in batch])
        return vectors

    def _encode(self, rows: list[np.ndarray]) -> np.ndarray:
        rows = [row if len(row) else np.array([self._tokenizer.pad_token_id]) for row in rows]  # some texts have none
        length = max(len(row) for row in rows)
        ids = np.full((len(rows), length), self._tokenizer.pad_token_id, dtype=np.int64)
        mask = np.zeros_like(ids)
        for index, row in enumerate(rows):  # on the right: positions count from the first token
            ids[index, : len(row)], mask[index, : len(row)] = row, 1
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        states = self._session.run([self._output], {k: v for k, v in feed.items() if k in self._inputs})[0]
        states = finite(states, f"the encoder {self.location}")
        if states.shape != (*ids.shape, self._width):
            raise PredictionError(
                f"the encoder {self.location} gives states of shape {states.shape}, not {(*ids.shape, self._width)}"
            )
        weights = mask[:, :, None].astype(np.float32)
        pooled = states[:, 0] if self._takes_first else (states * weights).sum(axis=1) / weights.sum(axis=1)
        return pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-12)

    def __reduce__(self) -> tuple[Any, ...]:
        return _load_again, (self.location, self.cache, self.fingerprint)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Embedder":
        return self

    def __repr__(self) -> str:
        return f"Embedder({self.location!r}, {self.fingerprint})"


def _load_again(location: str, cache: Path | None, fingerprint: str) -> Embedder:
    embedder = Embedder.load(location, cache=cache)
    if embedder.fingerprint != fingerprint:
        raise CheckpointError(
            f"changed since it was pickled: it was {fingerprint} and is {embedder.fingerprint}; load it anew",
            location=location,
        )
    return embedder


def _read_json(path: Path) -> dict:
    """The object in a JSON file, empty where there is none.

    Raises:
        CheckpointError: something else is in it.
    """
    if not path.is_file():
        return {}
    return read_json(path)


def _check_modules(folder: Path) -> None:
    """Raises `CheckpointError` where sentence-transformers would do more than pool the encoder's states."""
    path = folder / "modules.json"
    try:
        modules = parse_json(path.read_bytes()) if path.is_file() else []
        others = [each["type"] for each in modules if each["type"].rpartition(".")[2] not in _MODULES]
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"modules.json is malformed: {error}", location=str(folder)) from error
    if others:
        raise CheckpointError(f"has a module {others[0]}; choose an encoder that pools alone", location=str(folder))


def _takes_first(folder: Path) -> bool:
    pooling = _read_json(folder / "1_Pooling" / "config.json")
    modes = [name for name, is_on in pooling.items() if name.startswith("pooling_mode_") and is_on is True]
    if modes and modes not in [[name] for name in _POOLING]:
        raise CheckpointError(
            f"pools by {', '.join(modes)}; choose an encoder that takes the mean or the first token",
            location=str(folder),
        )
    return any(_POOLING[name] for name in modes)


def _fetched(repo_id: str) -> Path:
    """The encoder's files in the cache of huggingface_hub: with its graph, or with weights where it has none."""
    for weights in (_GRAPHS[0], _WEIGHTS):
        snapshot = fetch_snapshot(repo_id, [*_FILES, weights], {})
        if (snapshot.path / weights).is_file():
            break
    damaged = snapshot.damaged()
    if damaged:
        snapshot.mend(damaged)
    return snapshot.path


def _exported(folder: Path, location: str | Path) -> Path:
    weights = folder / _WEIGHTS
    if not weights.is_file():
        raise CheckpointError(
            f"no sentence encoder: neither {_GRAPHS[0]} nor {_WEIGHTS}", location=str(location), missing=_GRAPHS[:1]
        )
    from huggingface_hub import cached_assets_path

    digest = hashlib.sha256((folder / "config.json").read_bytes())
    with weights.open("rb") as file:
        digest.update(hashlib.file_digest(file, "sha256").digest())
    try:
        path = cached_assets_path("lookahead-router", "embedders", digest.hexdigest()[:16]) / "model.onnx"
    except (OSError, ValueError) as error:
        advice = "set HF_HOME to a folder you may write"
        raise FileError(f"{advice} ({error})", path="the graph of the encoder") from error
    if not path.is_file():
        for module in ("torch", "transformers"):
            require(module, "train")
        from lookahead_router.backends.export import export_encoder

        export_encoder(folder, path)
    return path
