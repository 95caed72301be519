"""A classifier of questions with their retrieved passages: who needs them, and whom they help or mislead.

After RAGRouter (arXiv 2505.23052), whose signals it reads: the question, the passages, and how the two fit together.
Theirs are a fine-tuned encoder, a cross-encoder and a contrastive loss over vectors of each candidate. Here one frozen
embedder reads both, and each candidate has a logistic regression over both settings, with passages and without, so that
being right without them counts as well.
"""

import numpy as np
from pydantic import Field

from lookahead_router.predictors.fitted.classifier import Classifier, ClassifierSettings
from lookahead_router.prompts import Request


class DocumentsSettings(ClassifierSettings):
    """What `documents` can be told."""

    n_passages: int = Field(default=8, ge=1)
    """Passages of a prompt that are read: the first so many."""
    passage_characters: int = Field(default=2000, ge=100)
    """The beginning of a passage that is read."""


class Documents(Classifier):
    """Logistic regression of each candidate's score on the question, its best passage, and how well they fit."""

    kind = "documents"
    reads_context = True
    Settings = DocumentsSettings

    def _features(self, requests: list[Request]) -> np.ndarray:
        """`(n, 4 H + 4)`: question; passage, their product and difference, or zeros; and how near the passages are."""
        questions = super()._features(requests).astype(np.float64)
        n, width = questions.shape
        kept = [passages_read(request, self.settings) for request in requests]
        passages = [passage for row in kept for passage in row]
        found = self.embedder.embed(passages).astype(np.float64) if passages else np.zeros((0, width))
        features = np.zeros((n, 4 * width + 4))
        features[:, :width] = questions
        end = 0
        for row, own in enumerate(kept):
            start, end = end, end + len(own)
            if not own:
                continue
            question, near = questions[row], found[start:end] @ questions[row]
            best = found[start + int(np.argmax(near))]
            features[row, width : 4 * width] = np.concatenate([best, question * best, np.abs(question - best)])
            features[row, 4 * width :] = 1.0, near.max(), near.mean(), np.log1p(len(own))
        return features


def passages_read(request: Request, settings: DocumentsSettings | None = None) -> list[str]:
    """The beginnings of a request's passages that are embedded."""
    settings = settings or DocumentsSettings()
    kept = (passage[: settings.passage_characters].strip() for passage in request.passages)
    return [passage for passage in kept if passage][: settings.n_passages]
