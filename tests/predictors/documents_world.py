"""A world whose truth is known: who reads, who knows without reading, and who knows half and is never misled.

The reader is right with a passage that fits, the one who knows everything where there is none, since any other misleads
it, and the steady one on half of the topics, whatever lies beside the question.
"""

import hashlib

import numpy as np

from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.data.examples import Outcome, RoutingExample

NAMES = ("reader", "knower", "steady")
TOPICS = ("rivers", "painters", "metals", "birds", "bridges", "operas")
KINDS = ("fits", "nothing", "other")
WIDTH = 512


class Words:
    """Unit embeddings by hashed words: texts that share words are near. Each word is embedded alike everywhere."""

    location, fingerprint, cache = "words", "words-1", None

    def embed(self, texts):
        found = np.zeros((len(texts), WIDTH), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().split():
                found[row, int(hashlib.md5(word.encode()).hexdigest(), 16) % WIDTH] += 1.0
        return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)


def outcomes_of(kind, topic):
    is_right = {"reader": kind == "fits", "knower": kind == "nothing", "steady": TOPICS.index(topic) % 2 == 0}
    return {name: Outcome(score=float(is_right[name])) for name in NAMES}


def passage(topic, thing, detail):
    return f"the {topic} called {thing} were first described in {detail} by a clerk"


def world(n, seed):
    """`n` questions in equal parts with a passage that fits, without any, and with one about something else."""
    draw = np.random.default_rng(seed)
    examples = []
    for row in range(n):
        kind, topic = KINDS[row % 3], str(draw.choice(TOPICS))
        thing, other, year = (f"{word}{draw.integers(10**6)}" for word in ("item", "thing", "year"))
        given = {"fits": (passage(topic, thing, year),), "nothing": (), "other": (passage("stones", other, year),)}
        question = f"who described the {topic} called {thing} ?"
        examples.append(RoutingExample(question, outcomes_of(kind, topic), id=str(row), context=given[kind]))
    return RoutingDataset.from_examples(examples)
