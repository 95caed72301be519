"""A network without a transformer that foresees what the embedded one does: word vectors, pooled, and a small head.

    python research/any_pool/static.py DATA FEATURES TEXTS ENCODER --output static

FEATURES is what the network foresees of all texts (npz, the fields of `Foreseen`), in the order of TEXTS, the JSON that
`build.py` reads; ENCODER the folder of all-MiniLM-L6-v2. Vectors of words are the encoder's own of the word alone, as
model2vec has them, and are trained on with the head; so are weights of words and vectors of pairs of neighbours. Only
texts of the train split are learnt from, of sources whose terms let weights rest on them; those of the validation split
tell how well. Minutes on one core; a run that is broken off goes on from its last epoch.

    python research/any_pool/static.py … --predictor FOLDER --into FOLDER

learns from the everyday prompts of the recipe too, of which a saved predictor says what it foresees, and puts the graph
into the folder of one, whose `backend="static"` it is.

It writes `static.onnx`, whose vectors are of 8 bits, and `features.npz` for `study.py`: what that graph foresees of the
open corpus. `--embeddings` reads those of a frozen encoder in words' place, to compare, and writes no graph.
"""

import argparse
import json
import os
import shutil
import time
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
import yaml
from tokenizers import Tokenizer
from torch import nn
from torch.nn import functional

from lookahead_router.backends import export
from lookahead_router.backends.runtime import Session
from lookahead_router.files import write_text
from lookahead_router.predictors.open_pool import OUTPUTS, OpenPoolPredictor
from lookahead_router.predictors.tokenization import PromptTokenizer
from lookahead_router.saved.folder import WEIGHTS, PredictorFolder, record_file

RECIPE = Path(__file__).parents[2] / "recipes" / "Llama-lookahead-any-pool-minilm.yaml"
EVERYDAY = RECIPE.parent / "everyday" / "prompts.jsonl"
FITTED = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))["data"]["sources"]
WIDE = ("lookahead7", "mmlupro12", "routerbench3")
SCALARS = OUTPUTS[1:4]
INPUTS = ("prompt_ids", "prompt_mask")
N_DEMANDS, WINDOW, N_PAIRS = 16, 192, 32_768
FIRST, SECOND = 31_337, 7_919
"""Of a pair of words, to its bucket."""
CLS, SEP = 101, 102


class Words(nn.Module):
    """Means of the vectors of a prompt's words and of its pairs of words, by learnt weights, and its length."""

    def __init__(self, vectors: np.ndarray, weights: np.ndarray, pair_width: int, dropout: float) -> None:
        super().__init__()
        self.words = nn.Parameter(torch.tensor(vectors, dtype=torch.float32))
        self.weights = nn.Parameter(torch.tensor(weights, dtype=torch.float32))
        self.pairs = nn.Parameter(torch.randn(N_PAIRS, pair_width) * 0.01)
        self.width = vectors.shape[1] + pair_width + 1
        self.dropout = dropout

    def forward(self, rows: list[np.ndarray]) -> torch.Tensor:
        lengths = torch.tensor([len(row) for row in rows])
        ids, ends = torch.from_numpy(np.concatenate(rows)), torch.cumsum(lengths, 0)
        starts = ends - lengths
        weights = functional.softplus(self.weights[ids])
        if self.training:
            weights = weights * (torch.rand(len(ids)) > self.dropout)
        total = torch.zeros(len(rows)).index_add(0, torch.repeat_interleave(lengths), weights)[:, None] + 1e-6
        buckets = (ids * FIRST + torch.roll(ids, -1) * SECOND) % N_PAIRS
        paired = weights.index_fill(0, ends - 1, 0.0)  # the last word has no neighbour
        words = functional.embedding_bag(ids, self.words, starts, mode="sum", per_sample_weights=weights)
        pairs = functional.embedding_bag(buckets, self.pairs, starts, mode="sum", per_sample_weights=paired)
        return torch.cat([words / total, pairs / total, torch.log(lengths.float())[:, None] / 3 - 1], dim=1)


