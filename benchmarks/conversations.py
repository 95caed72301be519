"""How often a follow-up changes the candidate, and how often a change of topic does not, by ways to read a history.

Every message of tests/data/dialogues.jsonl that asks for an answer says what is right: a follow-up and the steps of an
agent's run stay, a change of topic goes to whoever is better there. The conversation is routed message by message,
with what was said so far; who answered last is remembered.

A follow-up flips where its candidate is another one than before. A change of topic is missed where, by the
probabilities for its question alone, the candidate is worse than the best one by more than 0.02; changes for which
whoever answered before is good enough by that measure are not counted. The pools are three candidates of one level, a
coder, a mathematician and one who chats, who were onboarded by the scores of everyday prompts; modern models; and
random ones of the catalogue.

    python benchmarks/conversations.py tests/data/dialogues.jsonl tests/data/everyday.jsonl
    python benchmarks/conversations.py tests/data/dialogues_last.jsonl tests/data/everyday.jsonl
"""

import argparse
import json
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lookahead_router import Dispatcher, Router, read_request
from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.data.examples import Outcome, RoutingExample
from lookahead_router.predictors.base import prompt_texts
from lookahead_router.prompts import Request
from lookahead_router.types import Prediction

LOSS = 0.02
GOOD, BAD = 0.9, 0.5
SPECIALISTS = {"coder": "code", "mathematician": "mathematics", "chat": "chat"}
"""What each is good at."""
N_SCORED = 150
"""Prompts of each kind by which they are onboarded."""
TASKS = (
    "reverses a linked list", "reads a CSV file", "counts the words of a text", "sorts a dictionary by its values",
    "validates an email address", "merges two sorted arrays", "retries a failed request", "caches results on disk",
    "parses JSON from a socket", "finds duplicate files", "renders a table in HTML", "computes a checksum",
)  # fmt: skip
LANGUAGES = ("Python", "Java", "Rust", "Go", "JavaScript", "TypeScript", "C++", "C#", "SQL", "Bash", "React", "Django")
CODING = (
    "Write a {language} function that {task}.", "My {language} program {task}, but it crashes with an error. Why?",
    "How do I test {language} code that {task}?", "Refactor this {language} class, which {task}.",
)  # fmt: skip
OBJECTS = (
    "the sum of the first n odd numbers", "x^3 - {a}x + 2", "the probability of at least {a} heads in ten throws",
    "the integral of x^{a} e^x", "a triangle with the sides 3, 4 and {a}", "the square root of {a}",
    "the number of ways to seat {a} guests", "the limit of (1 + {a}/n)^n", "a matrix of rank {a}",
    "all primes p for which p + {a} is prime", "the derivative of sin({a}x)/x", "the equation x^2 - {a}x + 1 = 0",
)  # fmt: skip
MATHEMATICS = (
    "Compute or simplify {thing}.", "Prove a statement about {thing}.", "Explain step by step how one finds {thing}.",
    "What is known of {thing}? Give a proof.",
)  # fmt: skip
HALVES = ("tune", "report", "more", "held", "unseen", "last")
"""Parts of the dialogues: rules were set on all but `report` and `last`."""
MODERN = ("gpt-4o-2024-08-06", "claude-3-5-sonnet-20241022", "deepseek-r1", "o3-mini", "gemini-1.5-pro-002")
N_RANDOM = 15
N_BOOTSTRAP = 2000


class Remembered:
    """A predictor that computes each text once, whichever pool asks; a column depends on its candidate alone."""

    def __init__(self, router: Router) -> None:
        self.pool, self.name, self.revision = router.pool, router.predictor.name, router.predictor.revision
        self._router = router
        self._known: dict[str, Prediction] = {}

    def predict(self, prompts: Sequence[Any]) -> Prediction:
        """As any predictor."""
        texts = prompt_texts(prompts)
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            found = self._router.predict(new)
            for row, text in enumerate(new):
                self._known[text] = Prediction(self.pool, **{n: getattr(found, n)[row : row + 1] for n in ARRAYS})
        rows = [self._known[text] for text in texts]
        return Prediction(self.pool, **{n: np.concatenate([getattr(row, n) for row in rows]) for n in ARRAYS})


ARRAYS = ("scores", "probabilities", "standard_errors", "expected_tokens", "prompt_tokens")


@dataclass(frozen=True)
class Way:
    """A way to read a history."""

    read: Callable[[list[dict[str, Any]]], Request]
    sticky: str | None = None


