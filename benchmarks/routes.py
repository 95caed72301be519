"""Routes in plain words, on utterances with intents and on exam questions: found again, none found, conversations.

    python benchmarks/routes.py intents.parquet mmlupro12.parquet --encoder MINILM --peer PEER --folder out

The first file has the columns `dataset`, `split`, `text`, `intent` and `domain` (CLINC150, Banking77), the second one
`source`, `split` and `prompt` (MMLU-Pro). MINILM is a folder of all-MiniLM-L6-v2; PEER is the Python of an environment
with `pip install semantic-router`. Embeddings stay in the folder, for the next run. Results: `out/routes.md` and
`out/routes.json`.
"""

import argparse
import json
import subprocess
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from scipy.stats import rankdata, t
from sklearn.linear_model import LogisticRegression

from lookahead_router import OpenPoolPredictor, Request, Route, Routes, read_request
from lookahead_router.predictors.embedder import Embedder
from lookahead_router.predictors.network_embedder import NetworkEmbedder
from lookahead_router.routes.check import hit_rates
from lookahead_router.routes.matching import Labelled

EXAMPLES = (1, 5, 10, 20)
N_LABELLED = 50
"""Labelled utterances of each kind, of some route and of none, where thresholds may be fitted on such."""
ASKED = (1000, 500)
"""Utterances of the test split that a draw asks at most, of some route and of none."""
NONE = "none"
DESCRIPTIONS = {
    "auto_and_commute": "Cars, fuel, tyres, traffic and directions",
    "banking": "Bank accounts, balances, transfers, bills and payments",
    "credit_cards": "Credit cards: applications, limits, scores, rewards and reports",
    "home": "The household: shopping and to-do lists, music, reminders, smart devices",
    "kitchen_and_dining": "Cooking, recipes, ingredients, restaurants and reservations",
    "meta": "Settings of the assistant itself: its name, language, volume, accent",
    "small_talk": "Chatting with the assistant about itself, greetings and jokes",
    "travel": "Trips, flights, hotels, luggage, visas and currencies abroad",
    "utility": "Everyday help: time, alarms, weather, sums, definitions, calls and messages",
    "work": "The job: meetings, holidays, payday, insurance and taxes",
}


class Set:
    """Texts with labels, some of which stand for none of the routes."""

    def __init__(self, name, texts, labels, splits, described):
        self.name, self.texts, self.described = name, texts, described
        self.labels, self.splits = np.array(labels), np.array(splits)
        self.routes = sorted(described)

    def rows(self, split, label=None):
        wanted = self.labels != NONE if label is None else self.labels == label
        return np.flatnonzero((self.splits == split) & wanted)


def sets(intents: Path, questions: Path) -> list[Set]:
    table = pq.read_table(intents).to_pylist()
    clinc = [row for row in table if row["dataset"] == "clinc150"]
    domains = [NONE if row["intent"] == "oos" else row["domain"] for row in clinc]
    found = [
        Set("CLINC150, 10 domains", [r["text"] for r in clinc], domains, [r["split"] for r in clinc], DESCRIPTIONS)
    ]
    banking = [row for row in table if row["dataset"] == "banking77"]
    names = sorted({row["intent"] for row in banking})
    away = set(np.random.default_rng(0).choice(names, 17, replace=False).tolist())
    rng = np.random.default_rng(1)  # Banking77 has no validation split
    splits = ["validation" if r["split"] == "train" and rng.random() < 0.2 else r["split"] for r in banking]
    labels = [NONE if row["intent"] in away else row["intent"] for row in banking]
    described = {name: name.replace("_", " ") for name in names if name not in away}
    found.append(Set("Banking77, 60 intents, 17 left out", [r["text"] for r in banking], labels, splits, described))
    rows = pq.read_table(questions, columns=["source", "split", "prompt"]).to_pylist()
    subjects = sorted({row["source"].rpartition("/")[2] for row in rows} - {"other"})
    away = set(np.random.default_rng(0).choice(subjects, 3, replace=False).tolist())
    labels = [r["source"].rpartition("/")[2] for r in rows]
    labels = [NONE if label in away or label == "other" else label for label in labels]
    described = {name: f"Questions of {name}" for name in subjects if name not in away}
    title = f"MMLU-Pro, {len(described)} subjects, {len(away) + 1} left out"
    found.append(Set(title, [r["prompt"] for r in rows], labels, [r["split"] for r in rows], described))
    return found


class Kept:
    """An encoder whose embeddings of a set, and of its descriptions, are kept in a folder."""

    def __init__(self, encoder, title, data, folder):
        self.encoder, self.title = encoder, title
        self.texts = [*data.texts, *(data.described[name] for name in data.routes)]
        self.folder = folder / f"{title}-{data.name.split()[0].strip(',')}"
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "vectors.npy"
        if not path.is_file():
            parts = [encoder.embed(self.texts[at : at + 1024]) for at in range(0, len(self.texts), 1024)]
            np.save(path, np.concatenate(parts))
        self.vectors = np.load(path)
        self.known = {text: row for row, text in enumerate(self.texts)}

    def embed(self, texts):
        new = [text for text in dict.fromkeys(texts) if text not in self.known]
        if new:
            self.known |= {text: len(self.vectors) + k for k, text in enumerate(new)}
            self.vectors = np.concatenate([self.vectors, self.encoder.embed(new)])
        return self.vectors[[self.known[text] for text in texts]]