class Given(nn.Module):
    """Vectors of prompts that another encoder made."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, rows: list[np.ndarray]) -> torch.Tensor:
        return torch.from_numpy(np.stack(rows))


class Student(nn.Module):
    """Standardised targets and unit vectors of prompts, from what is read of them."""

    def __init__(self, reader: nn.Module, hidden: int, dropout: float) -> None:
        super().__init__()
        self.reader = reader
        self.head = nn.Sequential(
            nn.LayerNorm(reader.width),
            nn.Dropout(dropout),
            nn.Linear(reader.width, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
        )
        self.targets = nn.Linear(hidden, N_DEMANDS + len(SCALARS))
        self.embedding = nn.Linear(hidden, 384)

    def forward(self, rows: list[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = self.head(self.reader(rows))
        return self.targets(hidden), functional.normalize(self.embedding(hidden), dim=1)


def word_vectors(encoder: Path, width: int, kept: Path) -> np.ndarray:
    """The encoder's vector of every word alone, on its leading principal axes, `(n_words, width)`."""
    if kept.exists():
        return np.load(kept)[:, :width]
    import transformers

    network = transformers.AutoModel.from_pretrained(encoder).eval()
    n_words = network.config.vocab_size
    found = np.empty((n_words, network.config.hidden_size), dtype=np.float32)
    with torch.inference_mode():
        for start in range(0, n_words, 1024):
            words = torch.arange(start, min(start + 1024, n_words))
            ids = torch.stack([torch.full_like(words, CLS), words, torch.full_like(words, SEP)], dim=1)
            found[start : start + 1024] = network(input_ids=ids).last_hidden_state.mean(dim=1).numpy()
    found -= found.mean(axis=0)
    axes = np.linalg.svd(found, full_matrices=False)[2]
    found = found @ axes.T
    np.save(kept, found / found.std())
    return np.load(kept)[:, :width]


def splits_of(data: Path, texts: list[str]) -> np.ndarray:
    """`train` and `validation` where weights may rest on a text, nothing where not."""
    split: dict[str, str] = {}
    table = pq.read_table(data / "openpool_prompts.parquet", columns=["prompt", "source", "split"]).to_pydict()
    rows = list(zip(table["prompt"], table["source"], table["split"], strict=True))
    for name in WIDE:
        table = pq.read_table(data / f"{name}.parquet", columns=["prompt", "source", "split"]).to_pydict()
        rows += zip(table["prompt"], table["source"], table["split"], strict=True)
    held = {prompt for prompt, _, each in rows if each == "test"}
    for prompt, source, each in rows:
        if prompt not in held and any(fnmatch(source, pattern) for pattern in FITTED):
            split[prompt] = "validation" if "validation" in (each, split.get(prompt)) else each
    return np.array([split.get(text, "") for text in texts])


def tokens_of(encoder: Path, texts: list[str]) -> list[np.ndarray]:
    """As the embedded network reads them."""
    tokenizer = Tokenizer.from_file(str(encoder / "tokenizer.json"))
    window = PromptTokenizer(
        tokenizer, max_prompt_tokens=WINDOW, pad_token_id=0, prefix=(CLS,), suffix=(SEP,), window="ends"
    )
    return window.encode(texts)[0]