def last_message(messages: list[dict[str, Any]]) -> Request:
    """Whatever was said last, by whom ever."""
    return read_request(messages[-1]["content"] or "(nothing)")


def whole_history(messages: list[dict[str, Any]]) -> Request:
    """All that was said."""
    return read_request("\n\n".join(message["content"] for message in messages))


WAYS: Mapping[str, Way] = {
    "last message alone": Way(last_message),
    "whole history": Way(whole_history),
    "last question alone": Way(lambda messages: read_request(messages, context_chars=0)),
    "read_request": Way(read_request),
    "last question, adaptive": Way(lambda messages: read_request(messages, context_chars=0), "adaptive"),
    "read_request, adaptive": Way(read_request, "adaptive"),
    "read_request, thread": Way(read_request, "thread"),
}


@dataclass
class Counts:
    """By dialogue: turns that count, and those that went wrong; expected scores lost, on all turns."""

    follow_ups: list[tuple[int, int]] = field(default_factory=list)
    changes: list[tuple[int, int]] = field(default_factory=list)
    steps: list[tuple[int, int]] = field(default_factory=list)

    def add(self, other: "Counts") -> None:
        """Another pool's dialogues, the same ones in the same order."""
        for name in ("follow_ups", "changes", "steps"):
            mine, theirs = getattr(self, name), getattr(other, name)
            joined = [(a + c, b + d) for (a, b), (c, d) in zip(mine, theirs, strict=True)] if mine else theirs
            setattr(self, name, joined)


def counted(
    dialogues: Sequence[Mapping[str, Any]], router: Router, way: Way, gain: float, wrong: Counter | None = None
) -> Counts:
    """What becomes of the dialogues; what went wrong is added up in `wrong`, by dialogue, place and kind."""
    dispatcher = Dispatcher(router, sticky=way.sticky, switch_gain=gain)
    counts = Counts()
    for dialogue in dialogues:
        found = {"stay": [0, 0], "leave": [0, 0], "step": [0, 0]}
        held = None
        for place, message in enumerate(dialogue["messages"]):
            if "right" not in message:
                continue
            said = [{k: v for k, v in each.items() if k not in ("right", "kind")} for each in dialogue["messages"]]
            request = way.read(said[: place + 1])
            is_step = message["role"] == "tool" or "name" in message or message["content"].startswith("Observation")
            keep = held if way.sticky and (is_step or way.sticky == "thread") else None
            chosen = dispatcher.plan(request, keep=keep, held=held).record["candidate"]
            if message["right"] == "stay":
                kind = "step" if is_step else "stay"
                found[kind][0] += 1
                found[kind][1] += chosen != held
                if wrong is not None and chosen != held:
                    wrong[dialogue["id"], place, kind] += 1
            elif message["right"] == "leave" and held is not None:
                plain = router.predict([message["content"]]).scores[0]
                names = router.pool.names
                if plain.max() - plain[names.index(held)] > LOSS:
                    found["leave"][0] += 1
                    is_missed = plain.max() - plain[names.index(chosen)] > LOSS
                    found["leave"][1] += is_missed
                    if wrong is not None and is_missed:
                        wrong[dialogue["id"], place, "leave"] += 1
            held = chosen
        counts.follow_ups.append(tuple(found["stay"]))
        counts.changes.append(tuple(found["leave"]))
        counts.steps.append(tuple(found["step"]))
    return counts


def interval(pairs: Sequence[tuple[int, int]], seed: int = 0) -> str:
    """Share of what went wrong, with a 95 % bootstrap interval over dialogues."""
    values = np.array(pairs)
    if not values[:, 0].sum():
        return "–"
    draws = np.random.default_rng(seed).integers(0, len(values), (N_BOOTSTRAP, len(values)))
    sums = values[draws].sum(axis=1)
    shares = 100 * sums[:, 1] / np.maximum(sums[:, 0], 1)
    low, high = np.percentile(shares, [2.5, 97.5])
    n, wrong = values.sum(axis=0)
    return f"{100 * wrong / n:.1f} % [{low:.1f}, {high:.1f}] of {n}"


