"""Writes files of every format as this version does, with what it reads from them, for later versions to read.

    python tests/data/upgrades/make.py [--add]

They go to a folder named after the version, beside this script, and are committed with its release. Everything is
small: networks of a few weights, and a handful of prompts. With --add what the folder has stays as it is, and only what
it lacks is added.
"""

import argparse
import json
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from tokenizers import processors
from transformers import BertModel, LlamaForCausalLM, PreTrainedTokenizerFast

HERE = Path(__file__).parent
TESTS = HERE.parents[1]
sys.path.insert(0, str(TESTS))

import conftest  # noqa: E402
import upgrades_reading as reading  # noqa: E402
from predictors.open_folder import make_graph, write_open_folder  # noqa: E402
from predictors.open_world import WIDTH  # noqa: E402
from servers.router_server import World, until  # noqa: E402

from lookahead_router import LookaheadPredictor, OpenPoolPredictor, RoutingDataset, __version__  # noqa: E402
from lookahead_router.backends.export import export_encoder  # noqa: E402
from lookahead_router.evaluation.decisions import read_decisions  # noqa: E402
from lookahead_router.live import JudgeConfig, collect, judge  # noqa: E402
from lookahead_router.predictors.code_reading import CodeReading  # noqa: E402
from lookahead_router.predictors.embedder import Embedder  # noqa: E402
from lookahead_router.predictors.export import export_predictor  # noqa: E402
from lookahead_router.predictors.fitted import FITTED, fitted_class  # noqa: E402
from lookahead_router.predictors.network_embedder import NetworkEmbedder  # noqa: E402
from lookahead_router.server.keys import new_key  # noqa: E402
from lookahead_router.training import fit  # noqa: E402

SETTINGS = {"knn": {"n_neighbors": 5}, "clusters": {"n_clusters": 4}, "irt": {"n_epochs": 2},
            "uniroute": {"n_clusters": 4, "n_epochs": 2}}  # fmt: skip
QUESTIONS = [
    {"prompt": f"What is {n} + {n + 1}?", "reference": str(2 * n + 1), "reference_kind": "number"} for n in range(4)
]
POOL_FILE = """\
candidates:
  - name: gpt-4o-2024-08-06
    base_url: https://api.example.com/v1
    api_key_env: EXAMPLE_KEY
    input_price: 2.5
    output_price: 10
  - name: local
    model: llama-3.1-8b-instruct
    base_url: http://localhost:8000/v1
    profile: llama-3.1-8b-instruct
    input_price: 0.1
    output_price: 0.2
    parameters: {temperature: 0}
"""
WHOLE_POOL_FILE = """\
router: my-router
quality: 0.95
candidates:
  - name: strong
    base_url: https://api.example.com/v1
    input_price: 2.5
    output_price: 10
    context_window: 128000
    capabilities: [tools, images]
    timeout: 60
  - name: local
    base_url: http://localhost:8000/v1
    profile: llama-3.1-8b-instruct
    input_price: 0
    output_price: 0
    system_prompt: Be brief.
    max_concurrency: 2
    local: true
routes:
  routes:
    - name: contracts
      description: Contracts and clauses
      examples: ["What is the notice period?", Summarise the liability clause]
      candidates: [strong]
      order: listed
      strict: false
  otherwise: [local]
  threshold: 0.5
privacy: {kinds: [e-mail address, IBAN], attachments: true}
cascade:
  checks:
    - refusal
    - name: confidence
      minimum: 0.8
      reliability: {passes_right: 0.8, passes_wrong: 0.3}
  score_per_usd: 50
  max_calls: 2
  order: [local, strong]
"""
JUDGE_FILE = """\
reference: number
judges:
  - name: gpt-4o-2024-08-06
    base_url: https://api.example.com/v1
    parameters: {temperature: 0, max_tokens: 500}
method: rating
rubric: |
  - It is correct.
"""


