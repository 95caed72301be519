"""Every fitted predictor against a short loop written from its definition."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from lookahead_router.errors import MissingDependencyError
from lookahead_router.predictors.fitted import FITTED, fitted_class
from lookahead_router.predictors.fitted.base import filled_scores, group_means
from lookahead_router.predictors.fitted.clusters import cluster, nearest_center
from lookahead_router.predictors.fitted.rule import DOMAINS, _domain

DESCENDING = ("irt", "uniroute")
WIDTH = 32


@pytest.fixture(scope="module")
def train(dataset):
    """The toy world's training split, a fifth of the scores missing, the others anything in [0, 1]."""
    rows = dataset.filter(split="train")
    generator = np.random.default_rng(0)
    scores = np.clip(rows.scores * 0.6 + generator.random(rows.scores.shape) * 0.4, 0, 1)
    scores[generator.random(scores.shape) < 0.2] = np.nan
    scores[0] = [0.1, 0.5, 0.9]
    return replace(rows, scores=scores).select(~np.isnan(scores).all(axis=1))


@pytest.fixture(scope="module")
def x(embedder, train):
    """Unit embeddings `(n, H)` of the training prompts."""
    return embedder.embed(train.prompts)


def softmax(row):
    return np.exp(row) / np.exp(row).sum()


def sigmoid(value):
    return 1 / (1 + np.exp(-value))


def fitted(kind, embedder, train, **settings):
    cls = fitted_class(kind)
    return cls(**({"embedder": embedder} if cls.reads_embeddings else {}), **settings).fit(train)


@pytest.fixture(scope="module")
def all_fitted(embedder, train):
    settings = {"n_epochs": 1, "n_clusters": 4, "n_neighbors": 5}
    fields = {kind: fitted_class(kind).Settings.model_fields for kind in FITTED}
    chosen = {kind: {n: v for n, v in settings.items() if n in fields[kind]} for kind in FITTED}
    return [fitted(kind, embedder, train, **chosen[kind]) for kind in FITTED]


def mean_of(column):
    known = [value for value in column if not np.isnan(value)]
    return sum(known) / len(known)


def test_best_single_is_the_mean_of_what_is_judged(embedder, train):
    expected = [mean_of(column) for column in train.scores.T]
    np.testing.assert_allclose(fitted("best-single", embedder, train).predict(["x"]).scores[0], expected)


def test_missing_scores_are_filled_by_the_candidates_mean(train):
    filled = filled_scores(train.scores)
    for k, column in enumerate(train.scores.T):
        for row, value in enumerate(column):
            assert filled[row, k] == pytest.approx(mean_of(column) if np.isnan(value) else value)


def test_knn_is_the_mean_score_of_the_most_similar_prompts(embedder, train, x):
    prompts = ["sum 1 2 ?", "rhyme river stone ?", "a"]
    found = fitted("knn", embedder, train, n_neighbors=7).predict(prompts).scores
    scores = filled_scores(train.scores)
    for vector, row in zip(embedder.embed(prompts), found, strict=True):
        order = sorted(range(len(x)), key=lambda i: -float(x[i] @ vector))
        np.testing.assert_allclose(row, np.mean([scores[i] for i in order[:7]], axis=0))


def test_knn_with_more_neighbours_than_prompts_is_the_mean_of_all(embedder, train):
    found = fitted("knn", embedder, train, n_neighbors=10_000).predict(["a"]).scores
    np.testing.assert_allclose(found[0], filled_scores(train.scores).mean(axis=0))


def test_group_means_are_drawn_to_the_mean_of_all():
    scores = np.array([[1.0, np.nan], [0.0, 0.4], [0.5, 0.8]])
    found = group_means(np.array([0, 0, 2]), 3, scores, prior_prompts=2.0)
    overall = [0.5, 0.6]
    expected = [
        [(1.0 + 0.0 + 2 * overall[0]) / 4, (0.4 + 2 * overall[1]) / 3],
        overall,
        [(0.5 + 2 * overall[0]) / 3, (0.8 + 2 * overall[1]) / 3],
    ]
    np.testing.assert_allclose(found, expected)


