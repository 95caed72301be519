import numpy as np
import pytest
from conftest import POOL, make_tokenizer, toy_dataset

from lookahead_router.predictors.tokenization import PromptTokenizer
from lookahead_router.training.batches import (
    Collator,
    LengthBucketSampler,
    TokenizedDataset,
    ranks_candidates,
    source_weights,
)


@pytest.fixture
def tokenized():
    tokenizer = PromptTokenizer(make_tokenizer(), max_prompt_tokens=24, cls_token_id=2, sep_token_id=3, pad_token_id=0)
    return TokenizedDataset.build(toy_dataset(), tokenizer, n_slots=3)


def test_responses_are_cut_to_the_slots_and_their_lengths_counted(tokenized):
    assert tokenized.response_ids.shape == (120, len(POOL), 3)
    assert set(tokenized.response_lengths.ravel()) <= {2, 3}


def test_an_epoch_visits_every_row_once_in_an_order_of_its_own():
    sampler = LengthBucketSampler(list(range(100)), batch_size=8, seed=1)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    assert sorted(first) == sorted(second) == list(range(100))
    assert first != second
    sampler.set_epoch(0)
    assert list(sampler) == first


def test_batches_hold_prompts_of_like_length():
    lengths = np.random.default_rng(0).integers(1, 200, size=640)
    order = list(LengthBucketSampler(lengths, batch_size=32, seed=0))
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