def area(inside: np.ndarray, outside: np.ndarray) -> float:
    """Chance that an utterance of a route has a higher score than one of none."""
    ranks = rankdata(np.r_[inside, outside])[: len(inside)]
    return float((ranks.sum() - len(inside) * (len(inside) + 1) / 2) / len(inside) / len(outside))


def figures(truth, top, score, chosen=None) -> dict[str, float]:
    """Of utterances with their best routes and scores, and with what was chosen where something can be none."""
    truth, top, score = np.array(truth), np.array(top), np.array(score)
    inside = truth != NONE
    found = {"right": float((top == truth)[inside].mean()), "area": area(score[inside], score[~inside])}
    if chosen is not None:
        chosen = np.array([NONE if name is None else name for name in chosen])
        found |= {
            "kept": float((chosen != NONE)[inside].mean()),
            "none": float((chosen == NONE)[~inside].mean()),
            "all": float(((chosen == truth)[inside].mean() + (chosen == NONE)[~inside].mean()) / 2),
        }
    return found


def routes_of(data: Set, rows: dict[str, np.ndarray]) -> Routes:
    """The routes of a draw; an example that stands there twice is left out."""
    seen, written = set(), []
    for name in data.routes:
        texts = [data.texts[row] for row in rows[name]]
        keys = [" ".join(text.casefold().split()) for text in texts]
        texts = [text for text, key in zip(texts, keys, strict=True) if not (key in seen or seen.add(key))]
        written.append(Route(name=name, description=data.described[name], examples=texts, candidates=["x"]))
    return Routes(written)


def draw(data: Set, n: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.choice(data.rows("train", name), n, replace=False) for name in data.routes}


def one_draw(data: Set, kept: Kept, n: int, seed: int, peer) -> dict[str, dict[str, float]]:
    examples_of = draw(data, n, seed)
    routes, rng = routes_of(data, examples_of), np.random.default_rng([seed, n])
    asked = [data.rows("test"), data.rows("test", NONE)]
    asked = np.concatenate(
        [rng.choice(each, min(len(each), most), replace=False) for each, most in zip(asked, ASKED, strict=True)]
    )
    truth = [str(data.labels[row]) for row in asked]
    told = np.r_[
        rng.choice(data.rows("validation"), N_LABELLED, replace=False),
        rng.choice(data.rows("validation", NONE), min(N_LABELLED, len(data.rows("validation", NONE))), replace=False),
    ]
    labels = [None if data.labels[row] == NONE else str(data.labels[row]) for row in told]
    texts = [data.texts[row] for row in asked]
    found = {}
    matcher = routes.fit(kept)
    scores = matcher.similarities(texts)
    top, score = [data.routes[k] for k in scores.argmax(axis=1)], scores.max(axis=1)
    told_matcher = routes.fit(kept, [Labelled(data.texts[row], label) for row, label in zip(told, labels, strict=True)])
    for title, threshold in (("routes", matcher.threshold), ("routes, labelled", told_matcher.threshold)):
        chosen = [name if s >= threshold else None for name, s in zip(top, score, strict=True)]
        found[title] = figures(truth, top, score, chosen)
    vectors = kept.embed(texts)
    first = len(data.texts)
    examples = {name: [*map(int, examples_of[name]), first + k] for k, name in enumerate(data.routes)}
    centres = np.stack([kept.vectors[examples[name]].mean(axis=0) for name in data.routes])
    cosines = vectors @ (centres / np.linalg.norm(centres, axis=1, keepdims=True)).T
    found["nearest centroid"] = figures(truth, [data.routes[k] for k in cosines.argmax(axis=1)], cosines.max(axis=1))
    owner = np.repeat(np.arange(len(data.routes)), n + 1)
    model = LogisticRegression(C=10.0, max_iter=500)
    model.fit(kept.vectors[[row for name in data.routes for row in examples[name]]], owner)
    chances = model.predict_proba(vectors)
    best = [data.routes[k] for k in chances.argmax(axis=1)]
    found["logistic regression"] = figures(truth, best, chances.max(axis=1))
    if peer is not None:
        task = {
            "folder": str(kept.folder.resolve()),
            "routes": examples,
            "fit": [[int(row), label] for row, label in zip(told, labels, strict=True)],
            "asked": asked.tolist(),
        }
        peer.stdin.write(json.dumps(task) + "\n")
        peer.stdin.flush()
        said = json.loads(peer.stdout.readline())
        found["semantic-router, labelled"] = figures(truth, said["top"], said["score"], said["route"])
    return found


