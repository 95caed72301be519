"""Fits the weights by which a question of a conversation is told to begin a topic or to go on with one.

Of the dialogues' parts that weights may be set on, every question of the user after a first one that says something
counts. Ten folds over dialogues say how well it works; the printed weights are of all of them. The offset makes a
chance of one half of what the fitted model gives `--even`, a little above the share of changes among the questions.

    python benchmarks/fit_conversations.py tests/data/dialogues.jsonl tests/data/dialogues_unseen.jsonl
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold

from lookahead_router.prompts.followups import Talk, has_matter

PARTS = ("tune", "more", "held", "unseen")
N_FOLDS = 10
PENALTY = 0.3
"""Inverse of its weight."""


def questions(dialogues: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`(n, 5)` features, `(n,)` whether a topic begins, `(n,)` the dialogues."""
    features, begins, groups = [], [], []
    for dialogue in dialogues:
        turns: list[tuple[bool, str]] = []
        for message in dialogue["messages"]:
            text, right = message["content"], message.get("right")
            is_users = message["role"] == "user" and "name" not in message
            if message["role"] == "tool" or text.startswith("Observation"):
                continue
            talk = Talk(turns)
            if is_users and right in ("stay", "leave") and talk.first < len(turns) and has_matter(text):
                features.append(talk.features(text, len(turns)))
                begins.append(right == "leave")
                groups.append(dialogue["id"])
            turns = [*turns, (is_users, text)]
    return np.array(features), np.array(begins), np.array(groups)


def fitted(features: np.ndarray, begins: np.ndarray) -> tuple[np.ndarray, float]:
    """`(5,)` weights and the offset."""
    scale = features.std(axis=0)  # so that the penalty is fair
    model = LogisticRegression(C=PENALTY, max_iter=2000).fit(features / scale, begins)
    return model.coef_[0] / scale, float(model.intercept_[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("dialogues", type=Path, nargs="+", help="JSONL with half and messages.")
    parser.add_argument("--half", nargs="+", default=PARTS, help="Parts to fit on.")
    parser.add_argument("--even", type=float, default=0.28, help="What becomes a chance of one half, in (0, 1).")
    arguments = parser.parse_args()
    texts = [path.read_text(encoding="utf-8") for path in arguments.dialogues]
    lines = [json.loads(line) for text in texts for line in text.splitlines()]
    features, begins, groups = questions([line for line in lines if line["half"] in arguments.half])
    even = float(np.log(arguments.even / (1 - arguments.even)))
    odds = np.empty(len(begins))
    for rest, fold in GroupKFold(N_FOLDS).split(features, groups=groups):
        weights, offset = fitted(features[rest], begins[rest])
        odds[fold] = features[fold] @ weights + offset - even
    print(f"{len(begins)} questions that say something, {begins.sum()} of them changes of topic")
    wrong = (odds[~begins] >= 0).mean(), (odds[begins] < 0).mean()
    print(f"out of fold: area {roc_auc_score(begins, odds):.3f}")
    print(f"  follow-ups taken for changes {wrong[0]:.1%}, changes taken for follow-ups {wrong[1]:.1%}")
    weights, offset = fitted(features, begins)
    print(f"weights {', '.join(f'{weight:.2f}' for weight in weights)}; offset {offset - even:.2f}")


if __name__ == "__main__":
    main()
