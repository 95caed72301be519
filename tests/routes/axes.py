"""Routes of a world in which embeddings are plain: an axis for each topic, and one for all else."""

import numpy as np

from lookahead_router import Route, Routes

TOPICS = ("code", "law", "food")


class AxesEmbedder:
    """A text lies on the axis of the topic whose name it holds, with a little of its own; else on the last axis."""

    def __init__(self):
        self.n_texts = 0

    def embed(self, texts):
        self.n_texts += len(texts)
        rows = []
        for text in texts:
            row = np.zeros(len(TOPICS) + 3)
            row[next((k for k, topic in enumerate(TOPICS) if topic in text), len(TOPICS))] = 1.0
            row[len(TOPICS) + 1 + len(text) % 2] = 0.2
            rows.append(row / np.linalg.norm(row))
        return np.array(rows)


def route(topic, *candidates, n=6, **options):
    examples = [f"{topic} request {'x' * k}" for k in range(n)]
    return Route(
        name=topic, description=f"about {topic}", examples=examples, candidates=candidates or ("digits",), **options
    )


def routes(otherwise=None, threshold=None, **options):
    written = [route("code", "words", "lazy", **options), route("law", "lazy"), route("food", "digits", "lazy")]
    return Routes(written, otherwise, threshold)