def prompts_of(kind: str, everyday: Sequence[Mapping[str, Any]], draw: np.random.Generator) -> list[str]:
    """Prompts of a kind; those of the everyday ones in all their languages, and made ones."""
    kinds = {"code": {"code"}, "mathematics": {"mathematics"}}
    own = kinds.get(kind)
    others = {"code", "mathematics", "science"}
    found = [row["prompt"] for row in everyday if (row["kind"] in own if own else row["kind"] not in others)]
    frames = {"code": CODING, "mathematics": MATHEMATICS}.get(kind, ())
    while frames and len(found) < N_SCORED:
        thing = str(draw.choice(OBJECTS)).format(a=draw.integers(2, 9))
        text = str(draw.choice(frames)).format(language=draw.choice(LANGUAGES), task=draw.choice(TASKS), thing=thing)
        found.append(text)
    return found[:N_SCORED]


def specialists(everyday: Sequence[Mapping[str, Any]], seed: int) -> Router:
    """Three candidates that nobody knows, onboarded by drawn scores: good at their own kinds, less at the others."""
    draw = np.random.default_rng(seed)
    examples = []
    for kind in SPECIALISTS.values():
        for prompt in prompts_of(kind, everyday, draw):
            chances = {name: GOOD if kind == own else BAD for name, own in SPECIALISTS.items()}
            outcomes = {name: Outcome(score=float(draw.random() < chance)) for name, chance in chances.items()}
            examples.append(RoutingExample(prompt=prompt, outcomes=outcomes))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        router = Router.from_pretrained(candidates=list(SPECIALISTS))
    return router.onboard(RoutingDataset.from_examples(examples))


def pools(everyday: Sequence[Mapping[str, Any]], seed: int) -> dict[str, list[Router]]:
    """Routers by kind of pool."""
    from lookahead_router.predictors.open_pool import OpenPoolPredictor

    known = [entry.name for entry in OpenPoolPredictor.load().catalogue.entries]
    draw = np.random.default_rng(seed)
    drawn = [list(draw.choice(known, draw.integers(3, 7), replace=False)) for _ in range(N_RANDOM)]
    everyone = Router.from_pretrained(candidates=sorted({*MODERN, *(name for names in drawn for name in names)}))
    remembered = Router(Remembered(everyone))
    return {
        "coder, mathematician, chat": [Router(Remembered(specialists(everyday, seed + n))) for n in range(3)],
        "modern": [remembered.restrict_to(MODERN)],
        "random": [remembered.restrict_to(names) for names in drawn],
    }


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("dialogues", type=Path, help="JSONL with half, language and messages.")
    parser.add_argument("everyday", type=Path, help="JSONL with prompt and kind, to onboard by.")
    parser.add_argument("--half", nargs="+", default=HALVES, choices=HALVES, help="Parts to read; all if absent.")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="Ways to read; all if absent.")
    parser.add_argument("--gain", type=float, nargs="+", default=[0.02], help="What a switch must add.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--wrong", action="store_true", help="Print what went wrong, of parts to set rules on.")
    arguments = parser.parse_args()
    dialogues = read_lines(arguments.dialogues)
    parts = {name: [each for each in dialogues if each["half"] == name] for name in arguments.half}
    parts = {name: part for name, part in parts.items() if part}
    print(f"dialogues: {', '.join(f'{len(part)} of {name}' for name, part in parts.items())}")
    for title, routers in pools(read_lines(arguments.everyday), arguments.seed).items():
        for part, chosen in parts.items():
            print(f"\n{title}: {len(routers)} pools, {part}")
            print(f"  {'':34} {'follow-ups that flip':32} {'changes of topic that are missed':34} steps that flip")
            for name in arguments.ways:
                tell(name, routers, chosen, arguments)


def tell(name: str, routers: Sequence[Router], dialogues: Sequence[dict], arguments: argparse.Namespace) -> None:
    """Prints what one way makes of the dialogues, over all pools."""
    way = WAYS[name]
    for gain in arguments.gain if way.sticky == "adaptive" else arguments.gain[:1]:
        total, wrong = Counts(), Counter()
        for router in routers:
            total.add(counted(dialogues, router, way, gain, wrong))
        label = f"{name}, {gain:g}" if way.sticky == "adaptive" else name
        figures = [interval(pairs) for pairs in (total.follow_ups, total.changes, total.steps)]
        print(f"  {label:34} {figures[0]:32} {figures[1]:34} {figures[2]}", flush=True)
        for (dialogue_id, place, kind), n in sorted(wrong.items()) if arguments.wrong else ():
            text = next(each["messages"] for each in dialogues if each["id"] == dialogue_id)[place]["content"]
            print(f"    {n} {kind} {dialogue_id}: {text[:120]}")


if __name__ == "__main__":
    main()
