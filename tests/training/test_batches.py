import numpy as np
import pytest
from conftest import POOL, make_tokenizer, toy_dataset

from lookahead_router.predictors.tokenization import PromptTokenizer
from lookahead_router.training.batches import (
    Collator,
    LengthBucketSampler,
    TokenizedDataset,
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
