"""One router at a time, as `peers.py` runs it in an environment of its own: nothing here imports another's packages.

    python peer_workers.py NAME SETTINGS.json [--cold]

It says that it is ready, then answers lines of standard input with lines of JSON: `one FIRST SECONDS` with the
milliseconds of every prompt by itself, from the FIRST on and round about, as many as SECONDS allow; `batch` with
prompts per second of all at one time; `memory` with its peak.
"""

import json
import re
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

Route = Callable[[Sequence[str]], object]


def ours(settings: dict, n_candidates: int = 5) -> Route:
    from lookahead_router import Router

    names = settings["candidates"][:n_candidates]
    router = Router.from_pretrained(candidates=names, n_threads=settings["threads"])
    return lambda prompts: router.route(prompts[0]) if len(prompts) == 1 else router.route_batch(prompts)


def ours_among_50(settings: dict) -> Route:
    return ours(settings, 50)


def plain_pass(settings: dict, graph: str = "floor.onnx") -> Route:
    """The encoder alone, tokenisation included: the floor of whatever reads a prompt with it."""
    import numpy as np
    import onnxruntime
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(settings["encoder"] + "/tokenizer.json")
    tokenizer.no_padding()
    tokenizer.enable_truncation(settings["window"])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings["threads"]
    session = onnxruntime.InferenceSession(settings["encoder"] + "/" + graph, options)

    def route(prompts: Sequence[str]) -> None:
        for prompt in prompts:  # one by one: padding in batches costs more than it saves
            ids = np.array([tokenizer.encode(prompt).ids])
            session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})

    return route


def plain_pass_as_exported(settings: dict) -> Route:
    return plain_pass(settings, "floor_as_exported.onnx")


def nearest(embed: Callable[[Sequence[str]], object], settings: dict, name: str) -> Route:
    """The label that most of the 20 nearest known prompts have, whose vectors are kept as `name`."""
    import numpy as np

    prompts, labels = zip(*settings["known"], strict=True)
    kinds = sorted(set(labels))
    numbers = np.array([kinds.index(label) for label in labels])

    def unit(vectors) -> np.ndarray:
        vectors = np.asarray(vectors)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    kept = Path(settings["folder"]) / f"{name}-{zlib.crc32(repr(prompts).encode()):08x}.npy"
    if not kept.exists():
        np.save(kept, unit(embed(prompts)))
    known = np.load(kept)

    def route(asked: Sequence[str]) -> list[str]:
        near = np.argpartition(-(unit(embed(asked)) @ known.T), 20, axis=1)[:, :20]
        return [kinds[np.bincount(numbers[row]).argmax()] for row in near]

    return route


def fastembed_knn(settings: dict) -> Route:
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    TextEmbedding.add_custom_model(
        model="minilm-here",
        pooling=PoolingType.MEAN,
        normalization=True,
        sources=ModelSource(hf="minilm-here"),
        dim=384,
        model_file="model.onnx",
    )
    model = TextEmbedding("minilm-here", specific_model_path=settings["encoder"], threads=settings["threads"])
    # One by one, as the plain passes go: batches are padded to the longest of 256, which takes several times as long.
    return nearest(lambda prompts: list(model.embed(prompts, batch_size=1)), settings, "fastembed")


def model2vec_knn(settings: dict) -> Route:
    from model2vec import StaticModel

    model = StaticModel.from_pretrained(settings["static"])
    return nearest(lambda prompts: model.encode(list(prompts)), settings, "model2vec")


def semantic_router(settings: dict) -> Route:
    """Among 40 known prompts, which it embeds anew at every start."""
    import torch
    from semantic_router import IndexedRouter
    from semantic_router import Route as Kind
    from semantic_router.encoders import HuggingFaceEncoder

    torch.set_num_threads(settings["threads"])
    by_label: dict[str, list[str]] = {}
    for prompt, label in settings["known"][:40]:
        by_label.setdefault(label, []).append(prompt)
    kinds = [Kind(name=label, utterances=prompts) for label, prompts in by_label.items()]
    encoder = HuggingFaceEncoder(name=settings["encoder"])
    router = IndexedRouter(encoder=encoder, routes=kinds)
    return lambda prompts: [router(prompt) for prompt in prompts]


def routellm_bert(settings: dict) -> Route:
    """RouteLLM's classifier, an XLM-RoBERTa of base size, with fresh weights: its time does not depend on them."""
    import torch
    from routellm.routers.routers import BERTRouter

    torch.set_num_threads(settings["threads"])
    router = BERTRouter(settings["bert"])
    return lambda prompts: [router.calculate_strong_win_rate(prompt) for prompt in prompts]


def llmrouter_knn(settings: dict) -> Route:
    """LLMRouter's kNN on a Longformer with fresh weights, among 40 known prompts, each of which takes it long."""
    import torch
    from llmrouter.models.knnrouter.router import KNNRouter
    from llmrouter.utils import embeddings, save_model
    from sklearn.neighbors import KNeighborsClassifier

    torch.set_num_threads(settings["threads"])
    embeddings._MODEL_NAME = settings["longformer"]
    prompts, labels = zip(*settings["known"][:40], strict=True)
    kept = Path(settings["folder"]) / f"longformer-{zlib.crc32(repr(prompts).encode()):08x}.pkl"
    if not kept.exists():
        vectors = [embeddings.get_longformer_embedding(prompt).numpy() for prompt in prompts]
        save_model(KNeighborsClassifier(20).fit(vectors, labels), str(kept))
    router = KNNRouter.__new__(KNNRouter)  # without the tables that its own training reads
    vars(router)["cfg"] = {"model_path": {"load_model_path": str(kept)}}
    return lambda prompts: [router.route_single({"query": prompt}) for prompt in prompts]


def litellm_complexity(settings: dict) -> Route:
    from litellm.router_strategy.complexity_router.complexity_router import ComplexityRouter

    router = ComplexityRouter(model_name="auto", litellm_router_instance=None)
    return lambda prompts: [router.classify(prompt) for prompt in prompts]


WORKERS = {
    each.__name__: each
    for each in (
        ours, ours_among_50, plain_pass, plain_pass_as_exported, fastembed_knn, model2vec_knn, semantic_router,
        routellm_bert, llmrouter_knn, litellm_complexity,
    )
}  # fmt: skip


def peak_mb() -> float:
    """Of this program alone: `ru_maxrss` begins with the peak of whoever started it."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024


def main() -> None:
    name, settings = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
    told, sys.stdout = sys.stdout, sys.stderr  # some routers print
    prompts = settings["prompts"]
    if "--cold" in sys.argv:
        WORKERS[name](settings)(prompts[:1])
        return
    route = WORKERS[name](settings)
    for prompt in prompts[:5]:
        route([prompt])
    print(json.dumps("ready"), file=told, flush=True)
    for line in sys.stdin:
        what, *numbers = line.split()
        if what == "one":
            found = one(route, prompts, int(numbers[0]), float(numbers[1]))
        else:
            found = batch(route, prompts) if what == "batch" else peak_mb()
        print(json.dumps(found), file=told, flush=True)


def one(route: Route, prompts: list[str], first: int, seconds: float) -> list[float]:
    times, end = [], time.perf_counter() + seconds
    for number in range(first, first + len(prompts)):
        start = time.perf_counter()
        if start > end:
            break
        route([prompts[number % len(prompts)]])
        times.append(1e3 * (time.perf_counter() - start))
    return times


def batch(route: Route, prompts: list[str]) -> float:
    start = time.perf_counter()
    route(prompts)
    return len(prompts) / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
