"""Every baseline against a short loop written from its definition."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from lookahead_router.errors import MissingDependencyError
from lookahead_router.predictors.fitted import descending
from lookahead_router.predictors.fitted.base import filled_scores, group_means
from lookahead_router.predictors.fitted.clusters import cluster, nearest_center
from lookahead_router.predictors.fitted.routerdc import _contrast
from lookahead_router.predictors.fitted.rule import DOMAINS, _domain
from lookahead_router.predictors.load import BASELINES, baseline_class

DESCENDING = ("routerdc", "kl", "matrix-factorization", "irt", "uniroute")
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
    cls = baseline_class(kind)
    return cls(**({"embedder": embedder} if cls.reads_embeddings else {}), **settings).fit(train)


@pytest.fixture(scope="module")
def all_fitted(embedder, train):
    settings = {"n_epochs": 1, "n_clusters": 4, "n_neighbors": 5}
    fields = {kind: baseline_class(kind).__dataclass_fields__ for kind in BASELINES}
    chosen = {kind: {n: v for n, v in settings.items() if n in fields[kind]} for kind in BASELINES}
    return [fitted(kind, embedder, train, **chosen[kind]) for kind in BASELINES]


def mean_of(column):
    known = [value for value in column if not np.isnan(value)]
    return sum(known) / len(known)


def test_best_single_is_the_mean_of_what_is_judged(embedder, train):
    expected = [mean_of(column) for column in train.scores.T]
    np.testing.assert_allclose(fitted("best-single", embedder, train).predict_scores(["x"])[0], expected)


def test_missing_scores_are_filled_by_the_candidates_mean(train):
    filled = filled_scores(train)
    for k, column in enumerate(train.scores.T):
        for row, value in enumerate(column):
            assert filled[row, k] == pytest.approx(mean_of(column) if np.isnan(value) else value)


def test_knn_is_the_mean_score_of_the_most_similar_prompts(embedder, train, x):
    prompts = ["sum 1 2 ?", "rhyme river stone ?", "a"]
    found = fitted("knn", embedder, train, n_neighbors=7).predict_scores(prompts)
    scores = filled_scores(train)
    for vector, row in zip(embedder.embed(prompts), found, strict=True):
        order = sorted(range(len(x)), key=lambda i: -float(x[i] @ vector))
        np.testing.assert_allclose(row, np.mean([scores[i] for i in order[:7]], axis=0))


def test_knn_with_more_neighbours_than_prompts_is_the_mean_of_all(embedder, train):
    found = fitted("knn", embedder, train, n_neighbors=10_000).predict_scores(["a"])
    np.testing.assert_allclose(found[0], filled_scores(train).mean(axis=0))


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
    found = baseline.predict_scores(train.prompts)
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

    def keep(baseline, start, loss, features, dataset, **targets):
        judged = ~np.isnan(dataset.scores)
        rows = {
            "x": descending.scaled(features).astype(np.float32),
            "scores": np.where(judged, dataset.scores, 0).astype(np.float32),
            "judged": judged.astype(np.float32),
            **{n: t.astype(np.float32) if t.dtype == np.float64 else t for n, t in targets.items()},
        }
        generator = np.random.default_rng(5)  # away from zeros, so that every gradient is one
        start = {n: np.asarray(v) + generator.normal(0, 0.05, np.shape(v)) for n, v in start.items()}
        tensors = {n: torch.tensor(v, dtype=torch.float32, requires_grad=True) for n, v in start.items()}
        value = loss(tensors, {n: torch.as_tensor(c) for n, c in rows.items()})
        value.backward()
        kept.append((start, value.item(), rows, {n: t.grad for n, t in tensors.items()}))
        return {n: v.astype(np.float32) for n, v in start.items()}

    for module in ("routerdc", "kl", "matrix_factorization", "irt", "uniroute"):
        monkeypatch.setattr(f"lookahead_router.predictors.fitted.{module}.fit_by_descent", keep)
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


def test_matrix_factorization_is_a_product_of_factors(embedder, train, x, losses):
    baseline = fitted("matrix-factorization", embedder, train)
    ((p, value, _, _),) = losses
    expected = np.empty(train.scores.shape)
    for i, vector in enumerate(x.astype(float) * WIDTH**0.5):
        factors = [sum(vector[h] * p["projection"][h, f] for h in range(WIDTH)) for f in range(8)]
        for k in range(3):
            logit = sum(factors[f] * p["candidates"][f, k] for f in range(8)) + p["biases"][k]
            expected[i, k] = sigmoid(logit)
    np.testing.assert_allclose(baseline.predict_scores(train.prompts), expected, atol=1e-5)
    assert value == pytest.approx(cross_entropy(expected, train.scores), rel=1e-4)


def test_item_response_is_discrimination_times_ability_less_difficulty(embedder, train, x, losses):
    baseline = fitted("irt", embedder, train)
    ((p, value, _, _),) = losses
    expected = np.empty(train.scores.shape)
    for i, vector in enumerate(x.astype(float) * WIDTH**0.5):
        discrimination = sigmoid(vector @ p["discrimination"])
        difficulty = (vector @ p["difficulty"] + p["mean_difficulty"]).item()
        for k in range(3):
            expected[i, k] = sigmoid(discrimination @ p["abilities"][:, k] - difficulty)
    np.testing.assert_allclose(baseline.predict_scores(train.prompts), expected, atol=1e-5)
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
    np.testing.assert_allclose(baseline.predict_scores(train.prompts), expected, atol=1e-5)
    assert value == pytest.approx(cross_entropy(expected, train.scores), rel=1e-4)


def test_uniroute_starts_where_k_means_ended(x):
    centers, groups = cluster(x, 4, 0)
    logits = (x * WIDTH**0.5) @ (centers.T * 10 / WIDTH**0.5) - 5 * (centers**2).sum(axis=1)
    np.testing.assert_array_equal(logits.argmax(axis=1), groups)


def test_distillation_is_the_divergence_from_the_smoothed_scores(embedder, train, x, losses):
    baseline = fitted("kl", embedder, train, temperature=0.5, source_share=0.3)
    ((p, value, _, _),) = losses
    scores, divergence, entropy = filled_scores(train), [], []
    for i, vector in enumerate(x.astype(float) * WIDTH**0.5):
        of_its_source = [scores[j] for j in range(len(scores)) if train.sources[j] == train.sources[i]]
        target = softmax((0.7 * scores[i] + 0.3 * np.mean(of_its_source, axis=0)) / 0.5)
        found = softmax(vector @ p["weights"] + p["biases"])
        divergence.append(sum(target[k] * np.log(target[k] / found[k]) for k in range(3)))
        entropy.append(-sum(target[k] * np.log(target[k]) for k in range(3)))
    assert value == pytest.approx(np.mean(divergence) + np.mean(entropy), rel=1e-4)  # cross-entropy: same gradient
    np.testing.assert_allclose(baseline.predict_scores(train.prompts[-1:])[0], found, atol=1e-5)


def contrast_by_loops(similarities, positives, negatives):
    losses = []
    for i in range(len(similarities)):
        for j in range(len(similarities[i])):
            if positives[i, j]:
                against = sum(np.exp(similarities[i, n]) for n in range(len(similarities[i])) if negatives[i, j, n])
                losses.append(-np.log(np.exp(similarities[i, j]) / (np.exp(similarities[i, j]) + against)))
    return sum(losses) / max(len(losses), 1)


def test_the_contrast_is_the_mean_over_positive_pairs(rng):
    similarities = rng.normal(size=(5, 4))
    positives, negatives = rng.random((5, 4)) < 0.5, rng.random((5, 4, 4)) < 0.5
    positives[0], negatives[1] = False, False
    found = _contrast(*map(torch.tensor, (similarities, positives, negatives)))
    assert found.item() == pytest.approx(contrast_by_loops(similarities, positives, negatives))
    nothing = _contrast(*map(torch.tensor, (similarities, np.zeros_like(positives), negatives)))
    assert nothing.item() == 0


def test_the_contrast_is_finite_at_any_temperature():
    similarities = torch.tensor([[-500.0, 500.0], [0.0, 0.0]], requires_grad=True)
    loss = _contrast(similarities, torch.tensor([[True, False]] * 2), torch.tensor([[[False, True]] * 2] * 2))
    loss.backward()
    assert loss.item() == pytest.approx((1000 + np.log(2)) / 2)
    assert similarities.grad.isfinite().all()


def test_routerdc_draws_prompts_to_good_candidates_and_to_their_like(embedder, train, x, losses):
    baseline = fitted("routerdc", embedder, train, n_positives=2, n_negatives=1, n_groups=3, temperature=0.5)
    ((p, value, rows, _),) = losses
    scores, groups = filled_scores(train), rows["groups"]
    prompts = x.astype(float) * WIDTH**0.5 @ p["projection"]
    prompts /= np.linalg.norm(prompts, axis=1, keepdims=True)
    candidates = p["candidates"] / np.linalg.norm(p["candidates"], axis=1, keepdims=True)
    to_candidates, between = prompts @ candidates.T / 0.5, prompts @ prompts.T / 0.5
    n = len(x)
    positives, negatives = np.zeros((n, 3), bool), np.zeros((n, 3, 3), bool)
    for i in range(n):
        order = np.argsort(-scores[i])
        for j in order[:2]:
            negatives[i, j, order[2]] = scores[i, order[2]] < scores[i, j]
            positives[i, j] = negatives[i, j].any()
    same = np.array([[i != j and groups[i] == groups[j] for j in range(n)] for i in range(n)])
    unlike = np.array([[[groups[i] != groups[m] for m in range(n)]] * n for i in range(n)])
    expected = contrast_by_loops(to_candidates, positives, negatives) + 0.1 * contrast_by_loops(between, same, unlike)
    assert value == pytest.approx(expected, rel=1e-4)
    np.testing.assert_allclose(
        baseline.predict_scores(train.prompts), [softmax(row) for row in to_candidates], atol=1e-5
    )


def test_random_scores_are_uniform_and_differ_between_prompts_and_seeds(embedder, dataset):
    prompts = [f"prompt {n}" for n in range(2000)]
    scores = fitted("random", embedder, dataset).predict_scores(prompts)
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
        features = np.random.default_rng(0).normal(size=(50, WIDTH)).astype(np.float32)
        whole = baseline._predict(features, baseline._arrays)
        alone = np.concatenate([baseline._predict(features[i : i + 1], baseline._arrays) for i in range(50)])
        np.testing.assert_allclose(whole, alone, rtol=0, atol=1e-12, err_msg=baseline.kind)


# What is not installed


@pytest.mark.parametrize("kind", ["clusters", "classifier", "uniroute", "routerdc"])
def test_without_scikit_learn_the_pip_line_is_given(embedder, train, monkeypatch, kind):
    for name in [name for name in sys.modules if name.partition(".")[0] == "sklearn"] + ["sklearn"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependencyError, match=r"^sklearn is not installed; run: pip install .*\[eval\]"):
        fitted(kind, embedder, train)


@pytest.mark.parametrize("kind", ["kl", "matrix-factorization", "irt"])
def test_without_torch_the_pip_line_is_given(embedder, train, monkeypatch, kind):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependencyError, match=r"^torch is not installed; run: pip install .*\[train\]"):
        fitted(kind, embedder, train)


def test_predicting_needs_neither(all_fitted, embedder, tmp_path, monkeypatch):
    saved = {}
    for baseline in all_fitted:
        baseline.save(tmp_path / baseline.kind)
        saved[baseline.kind] = baseline.predict_scores(["sum 1 2 ?"])
    for name in [name for name in sys.modules if name.partition(".")[0] in ("sklearn", "torch")]:
        monkeypatch.setitem(sys.modules, name, None)
    for kind, scores in saved.items():
        given = embedder if baseline_class(kind).reads_embeddings else None
        found = baseline_class(kind).load(tmp_path / kind, embedder=given).predict_scores(["sum 1 2 ?"])
        np.testing.assert_array_equal(found, scores)
