"""The embedded predictor beside what one could do without it, on the same test rows.

Baselines: the best single candidate of the train split, kNN and logistic regression on frozen
embeddings of the same backbone, and, where a run folder is given, a prompt-only classifier trained by
the same recipe without slots. Differences come with a paired bootstrap over prompts.

    python benchmarks/baselines.py lookahead7.parquet --backbone FOLDER --predictor classifier=runs/x/predictor
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from transformers import AutoModel, AutoTokenizer

from lookahead_router import LookaheadPredictor, RoutingDataset, metrics
from lookahead_router.evaluation.evaluate import average_normalized_score


def embed(texts: list[str], folder: str, max_tokens: int) -> np.ndarray:
    """Mean-pooled unit-length embeddings `(n, H)` of the last tokens of each text."""
    tokenizer = AutoTokenizer.from_pretrained(folder, truncation_side="left")
    model = AutoModel.from_pretrained(folder).eval()
    order = np.argsort([len(text) for text in texts])
    output = np.empty((len(texts), model.config.hidden_size), dtype=np.float32)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        for start in range(0, len(order), 64):
            rows = order[start : start + 64]
            batch = tokenizer(
                [texts[i] for i in rows], padding=True, truncation=True, max_length=max_tokens, return_tensors="pt"
            )
            hidden = model(**batch).last_hidden_state.float()
            mask = batch["attention_mask"][..., None]
            pooled = (hidden * mask).sum(1) / mask.sum(1)
            output[rows] = torch.nn.functional.normalize(pooled, dim=1).numpy()
    return output


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--predictor", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--resamples", type=int, default=2000)
    arguments = parser.parse_args()

    dataset = RoutingDataset.from_file(arguments.data)
    train, test = dataset.filter(split="train"), dataset.filter(split="test")
    predicted = {"lookahead (embedded)": LookaheadPredictor.load().predict_scores(test.prompts)}
    for pair in arguments.predictor:
        name, _, folder = pair.partition("=")
        predicted[name] = LookaheadPredictor.load(folder).predict_scores(test.prompts)
    predicted["best single"] = np.tile(np.nanmean(train.scores, axis=0), (len(test), 1))
    vectors = embed(list(train.prompts), arguments.backbone, 192), embed(list(test.prompts), arguments.backbone, 192)
    low, high = train.scores.min(axis=1, keepdims=True), train.scores.max(axis=1, keepdims=True)
    scaled = (train.scores - low) / np.where(high > low, high - low, 1)
    nearest = np.argsort(-vectors[1] @ vectors[0].T, axis=1)
    for k in (10, 40, 100):
        predicted[f"kNN, k = {k}"] = scaled[nearest[:, :k]].mean(axis=1)
    ranking = (high > low)[:, 0]
    predicted["logistic regression"] = np.stack(
        [
            LogisticRegression(max_iter=2000)
            .fit(vectors[0][ranking], scaled[ranking, candidate] >= 0.8)
            .predict_proba(vectors[1])[:, 1]
            for candidate in range(len(test.pool))
        ],
        axis=1,
    )
    chosen = {name: metrics.chosen_scores(test.scores, scores.argmax(axis=1)) for name, scores in predicted.items()}
    hindsight = np.zeros(len(test))
    for source in np.unique(test.sources):
        mask = test.sources == source
        hindsight[mask] = test.scores[mask][:, test.scores[mask].mean(axis=0).argmax()]
    chosen["best candidate per benchmark, in hindsight"] = hindsight
    chosen["random"], chosen["oracle"] = metrics.random_scores(test.scores), metrics.oracle_scores(test.scores)

    def average(values: np.ndarray, rows: np.ndarray) -> float:
        return average_normalized_score(values[rows], test.scores[rows], test.sources[rows])

    reference = chosen["lookahead (embedded)"]
    report = {}
    for name, values in chosen.items():
        interval = metrics.bootstrap_interval(
            lambda rows, v=values: average(v, rows), test.sources, n_resamples=arguments.resamples
        )
        paired = metrics.bootstrap_interval(
            lambda rows: average(reference, rows),
            test.sources,
            minus=lambda rows, v=values: average(v, rows),
            n_resamples=arguments.resamples,
        )
        per_source = {
            str(s): round(metrics.normalized_score(values[test.sources == s], test.scores[test.sources == s]), 1)
            for s in dict.fromkeys(test.sources)
        }
        report[name] = {
            "average": [round(x, 1) for x in interval],
            "lookahead_minus_this": [round(x, 1) for x in paired],
            **per_source,
        }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
