import numpy as np
import pytest
from conftest import POOL, make_tokenizer, toy_dataset

from lookahead_router.predictors.tokenization import PromptTokenizer
from lookahead_router.training.batches import (
    Collator,
    LengthBucketSampler,
    TokenizedDataset,
    ranks_candidates,
    shrink_to_sources,
    source_weights,
)
from lookahead_router.training.recipe import ObjectiveSettings


@pytest.fixture
def tokenized():
    tokenizer = PromptTokenizer(make_tokenizer(), max_prompt_tokens=24, prefix=(2,), suffix=(3,), pad_token_id=0)
    return TokenizedDataset.build(toy_dataset(), tokenizer, 3, ObjectiveSettings())


def test_responses_are_cut_to_the_slots_and_their_lengths_counted(tokenized):
    assert tokenized.response_ids.shape == (120, len(POOL), 3)
    assert set(tokenized.response_lengths.ravel()) <= {2, 3}


def test_a_missing_response_has_no_tokens_and_leaves_the_others(tokenized):
    dataset = toy_dataset()
    dataset.responses[4, 1] = None
    tokenizer = PromptTokenizer(make_tokenizer(), max_prompt_tokens=24, prefix=(2,), suffix=(3,), pad_token_id=0)
    found = TokenizedDataset.build(dataset, tokenizer, 3, ObjectiveSettings())
    is_missing = np.zeros(found.response_lengths.shape, dtype=bool)
    is_missing[4, 1] = True
    np.testing.assert_array_equal(found.response_lengths, np.where(is_missing, 0, tokenized.response_lengths))
    np.testing.assert_array_equal(found.response_ids, np.where(is_missing[..., None], 0, tokenized.response_ids))


def test_an_epoch_visits_every_row_once_in_an_order_of_its_own():
    sampler = LengthBucketSampler(list(range(100)), batch_size=5, batches_per_step=4, seed=1)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    assert sorted(first) == sorted(second) == list(range(100))
    assert first != second
    sampler.set_epoch(0)
    assert list(sampler) == first


@pytest.mark.parametrize(("n", "n_filled"), [(96, 96), (97, 120), (3, 24)])
def test_the_last_step_of_an_epoch_is_filled_with_its_first_rows(n, n_filled):
    sampler = LengthBucketSampler(list(range(n)), batch_size=8, batches_per_step=3, seed=1)
    order = list(sampler)
    assert len(order) == len(sampler) == n_filled
    assert sorted(order[:n]) == list(range(n))
    assert order[n:] == (order[:n] * 8)[: n_filled - n]


def test_batches_hold_prompts_of_like_length():
    lengths = np.random.default_rng(0).integers(1, 200, size=640)
    order = list(LengthBucketSampler(lengths, batch_size=32, batches_per_step=1, seed=0))
    spread = np.mean([np.ptp(lengths[order[i : i + 32]]) for i in range(0, 640, 32)])
    assert spread < 0.2 * np.ptp(lengths)


def test_the_collator_pads_on_the_left(tokenized):
    batch = Collator(pad_token_id=0)([tokenized[0], tokenized[1], tokenized[2]])
    lengths = batch["prompt_mask"].sum(dim=1).tolist()
    assert lengths == [len(tokenized.prompt_ids[i]) for i in range(3)]
    assert (batch["prompt_ids"][:, -1] == 3).all()
    assert batch["prompt_mask"].diff(dim=1).min() >= 0


def test_source_weights_even_out_the_sources_at_exponent_one(dataset):
    weights = source_weights(dataset, 1.0)
    ranking = ranks_candidates(dataset.scores)
    totals = [weights[ranking & (dataset.sources == source)].sum() for source in ("numbers", "poems")]
    assert totals[0] == pytest.approx(totals[1], rel=1e-5)
    assert weights[ranking].mean() == pytest.approx(1.0, rel=1e-5)
    assert (source_weights(dataset, 0.0) == 1.0).all()


def test_only_judged_scores_rank():
    scores = np.array([[0.1, 0.1, np.nan], [0.1, np.nan, 0.2], [np.nan] * 3])
    assert ranks_candidates(scores).tolist() == [False, True, False]


def test_shrinkage_moves_targets_towards_their_sources_mean(dataset):
    shrunk = shrink_to_sources(dataset.scores, dataset.scores, dataset.sources, 0.25)
    for source in ("numbers", "poems"):
        rows = dataset.sources == source
        expected = 0.75 * dataset.scores[rows] + 0.25 * dataset.scores[rows].mean(axis=0)
        np.testing.assert_allclose(shrunk[rows], expected)
    np.testing.assert_array_equal(
        shrink_to_sources(dataset.scores, dataset.scores, dataset.sources, 0.0), dataset.scores
    )


def test_shrinkage_leaves_what_is_not_known():
    targets = np.array([[0.0, 1.0], [1.0, np.nan], [np.nan, np.nan]])
    shrunk = shrink_to_sources(targets, targets, np.array(["a", "a", "a"]), 0.5)
    np.testing.assert_allclose(shrunk, [[0.25, 1.0], [0.75, np.nan], [np.nan, np.nan]])


def test_targets_are_of_the_recipes_objective():
    settings = ObjectiveSettings(routing="expected-regret", source_shrinkage=0.5)
    tokenizer = PromptTokenizer(make_tokenizer(), max_prompt_tokens=24, prefix=(2,), suffix=(3,), pad_token_id=0)
    dataset = toy_dataset()
    built = TokenizedDataset.build(dataset, tokenizer, 3, settings)
    np.testing.assert_allclose(
        built.targets, shrink_to_sources(dataset.scores, dataset.scores, dataset.sources, 0.5), rtol=1e-6
    )
    np.testing.assert_allclose(built.scores, dataset.scores)


def test_the_best_candidate_of_a_source_takes_the_whole_share():
    targets = np.array([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5], [0.0, 1.0, 0.0], [np.nan, np.nan, np.nan]])
    scores = np.array([[0.9, 0.1, 0.1], [0.0, 1.0, 1.0], [0.2, 0.3, np.nan], [1.0, 1.0, 1.0]])
    shrunk = shrink_to_sources(targets, scores, np.array(["a", "a", "b", "a"]), 0.5, "best")
    np.testing.assert_allclose(shrunk[:3], [[0.5, 0.5, 0.0], [0.0, 0.75, 0.25], [0.0, 1.0, 0.0]])
    assert np.isnan(shrunk[3]).all()


@pytest.mark.parametrize("prior", ["mean", "best"])
def test_shrunk_distributions_stay_distributions_where_scores_are_missing(prior):
    targets = np.array([[0.5, 0.5, 0.0], [np.nan, 1.0, 0.0], [0.0, np.nan, 1.0]])
    scores = np.array([[0.9, 0.9, 0.1], [np.nan, 0.8, 0.1], [0.9, np.nan, 1.0]])
    sources = np.array(["a", "a", "a"])
    shrunk = shrink_to_sources(targets, scores, sources, 0.5, prior, is_distribution=True)
    np.testing.assert_allclose(np.nansum(shrunk, axis=1), 1.0)
    np.testing.assert_array_equal(np.isnan(shrunk), np.isnan(targets))