def test_clusters_are_the_drawn_means_of_the_nearest_centres_prompts(embedder, train, x):
    baseline = fitted("clusters", embedder, train, n_clusters=4, prior_prompts=3.0)
    centers = baseline._arrays["centers"]
    homes = [min(range(4), key=lambda c: ((vector - centers[c]) ** 2).sum()) for vector in x]
    np.testing.assert_array_equal(nearest_center(x, centers), homes)
    overall = [mean_of(column) for column in train.scores.T]
    found = baseline.predict(train.prompts).scores
    for row, home in zip(found, homes, strict=True):
        for k in range(3):
            judged = [s for s, h in zip(train.scores[:, k], homes, strict=True) if h == home and not np.isnan(s)]
            assert row[k] == pytest.approx((sum(judged) + 3 * overall[k]) / (len(judged) + 3))


def test_clusters_are_no_more_than_the_different_prompts():
    centers, groups = cluster(np.repeat(np.eye(3, 8, dtype=np.float32), 4, axis=0), 32, seed=0)
    assert len(centers) == len(set(groups)) == 3


def test_the_classifier_is_the_optimum_of_its_penalised_likelihood(embedder, train, x):
    baseline = fitted("classifier", embedder, train, inverse_penalty=2.0)
    for k in range(3):
        judged = ~np.isnan(train.scores[:, k])
        y, features = np.clip(train.scores[judged, k], 1e-3, 1 - 1e-3), x[judged].astype(np.float64)
        w, b = baseline._arrays["weights"][:, k].astype(float), float(baseline._arrays["biases"][k])
        residuals = sigmoid(features @ w + b) - y  # gradient of C * cross-entropy + |w|^2 / 2
        np.testing.assert_allclose(2.0 * features.T @ residuals + w, 0, atol=0.02)
        assert residuals.sum() == pytest.approx(0, abs=0.02)


# Those that learn by gradient


@pytest.fixture
def losses(monkeypatch):
    """Fits without a step; gives start, loss, rows of every fit that would have been."""
    kept = []

    def keep(start, loss, rows, **settings):
        generator = np.random.default_rng(5)  # away from zeros, so that every gradient is one
        start = {n: np.asarray(v) + generator.normal(0, 0.05, np.shape(v)) for n, v in start.items()}
        tensors = {n: torch.tensor(v, dtype=torch.float32, requires_grad=True) for n, v in start.items()}
        value = loss(tensors, {n: torch.as_tensor(c) for n, c in rows.items()})
        value.backward()
        kept.append((start, value.item(), rows, {n: t.grad for n, t in tensors.items()}))
        return {n: v.astype(np.float32) for n, v in start.items()}

    monkeypatch.setattr("lookahead_router.networks.descent.descend", keep)
    return kept


@pytest.mark.parametrize("kind", DESCENDING)
def test_gradients_reach_every_parameter(embedder, train, losses, kind):
    fitted(kind, embedder, train)
    ((_, value, _, gradients),) = losses
    assert np.isfinite(value)
    for name, gradient in gradients.items():
        assert gradient.isfinite().all(), name
        assert gradient.abs().max() > 0, name


def cross_entropy(probabilities, scores):
    """Mean over what is judged, one by one."""
    found = [
        -(s * np.log(p) + (1 - s) * np.log(1 - p))
        for p, s in zip(np.ravel(probabilities), np.ravel(scores), strict=True)
        if not np.isnan(s)
    ]
    return sum(found) / len(found)


def test_item_response_is_discrimination_times_ability_less_difficulty(embedder, train, x, losses):
    baseline = fitted("irt", embedder, train)
    ((p, value, _, _),) = losses
    expected = np.empty(train.scores.shape)
    for i, vector in enumerate(x.astype(float) * WIDTH**0.5):
        discrimination = sigmoid(vector @ p["discrimination"])
        difficulty = (vector @ p["difficulty"] + p["mean_difficulty"]).item()
        for k in range(3):
            expected[i, k] = sigmoid(discrimination @ p["abilities"][:, k] - difficulty)
    np.testing.assert_allclose(baseline.predict(train.prompts).scores, expected, atol=1e-5)
    assert value == pytest.approx(cross_entropy(expected, train.scores), rel=1e-4)


