"""One router at a time, as `peers.py` runs it in an environment of its own: nothing here imports another's packages.

    python peer_workers.py NAME SETTINGS.json [--cold]

It says that it is ready, then answers lines of standard input with lines of JSON: `one` with the milliseconds of every
prompt by itself, `batch` with prompts per second, `end` with the peak of its memory.
"""

import json
import re
import sys
import time
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


def nearest(embed: Callable[[Sequence[str]], object], settings: dict) -> Route:
    """The label that most of the 20 nearest known prompts have."""
    import numpy as np

    prompts, labels = zip(*settings["known"], strict=True)
    kinds = sorted(set(labels))
    numbers = np.array([kinds.index(label) for label in labels])

    def unit(vectors) -> np.ndarray:
        vectors = np.asarray(vectors)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    known = unit(embed(prompts))

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
    return nearest(lambda prompts: list(model.embed(prompts)), settings)


def model2vec_knn(settings: dict) -> Route:
    from model2vec import StaticModel

    model = StaticModel.from_pretrained(settings["static"])
    return nearest(lambda prompts: model.encode(list(prompts)), settings)


def semantic_router(settings: dict) -> Route:
    import torch
    from semantic_router import IndexedRouter
    from semantic_router import Route as Kind
    from semantic_router.encoders import HuggingFaceEncoder

    torch.set_num_threads(settings["threads"])
    by_label: dict[str, list[str]] = {}
    for prompt, label in settings["known"]:
        by_label.setdefault(label, []).append(prompt)
    kinds = [Kind(name=label, utterances=prompts[:20]) for label, prompts in by_label.items()]
    encoder = HuggingFaceEncoder(name=settings["encoder"])
    router = IndexedRouter(encoder=encoder, routes=kinds)
    return lambda prompts: [router(prompt) for prompt in prompts]


def routellm_bert(settings: dict) -> Route:
    """RouteLLM's classifier has the shape of xlm-roberta-base; its time does not depend on its weights, so these are
    fresh, and the tokenizer is the one at hand."""
    import torch
    from transformers import AutoTokenizer, XLMRobertaConfig, XLMRobertaForSequenceClassification

    torch.set_num_threads(settings["threads"])
    config = XLMRobertaConfig(vocab_size=250_002, max_position_embeddings=514, type_vocab_size=1, num_labels=3)
    model = XLMRobertaForSequenceClassification(config).eval()
    tokenizer = AutoTokenizer.from_pretrained(settings["encoder"])

    def route(prompts: Sequence[str]) -> None:
        for prompt in prompts:
            with torch.no_grad():
                model(**tokenizer(prompt, return_tensors="pt", padding=True, truncation=True, max_length=512))

    return route


def litellm_complexity(settings: dict) -> Route:
    from litellm.router_strategy.complexity_router.complexity_router import ComplexityRouter

    router = ComplexityRouter(model_name="auto", litellm_router_instance=None)
    return lambda prompts: [router.classify(prompt) for prompt in prompts]


WORKERS = {
    each.__name__: each
    for each in (
        ours, ours_among_50, plain_pass, plain_pass_as_exported, fastembed_knn, model2vec_knn, semantic_router,
        routellm_bert, litellm_complexity,
    )
}  # fmt: skip


def peak_mb() -> float:
    """Of this program alone: `ru_maxrss` begins with the peak of whoever started it."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024


def main() -> None:
    name, settings = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
    prompts = settings["prompts"]
    if "--cold" in sys.argv:
        WORKERS[name]({**settings, "known": settings["known"][:40]})(prompts[:1])
        return
    route = WORKERS[name](settings)
    for prompt in prompts[:5]:
        route([prompt])
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        if line.strip() == "one":
            times = []
            for prompt in prompts:
                start = time.perf_counter()
                route([prompt])
                times.append(1e3 * (time.perf_counter() - start))
            print(json.dumps(times), flush=True)
        elif line.strip() == "batch":
            start = time.perf_counter()
            route(prompts)
            print(json.dumps(len(prompts) / (time.perf_counter() - start)), flush=True)
        else:
            print(json.dumps(peak_mb()), flush=True)


if __name__ == "__main__":
    main()
