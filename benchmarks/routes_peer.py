"""semantic-router on the examples and utterances that `benchmarks/routes.py` hands over; runs in its environment.

Standard input: one JSON object a line, with `folder` (of `vectors.npy`, a row a text), `routes` (`{name: rows}`), `fit`
(`[[row, name or null], ...]`) and `asked` (rows). Standard output: one JSON object a line, with `top`, `score` and
`route` of each utterance asked: its best route and that one's score, and what it chose once calibrated.
"""

import json
import sys

import numpy as np
from semantic_router.encoders import DenseEncoder
from semantic_router.route import Route
from semantic_router.routers import IndexedRouter

VECTORS: dict[str, np.ndarray] = {}


class Rows(DenseEncoder):
    """Texts are the numbers of rows, whose embeddings the project's encoder has made."""

    name: str = "rows"
    folder: str = ""

    def __call__(self, docs):
        return VECTORS[self.folder][[int(doc) for doc in docs]].tolist()


def answer(task: dict) -> dict:
    folder = task["folder"]
    if folder not in VECTORS:
        VECTORS[folder] = np.load(f"{folder}/vectors.npy")
    routes = [Route(name=name, utterances=[str(row) for row in rows]) for name, rows in task["routes"].items()]
    router = IndexedRouter(encoder=Rows(folder=folder), routes=routes)
    asked = [str(row) for row in task["asked"]]
    best = [router(row) for row in asked]
    rows, labels = zip(*task["fit"], strict=True)
    router.fit([str(row) for row in rows], list(labels))
    router.confidence_threshold = 0.5
    chosen = [router(row).name for row in asked]
    return {"top": [each.name for each in best], "score": [each.confidence for each in best], "route": chosen}


for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
