"""Fits the weights by which a question of a conversation is told to begin a topic or to go on with one.

Of the dialogues' parts that weights may be set on, every question of the user after a first one that says something
counts. Ten folds over dialogues say how well it works; the printed weights are of all of them. The offset makes a
chance of one half of what the fitted model gives `--even`, a little above the share of changes among the questions.

    python benchmarks/fit_conversations.py tests/data/dialogues.jsonl tests/data/dialogues_unseen.jsonl \
        [--everyday tests/data/everyday.jsonl]

With everyday prompts it also says how many of them, put behind each other at random, are read as going on with the one
before, by the weights that the package has; how many choices that changes, and to how much worse ones, as foreseen for
the prompt alone; and how many follow-ups are read alone.
"""

import argparse
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold

from lookahead_router import Router
from lookahead_router.prompts.followups import Talk, has_matter
from lookahead_router.prompts.reading import read_request

POOLS = (
    ("qwen2.5-coder-7b-instruct", "mathstral-7b", "internlm2.5-20b-chat"),
    ("gpt-4o", "gpt-4o-mini", "claude-sonnet-4", "gemini-2.5-pro", "llama-3.1-8b-instruct"),
)
PARTS = ("tune", "more", "held", "unseen")
N_FOLDS = 10
PENALTY = 0.3
"""Inverse of its weight."""


def is_users(message: Mapping[str, Any]) -> bool:
    """Whether the user said it, and no other agent."""
    return message["role"] == "user" and "name" not in message


def asked(dialogue: Mapping[str, Any]) -> Iterator[tuple[list[Mapping[str, Any]], Mapping[str, Any]]]:
    """The labelled questions that say anything, each behind what was said before; tools say nothing."""
    said: list[Mapping[str, Any]] = []
    for message in dialogue["messages"]:
        if message["role"] == "tool" or message["content"].startswith("Observation"):
            continue
        if is_users(message) and message.get("right") in ("stay", "leave") and has_matter(message["content"]):
            yield said, message
        said = [*said, message]


def questions(dialogues: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`(n, 5)` features, `(n,)` whether a topic begins, `(n,)` the dialogues."""
    features, begins, groups = [], [], []
    for dialogue in dialogues:
        for said, message in asked(dialogue):
            talk = Talk([(is_users(each), each["content"]) for each in said])
            if talk.first < len(said):
                features.append(talk.features(message["content"], len(said)))
                begins.append(message["right"] == "leave")
                groups.append(dialogue["id"])
    return np.array(features), np.array(begins), np.array(groups)


def fitted(features: np.ndarray, begins: np.ndarray) -> tuple[np.ndarray, float]:
    """`(5,)` weights and the offset."""
    scale = features.std(axis=0)  # so that the penalty is fair
    model = LogisticRegression(C=PENALTY, max_iter=2000).fit(features / scale, begins)
    return model.coef_[0] / scale, float(model.intercept_[0])


def strung(prompts: Sequence[str], n: int = 600) -> list[dict[str, Any]]:
    """Dialogues of two to four prompts that have nothing to do with each other."""
    draw = random.Random(0)
    return [
        {
            "messages": [
                message
                for prompt in draw.sample(prompts, draw.randint(2, 4))
                for message in (
                    {"role": "user", "content": prompt, "right": "leave"},
                    {"role": "assistant", "content": "Here is what I would do. " * draw.randint(0, 20) + "Done."},
                )
            ]
        }
        for _ in range(n)
    ]


def read(dialogues: Sequence[Mapping[str, Any]], right: str) -> list[tuple[str, str]]:
    """Questions of the users, after a first one and with the label, and what is routed for each."""
    found = []
    for dialogue in dialogues:
        for said, message in asked(dialogue):
            if said and message["right"] == right:
                turns = [{"role": each["role"], "content": each["content"]} for each in (*said, message)]
                found.append((message["content"].strip(), read_request(turns).text.strip()))
    return found


def alone(routed: Sequence[tuple[str, str]]) -> float:
    """Share of which nothing but the question is routed."""
    return float(np.mean([len(text) <= len(question) for question, text in routed]))


def costs(routed: Sequence[tuple[str, str]], candidates: Sequence[str]) -> tuple[float, float]:
    """Share of choices that are others than for the question alone, and of those that are worse by more than 0.02."""
    router = Router.from_pretrained(candidates=candidates)
    questions, texts = ([pair[k] for pair in routed] for k in (0, 1))
    chances = np.array(router.predict(questions).probabilities)
    found = (np.array(router.predict(each).probabilities).argmax(axis=1) for each in (questions, texts))
    ours, theirs = (np.take_along_axis(chances, each[:, None], axis=1)[:, 0] for each in found)
    return float((ours != theirs).mean()), float((ours - theirs > 0.02).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("dialogues", type=Path, nargs="+", help="JSONL with half and messages.")
    parser.add_argument("--half", nargs="+", default=PARTS, help="Parts to fit on.")
    parser.add_argument("--even", type=float, default=0.28, help="What becomes a chance of one half, in (0, 1).")
    parser.add_argument("--everyday", type=Path, help="JSONL of prompts that have nothing to do with each other.")
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
    if arguments.everyday is not None:
        prompts = [json.loads(line)["prompt"] for line in arguments.everyday.read_text(encoding="utf-8").splitlines()]
        dialogues = [line for line in lines if line["half"] in arguments.half]
        unrelated = read(strung([prompt for prompt in prompts if has_matter(prompt)]), "leave")
        print(f"unrelated everyday prompts read with those before {1 - alone(unrelated):.1%}")
        for names in POOLS:
            changed, worse = costs(unrelated, names)
            print(f"  {', '.join(names)}: another choice {changed:.1%}, a worse one {worse:.1%}")
        print(f"follow-ups of the dialogues read alone {alone(read(dialogues, 'stay')):.1%}")
    print(f"weights {', '.join(f'{weight:.2f}' for weight in weights)}; offset {offset - even:.2f}")


if __name__ == "__main__":
    main()
