import pytest
import torch

from lookahead_router.training.curriculum import MaskingCurriculum, mask_responses, next_token_targets
from lookahead_router.training.objectives import IGNORE_INDEX

M, MID, EOS = 8, ord("M"), ord("E")


def responses(text: str) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.zeros(1, 1, M, dtype=torch.long)
    ids[0, 0, : len(text)] = torch.tensor([ord(c) for c in text], dtype=torch.long)
    return ids, torch.tensor([[len(text)]])


def text_of(ids: torch.Tensor) -> str:
    return "".join("." if i == IGNORE_INDEX else chr(i) for i in ids[0, 0].tolist())


@pytest.mark.parametrize(
    ("masking", "response", "rate", "slots", "targets"),
    [
        ("end", "abcd", 1.0, "MMMMMMMM", "abcd...."),
        ("end", "abcd", 0.3, "abcMMMMM", "...d...."),
        ("end", "abcdefgh", 0.3, "abcdefMM", "......gh"),
        ("end", "a", 0.3, "MMMMMMMM", "a......."),
        ("end", "", 1.0, "MMMMMMMM", "........"),
        ("start", "abcd", 1.0, "MMMMMMMM", "abcd...."),
        ("start", "abcd", 0.3, "MMMMMbcd", "a......."),
        ("start", "abcdefgh", 0.3, "MMcdefgh", "ab......"),
        ("start", "", 0.3, "MMMMMMMM", "........"),
        ("random", "abcd", 1.0, "MMMMMMMM", "abcd...."),
    ],
)
def test_masked_responses_follow_the_test_vectors_of_the_method(masking, response, rate, slots, targets):
    shown, wanted = mask_responses(*responses(response), torch.tensor([MID]), rate, masking)
    assert text_of(shown) == slots
    assert text_of(wanted) == targets


def test_random_masking_hides_its_rate_and_asks_for_exactly_what_it_hides():
    torch.manual_seed(0)
    ids = torch.randint(100, 200, (40, 5, 16))
    lengths = torch.randint(0, 17, (40, 5))
    slots, targets = mask_responses(ids, lengths, torch.arange(5), 0.3, "random")
    is_token = torch.arange(16) < lengths[..., None]
    is_asked = targets != IGNORE_INDEX
    assert (slots[is_asked] < 5).all()
    assert (targets[is_asked] == ids[is_asked]).all()
    assert (slots[is_token & ~is_asked] == ids[is_token & ~is_asked]).all()
    assert not (is_asked & ~is_token).any()
    assert is_asked.sum() / is_token.sum() == pytest.approx(0.3, abs=0.04)


def test_every_candidate_has_its_own_filler():
    slots, _ = mask_responses(torch.full((2, 3, 4), 50), torch.full((2, 3), 4), torch.tensor([11, 12, 13]), 1.0)
    assert slots[1].tolist() == [[11] * 4, [12] * 4, [13] * 4]


@pytest.mark.parametrize(
    ("response", "targets"),
    [("abc", "abcE....."), ("abcdefgh", "abcdefgh."), ("", "........."), ("a", "aE.......")],
)
def test_a_causal_network_says_each_token_after_the_one_before_and_ends_what_ended(response, targets):
    assert text_of(next_token_targets(*responses(response), EOS)) == targets


def test_the_mask_rate_rises_linearly_to_one_and_stays():
    curriculum = MaskingCurriculum(initial_mask_rate=0.3, warmup_share=0.4)
    assert curriculum.mask_rate(0, 100) == 0.3
    assert curriculum.mask_rate(20, 100) == pytest.approx(0.65)
    assert [curriculum.mask_rate(step, 100) for step in (40, 41, 100)] == [1.0, 1.0, 1.0]


def test_without_a_warm_up_responses_are_masked_whole_at_once():
    assert MaskingCurriculum(0.3, 0.0).mask_rate(0, 100) == 1.0