def write_backbone(folder: Path) -> Path:
    """A tiny pretrained encoder with its tokenizer, as on the Hub."""
    torch.manual_seed(0)
    BertModel(conftest.bert_config(hidden_size=16, intermediate_size=32, num_hidden_layers=1)).save_pretrained(folder)
    special = {f"{name}_token": f"[{name.upper()}]" for name in ("cls", "sep", "pad", "unk", "mask")}
    PreTrainedTokenizerFast(tokenizer_object=conftest.make_tokenizer(), **special).save_pretrained(folder)
    return folder


def write_causal_backbone(folder: Path) -> Path:
    """A tiny pretrained decoder with its tokenizer."""
    torch.manual_seed(0)
    config = conftest.llama_config(hidden_size=16, intermediate_size=32, num_hidden_layers=1)
    LlamaForCausalLM(config).save_pretrained(folder)
    special = {"pad_token": "[PAD]", "eos_token": "[SEP]", "unk_token": "[UNK]"}
    PreTrainedTokenizerFast(tokenizer_object=conftest.make_tokenizer(), **special).save_pretrained(folder)
    return folder


def write_encoder(folder: Path, backbone: Path) -> None:
    """The same as sentence-transformers saves one, with its graph."""
    (folder / "1_Pooling").mkdir(parents=True)
    shutil.copy(backbone / "config.json", folder)
    tokenizer = conftest.make_tokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    modes = {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 16, **modes}))
    export_encoder(backbone, folder / "onnx" / "model.onnx")


def write_networks(folder: Path, work: Path, dataset: RoutingDataset) -> None:
    """A run of each network for a fixed pool, and its predictor with weights for torch and ONNX."""
    backbone = write_backbone(work / "backbone")
    recipe = conftest.toy_recipe(n_epochs=1)
    (folder / "recipes").mkdir()
    (folder / "recipes" / "toy.yaml").write_text(recipe.to_yaml())
    for recipe_file in sorted((TESTS.parent / "recipes").glob("*.yaml")):
        shutil.copy(recipe_file, folder / "recipes")
    causal = conftest.changed(recipe, network={"variant": "clm", "mid_tokens": "<MID_{index}>"})
    for kind, each, start in (("mlm", recipe, backbone), ("clm", causal, write_causal_backbone(work / "decoder"))):
        fit(dataset, each, work / kind, backbone=start, show_progress=False)
        export_predictor(work / kind / "predictor", dataset.prompts)
        LookaheadPredictor.load(work / kind / "predictor").save(folder / "predictors" / f"lookahead-{kind}")


def write_open(folder: Path, dataset: RoutingDataset) -> OpenPoolPredictor:
    """A predictor for any pool, as it is saved after it has learnt from answers."""
    predictor = OpenPoolPredictor.load(write_open_folder(folder / "predictors" / "open-pool"))
    windows = {"gpt-5": 400_000, "llama-3.1-8b-instruct": 131_072}
    write_open_folder(folder / "predictors" / "open-pool-static", static=make_graph(seed=1), windows=windows)
    code = CodeReading(np.linspace(-1, 1, WIDTH), np.linspace(1, -1, 12), 0.25)
    options = {"static": make_graph(seed=1), "windows": windows, "code": code}
    write_open_folder(folder / "predictors" / "open-pool-code", **options)
    write_open_folder(folder / "predictors" / "open-pool-ordinary", **options, n_ordinary=8)
    names = dict(zip(dataset.pool.names, predictor.pool.names, strict=True))
    predictor.onboard(dataset.rename(names)).save(folder / "predictors" / "open-pool-learnt")
    return predictor


def write_fitted(folder: Path, work: Path, dataset: RoutingDataset, network: OpenPoolPredictor) -> None:
    """Every kind that is fitted, over the network's embeddings; one over a sentence encoder's."""
    for kind in FITTED:
        cls = fitted_class(kind)
        given = {"embedder": NetworkEmbedder(network)} if cls.reads_embeddings else {}
        predictor = cls(seed=0, **given, **SETTINGS.get(kind, {})).fit(dataset.filter(split="train"))
        predictor.fit_calibration(dataset.filter(split="validation"))
        predictor.save(folder / "predictors" / kind)
    write_encoder(folder / "encoder", work / "backbone")
    knn = fitted_class("knn")(embedder=Embedder.load(folder / "encoder"), n_neighbors=5)
    saved = folder / "predictors" / "knn-sentences"
    knn.fit(dataset.filter(split="train")).save(saved)
    config = saved / "config.json"
    config.write_text(config.read_text().replace(str(folder / "encoder"), "encoder"))  # not where this machine has it


