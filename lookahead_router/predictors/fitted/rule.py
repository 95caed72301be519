"""What a careful hand-written router does: tell the domain by keywords, then take who is best there."""

import re

import numpy as np
from pydantic import Field

from lookahead_router.predictors.fitted.base import Arrays, FittedPredictor, Settings, group_means

DOMAINS: dict[str, re.Pattern[str]] = {
    "code": re.compile(
        r"```|\bdef \w+\(|\bclass \w+[:({]|\bimport \w+|\breturn\b.*[;\n]|#include|\bassert \w+\(|"
        r"\b(python|javascript|java|sql|html|c\+\+|function|algorithm|regex|code|script|debug|compile[rs]?)\b",
        re.IGNORECASE,
    ),
    "mathematics": re.compile(
        r"\\(boxed|frac|sqrt|sum|int)\b|\$[^$]+\$|\d\s*[-+*/^=]\s*\d|"
        r"\b(calculate|compute|solve|equation|integer|probability|polynomial|triangle|theorem|prove|percent)\b|"
        r"\bhow (many|much)\b",
        re.IGNORECASE,
    ),
    # Nothing here may backtrack over lines: some prompts are all blank ones.
    "choice": re.compile(r"^[ \t]*\(?[A-J][.):]\s[\s\S]*?^[ \t]*\(?[B-J][.):]\s", re.MULTILINE),
    "writing": re.compile(
        r"\b(write|draft|compose|rewrite|summari[sz]e|translate|e-?mail|essay|story|poem|blog|letter|article|role)\b",
        re.IGNORECASE,
    ),
}
"""The first pattern that is found decides; none, and the prompt is a general question."""


class RuleSettings(Settings):
    """What `rule` can be told."""

    prior_prompts: float = Field(default=10.0, gt=0)
    """A small domain's means are drawn to those of all prompts, as by so many more prompts."""


class Rule(FittedPredictor):
    """Mean training score of each candidate in the prompt's domain, which keywords tell."""

    kind = "rule"
    is_random = False
    reads_embeddings = False
    Settings = RuleSettings

    def _fit(self, features: list[str], scores: np.ndarray) -> Arrays:
        groups = np.array([_domain(text) for text in features])
        return {"means": group_means(groups, len(DOMAINS) + 1, scores, prior_prompts=self.settings.prior_prompts)}

    def _predict(self, features: list[str], arrays: Arrays) -> np.ndarray:
        return arrays["means"][[_domain(text) for text in features]]


def _domain(text: str) -> int:
    head = text[:8000]  # more tells no more, and patterns take time
    return next((row for row, pattern in enumerate(DOMAINS.values()) if pattern.search(head)), len(DOMAINS))