def losses(
    found: tuple[torch.Tensor, torch.Tensor], targets: torch.Tensor, embedding: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Squared error of the standardised targets, and 1 - cosine of the vectors."""
    return ((found[0] - targets) ** 2).mean(), (1 - (found[1] * embedding).sum(dim=1)).mean()


def train(student: Student, rows, targets, embedding, split, folder: Path, options) -> None:
    generator = np.random.default_rng(options.seed)
    learnt, checked = np.flatnonzero(split == "train"), np.flatnonzero(split == "validation")
    tables = list(student.reader.parameters())
    others = [each for name, each in student.named_parameters() if not name.startswith("reader.")]
    n_steps = options.epochs * -(-len(learnt) // options.batch_size)
    optimizer = torch.optim.AdamW(
        [{"params": others}, {"params": tables, "weight_decay": 0.0}], lr=options.rate, weight_decay=0.05
    )
    rates = [options.rate, options.table_rate]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=n_steps, pct_start=0.1)
    state, first = folder / "state.pt", 0
    if state.exists():
        kept = torch.load(state, weights_only=False)
        student.load_state_dict(kept["student"])
        optimizer.load_state_dict(kept["optimizer"])
        schedule.load_state_dict(kept["schedule"])
        generator.bit_generator.state, first = kept["generator"], kept["epoch"]
    start = time.time()
    for epoch in range(first, options.epochs):
        student.train()
        order, summed = generator.permutation(learnt), np.zeros(2)
        for at in range(0, len(order), options.batch_size):
            batch = order[at : at + options.batch_size]
            parts = losses(student([rows[k] for k in batch]), targets[batch], embedding[batch])
            optimizer.zero_grad()
            (parts[0] + options.embedding_weight * parts[1]).backward()
            optimizer.step()
            schedule.step()
            summed += len(batch) * np.array([float(part) for part in parts])
        found = foreseen(student, [rows[k] for k in checked])
        validation = [float(part) for part in losses(found, targets[checked], embedding[checked])]
        print(f"epoch {epoch + 1}: train {summed / len(order)}, validation {np.round(validation, 4)}, "
              f"{time.time() - start:.0f} s", flush=True)  # fmt: skip
        parts = {"student": student.state_dict(), "optimizer": optimizer.state_dict()}
        parts |= {"schedule": schedule.state_dict(), "generator": generator.bit_generator.state, "epoch": epoch + 1}
        torch.save(parts, folder / "state.tmp")
        os.replace(folder / "state.tmp", state)


@torch.inference_mode()
def foreseen(student: Student, rows: list[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    student.eval()
    parts = [student(rows[at : at + 512]) for at in range(0, len(rows), 512)]
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "features", "texts", "encoder"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--pair-width", type=int, default=32)
    parser.add_argument(
        "--embeddings", type=Path, help="npz of a frozen encoder's, in TEXTS' order: read in words' place"
    )
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--word-dropout", type=float, default=0.1)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--table-rate", type=float, default=2e-3)
    parser.add_argument("--embedding-weight", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--predictor", type=Path, help="saved predictor whose network FEATURES are of")
    parser.add_argument("--into", type=Path, help="saved predictor that the graph is put into")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(options.seed)
    texts = json.loads(options.texts.read_text())["texts"]
    split, rows = splits_of(options.data, texts), tokens_of(options.encoder, texts)
    print({each: int((split == each).sum()) for each in ("train", "validation")}, flush=True)
    with np.load(options.features, allow_pickle=False) as given:
        teacher = {name: given[name] for name in OUTPUTS}
    if options.predictor is not None:
        more = [json.loads(line)["prompt"] for line in EVERYDAY.read_text(encoding="utf-8").splitlines()]
        said = OpenPoolPredictor.load(options.predictor, n_threads=1).foresee(more)[0]
        teacher = {name: np.concatenate([values, getattr(said, name)]) for name, values in teacher.items()}
        texts, split = [*texts, *more], np.array([*split, *["train"] * len(more)])
        rows += tokens_of(options.encoder, more)
    raw = np.concatenate([teacher["demands"], *(teacher[name][:, None] for name in SCALARS)], axis=1)
    learnt = split == "train"
    mean, scale = raw[learnt].mean(axis=0), raw[learnt].std(axis=0)
    targets = torch.tensor((raw - mean) / scale, dtype=torch.float32)
    if options.embeddings is None:
        counts = np.bincount(np.concatenate([rows[k] for k in np.flatnonzero(learnt)]), minlength=30_522)
        rarity = 1e-3 / (1e-3 + (counts + 1) / counts.sum())
        vectors = word_vectors(options.encoder, options.width, options.output.parent / "word_vectors.npy")
        reader = Words(vectors, np.log(np.expm1(rarity)), options.pair_width, options.word_dropout)
    else:
        rows = list(np.load(options.embeddings)["embedding"].astype(np.float32))
        reader = Given(rows[0].size)
    student = Student(reader, options.hidden, options.dropout)
    train(student, rows, targets, torch.tensor(teacher["embedding"]), split, options.output, options)
    if options.embeddings is None:
        ids = torch.tensor([[CLS, 2000, SEP], [CLS, 2001, SEP]])
        inputs = dict(zip(INPUTS, (ids, torch.ones_like(ids)), strict=True))
        export._export(Routed(student, mean, scale), inputs, OUTPUTS, options.output / "static.onnx")
        found = run_graph(options.output / "static.onnx", rows)
    else:
        targets, embedding = foreseen(student, rows)
        found = [*np.split(targets.numpy() * scale + mean, [N_DEMANDS, 17, 18], axis=1), embedding.numpy()]
    write_features(options, texts, dict(zip(OUTPUTS, found, strict=True)))
    if options.into is not None:
        put_into(PredictorFolder(options.into), options.output / "static.onnx")


class Routed(nn.Module):
    """The student as routing asks it: vectors of 8 bits, targets in the units of the teacher."""

    def __init__(self, student: Student, mean: np.ndarray, scale: np.ndarray) -> None:
        super().__init__()
        reader = student.reader
        self.head, self.targets, self.embedding = student.head, student.targets, student.embedding
        self.register_buffer("weights", functional.softplus(reader.weights.detach()))
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("scale", torch.tensor(scale))
        for name, table in (("words", reader.words.detach()), ("pairs", reader.pairs.detach())):
            steps = table.abs().amax(dim=1) / 127 + 1e-12
            self.register_buffer(name, torch.round(table / steps[:, None]).to(torch.int8))
            self.register_buffer(f"{name}_steps", steps)

    def forward(self, prompt_ids: torch.Tensor, prompt_mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
        mask = prompt_mask.float()
        weights = self.weights[prompt_ids] * mask
        total = weights.sum(dim=1, keepdim=True) + 1e-6
        buckets = (prompt_ids * FIRST + functional.pad(prompt_ids[:, 1:], (0, 1)) * SECOND) % N_PAIRS
        words = self._sum(self.words, self.words_steps, prompt_ids, weights)
        pairs = self._sum(self.pairs, self.pairs_steps, buckets, weights * functional.pad(mask[:, 1:], (0, 1)))
        length = torch.log(mask.sum(dim=1, keepdim=True)) / 3 - 1
        hidden = self.head(torch.cat([words / total, pairs / total, length], dim=1))
        found = self.targets(hidden) * self.scale + self.mean
        scalars = (found[:, N_DEMANDS + k] for k in range(len(SCALARS)))
        return found[:, :N_DEMANDS], *scalars, functional.normalize(self.embedding(hidden), dim=1)

    @staticmethod
    def _sum(table: torch.Tensor, steps: torch.Tensor, ids: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        return ((weights * steps[ids])[:, None] @ table[ids].float())[:, 0]


def run_graph(path: Path, rows: list[np.ndarray]) -> list[np.ndarray]:
    """What the graph gives, prompt by prompt, as routing asks it."""
    session = Session(path, n_threads=1)
    found = [session.run(OUTPUTS, {INPUTS[0]: row[None], INPUTS[1]: np.ones_like(row[None])}) for row in rows]
    return [np.concatenate(parts) for parts in zip(*found, strict=True)]


def put_into(folder: PredictorFolder, graph: Path, backend: str = "static") -> None:
    """Gives a saved predictor the graph that a backend runs, and which its profiles fit from now on."""
    config, pool, record = folder.read_config(), folder.read_pool(), folder.read_json(folder.catalogue)
    name = WEIGHTS[backend]
    before = config.files.get(name)
    shutil.copyfile(graph, folder.path / name)
    record["weights"] = [each for each in record["weights"] if before is None or each != before.sha256]
    record["weights"].append(record_file(folder.path / name).sha256)
    write_text(folder.catalogue, json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
    folder.write(config, pool)


def write_features(options: argparse.Namespace, texts: list[str], found: dict[str, np.ndarray]) -> None:
    """What the student foresees of the open corpus, as `features.py` writes it of a network."""
    place = {text: row for row, text in enumerate(texts)}
    table = pq.read_table(options.data / "openpool_prompts.parquet", columns=["prompt_id", "prompt"]).to_pydict()
    rows = np.array([place[text] for text in table["prompt"]])
    axes = {name: (len(rows), -1) if name in (OUTPUTS[0], OUTPUTS[4]) else (len(rows),) for name in OUTPUTS}
    fields = {name: found[name][rows].astype(np.float32).reshape(axes[name]) for name in OUTPUTS}
    np.savez(options.output / "features.npz", prompt_ids=np.array(table["prompt_id"]), **fields)


if __name__ == "__main__":
    main()