def conversations(data: Set, n: int, seed: int):
    """Chains of utterances: two to four spans of one to three turns, each of another route or, one in six, of none."""
    rng, labels = np.random.default_rng(seed), [*data.routes]
    for _ in range(n):
        turns, last = [], None
        for _ in range(rng.integers(2, 5)):
            label = NONE if rng.random() < 1 / 6 else str(rng.choice(labels))
            if label == last:
                continue
            last = label
            turns += [(int(row), label) for row in rng.choice(data.rows("test", label), rng.integers(1, 4))]
        yield turns


def chained(data: Set, kept: Kept, seed: int, n: int) -> dict[str, dict[str, float]]:
    """Turn, span and conversation hit rates, with 20 examples a route."""
    matcher = routes_of(data, draw(data, 20, seed)).fit(kept)
    chains = list(conversations(data, n, seed))
    truth = [[None if label == NONE else label for _, label in turns] for turns in chains]
    last = [[Request(data.texts[row]) for row, _ in turns] for turns in chains]
    whole = []
    for turns in chains:
        said = [{"role": "user", "content": data.texts[row]} for row, _ in turns]
        whole.append([read_request(said[: k + 1]) for k in range(len(turns))])
    found = {}
    for title, requests in (("last message alone", last), ("read as a conversation", whole)):
        matches = iter(matcher.match([request for turns in requests for request in turns]))
        found[title] = [[next(matches).route for _ in turns] for turns in requests]
    kinds = {}
    for title, matched in found.items():
        turn, span, conversation = hit_rates(truth, matched)
        flat = [(a, b) for x, y in zip(truth, matched, strict=True) for a, b in zip(x, y, strict=True)]
        kinds[title] = {
            "turn": turn,
            "span": span,
            "conversation": conversation,
            "mean": (turn + span + conversation) / 3,
            "of a route": float(np.mean([a == b for a, b in flat if a is not None])),
            "of none": float(np.mean([b is None for a, b in flat if a is None])),
        }
    return kinds


def interval(values: list[float]) -> tuple[float, float]:
    """Mean, and half the 95 % interval over draws."""
    half = t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return float(np.mean(values)), float(half)


def shown(values: list[float]) -> str:
    mean, half = interval(values)
    return f"{100 * mean:.1f} ± {100 * half:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("intents", type=Path)
    parser.add_argument("questions", type=Path)
    parser.add_argument("--encoder", type=Path)
    parser.add_argument("--peer")
    parser.add_argument("--folder", type=Path, default=Path("routes"))
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--conversations", type=int, default=500)
    options = parser.parse_args()
    encoders = {"network": NetworkEmbedder(OpenPoolPredictor.load())}
    if options.encoder is not None:
        encoders["MiniLM"] = Embedder.load(options.encoder)
    peer = None
    if options.peer is not None:
        worker = [options.peer, str(Path(__file__).with_name("routes_peer.py"))]
        peer = subprocess.Popen(worker, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    results, lines = {}, []
    for data in sets(options.intents, options.questions):
        for title, encoder in encoders.items():
            kept = Kept(encoder, title, data, options.folder)
            lines += [f"\n### {data.name}; {title}\n", "| | examples | right | area | kept | none | both |"]
            lines += ["|---|--:|--:|--:|--:|--:|--:|"]
            for n in EXAMPLES:
                found = defaultdict(lambda: defaultdict(list))
                for seed in range(options.draws):
                    for method, values in one_draw(data, kept, n, seed, peer).items():
                        for name, value in values.items():
                            found[method][name].append(value)
                    print(f"{data.name}, {title}, {n} examples, draw {seed + 1}", flush=True)
                for method, values in found.items():
                    cells = [shown(values[name]) if name in values else "–" for name in FIGURES]
                    lines.append(f"| {method} | {n} | {' | '.join(cells)} |")
                results[f"{data.name}; {title}; {n}"] = found
            if "CLINC" in data.name:
                lines += ["", f"| {options.conversations} conversations | {' | '.join(CHAINED)} |"]
                lines += [f"|---|{'--:|' * len(CHAINED)}"]
                runs = [chained(data, kept, seed, options.conversations) for seed in range(options.draws)]
                for method in runs[0]:
                    lines.append(f"| {method} | {' | '.join(shown([r[method][k] for r in runs]) for k in CHAINED)} |")
                results[f"{data.name}; {title}; conversations"] = runs
            options.folder.mkdir(parents=True, exist_ok=True)
            (options.folder / "routes.md").write_text("\n".join(lines) + "\n")
            (options.folder / "routes.json").write_text(json.dumps(results, indent=1))
    if peer is not None:
        peer.stdin.close()


FIGURES = ("right", "area", "kept", "none", "all")
CHAINED = ("turn", "span", "conversation", "mean", "of a route", "of none")

if __name__ == "__main__":
    main()