def test_uniroute_mixes_the_clusters_means_by_membership(embedder, train, x, losses):
    baseline = fitted("uniroute", embedder, train, n_clusters=4)
    ((p, value, _, _),) = losses
    _, groups = cluster(x, 4, 0)
    means = group_means(groups, 4, train.scores, prior_prompts=5.0)
    expected = np.empty(train.scores.shape)
    for i, vector in enumerate(x.astype(float) * WIDTH**0.5):
        membership = softmax(vector @ p["weights"] + p["biases"])
        expected[i] = sum(membership[c] * means[c] for c in range(4))
    np.testing.assert_allclose(baseline.predict(train.prompts).scores, expected, atol=1e-5)
    assert value == pytest.approx(cross_entropy(expected, train.scores), rel=1e-4)


def test_uniroute_starts_where_k_means_ended(x):
    centers, groups = cluster(x, 4, 0)
    logits = (x * WIDTH**0.5) @ (centers.T * 10 / WIDTH**0.5) - 5 * (centers**2).sum(axis=1)
    np.testing.assert_array_equal(logits.argmax(axis=1), groups)


def test_random_scores_are_uniform_and_differ_between_prompts_and_seeds(embedder, dataset):
    prompts = [f"prompt {n}" for n in range(2000)]
    scores = fitted("random", embedder, dataset).predict(prompts).scores
    np.testing.assert_allclose(scores.mean(axis=0), 0.5, atol=0.03)
    np.testing.assert_allclose(np.bincount(scores.argmax(axis=1)) / 2000, 1 / 3, atol=0.05)
    assert len(np.unique(scores)) == scores.size


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("Fix this: def f(x):\n    return x", "code"),
        ("What is 3 + 4?", "mathematics"),
        ("Pick one.\nA. red\n B. green", "choice"),
        ("Pick one.\n(A) red\n\n(B) green", "choice"),
        ("Draft a letter to my landlord", "writing"),
        ("Who was Ada Lovelace?", None),
    ],
)
def test_keywords_tell_the_domain(text, domain):
    assert _domain(text) == (len(DOMAINS) if domain is None else list(DOMAINS).index(domain))


@pytest.mark.parametrize(
    "text", ["\n" * 8000, ("A. " + "\n" * 50) * 160, "A. \n" * 2000, "$" * 8000, "1 " * 4000, "return " * 1200]
)
def test_no_prompt_makes_the_keywords_slow(text):
    """The first pattern of choices took half a minute over one of these."""
    import time

    start = time.process_time()
    _domain(text)
    assert time.process_time() - start < 3


def test_predictions_do_not_depend_on_the_rows_beside_them(all_fitted):
    for baseline in all_fitted:
        if not baseline.reads_embeddings:
            continue
        width = 4 * WIDTH + 4 if baseline.reads_context else WIDTH
        features = np.random.default_rng(0).normal(size=(50, width)).astype(np.float32)
        whole = baseline._predict(features, baseline._arrays)
        alone = np.concatenate([baseline._predict(features[i : i + 1], baseline._arrays) for i in range(50)])
        np.testing.assert_allclose(whole, alone, rtol=0, atol=1e-12, err_msg=baseline.kind)


# What is not installed


@pytest.mark.parametrize("kind", ["clusters", "classifier", "uniroute"])
def test_without_scikit_learn_the_pip_line_is_given(embedder, train, monkeypatch, kind):
    for name in [name for name in sys.modules if name.partition(".")[0] == "sklearn"] + ["sklearn"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependencyError, match=r"^sklearn is not installed; run: pip install .*\[eval\]"):
        fitted(kind, embedder, train)


@pytest.mark.parametrize("kind", ["irt", "uniroute", "in-context"])
def test_without_torch_the_pip_line_is_given(embedder, train, monkeypatch, kind):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependencyError, match=r"^torch is not installed; run: pip install .*\[train\]"):
        fitted(kind, embedder, train)


def test_predicting_needs_neither(all_fitted, embedder, tmp_path, monkeypatch):
    saved = {}
    for baseline in all_fitted:
        baseline.save(tmp_path / baseline.kind)
        saved[baseline.kind] = baseline.predict(["sum 1 2 ?"]).scores
    for name in [name for name in sys.modules if name.partition(".")[0] in ("sklearn", "torch")]:
        monkeypatch.setitem(sys.modules, name, None)
    for kind, scores in saved.items():
        given = embedder if fitted_class(kind).reads_embeddings else None
        found = fitted_class(kind).load(tmp_path / kind, embedder=given).predict(["sum 1 2 ?"]).scores
        np.testing.assert_array_equal(found, scores)