def write_data(folder: Path, dataset: RoutingDataset) -> None:
    """Datasets, what was collected and judged, settings, and a server's log."""
    small = dataset.select(range(12))
    small.to_parquet(folder / "dataset.parquet")
    small.to_jsonl(folder / "dataset.jsonl")
    (folder / "prompts.jsonl").write_text("".join(json.dumps(each) + "\n" for each in QUESTIONS))
    models = {"adds": lambda prompt: str(eval(prompt[8:-1])), "guesses": lambda prompt: "It is 5."}
    collect(folder / "prompts.jsonl", models, output=folder / "answers.jsonl")
    judge(folder / "answers.jsonl", "number", output=folder / "scored.jsonl")
    rating = JudgeConfig(judges=({"name": "rates"},), again=0)
    judge(folder / "answers.jsonl", rating, output=folder / "rated.jsonl", models={"rates": lambda prompt: "Rating: 7"})
    (folder / "pool.yaml").write_text(POOL_FILE)
    (folder / "pool-whole.yaml").write_text(WHOLE_POOL_FILE)
    (folder / "judge.yaml").write_text(JUDGE_FILE)
    new_key(folder / "keys.json", "alice", requests_per_minute=60, budget_usd=20.0, period="day")
    for log in ("decisions.jsonl", "decisions.sqlite"):
        write_log(folder / log)


def write_log(log: Path) -> None:
    """Decisions of a server and what was told of their answers."""
    with ExitStack() as stack, tempfile.TemporaryDirectory() as place:
        world = World(stack, Path(place), "--decisions", str(log))
        for n in range(4):
            answer = world.server.chat(f"What is {n} + {n}?")
            world.server.client.post(
                "/v1/feedback", json={"decision_id": answer.headers["x-lookahead-decision-id"], "score": 1.0}
            )
        until(lambda: log.exists() and len(read_decisions(log)) == 8)


def write(folder: Path) -> None:
    """Files of all formats, in a folder that is not there yet."""
    (folder / "predictors").mkdir(parents=True)
    dataset = conftest.toy_dataset()
    with tempfile.TemporaryDirectory() as work:
        write_networks(folder, Path(work), dataset)
        write_fitted(folder, Path(work), dataset, write_open(folder, dataset))
    write_data(folder, dataset)
    for lock in folder.glob(".*.lock"):
        lock.unlink()


def add(there: Path, new: Path) -> None:
    """Moves what is lacking; a predictor's folder is there or lacking as a whole."""
    for path in sorted([*new.iterdir(), *(new / "predictors").iterdir(), *(new / "recipes").iterdir()]):
        place = there / path.relative_to(new)
        if not place.exists():
            shutil.move(path, place)


def main() -> None:
    """Writes the folder of this version anew, or adds to it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--add", action="store_true", help="leave what is there")
    folder = HERE / __version__
    if not parser.parse_args().add:
        shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory() as work:
        write(Path(work) / "files")
        folder.mkdir(exist_ok=True)
        add(folder, Path(work) / "files")
    expected = {
        "predictions": {path.name: reading.predicted(path) for path in sorted((folder / "predictors").iterdir())},
        "files": reading.read_files(folder),
    }
    if (folder / "expected.json").exists():  # what was read from what is there stays as it was
        then = json.loads((folder / "expected.json").read_text())
        recipes = {**expected["files"]["recipes"], **then["files"]["recipes"]}
        expected = {part: {**found, **then[part]} for part, found in expected.items()}
        expected["files"]["recipes"] = recipes
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{folder}: {len(expected['predictions'])} predictors, {size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
