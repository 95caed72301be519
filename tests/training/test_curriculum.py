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
    ("response", "rate", "slots", "targets"),
    [
        ("abcd", 1.0, "MMMMMMMM", "abcd...."),
        ("abcd", 0.3, "abcMMMMM", "...d...."),
        ("abcdefgh", 0.3, "abcdefMM", "......gh"),
        ("a", 0.3, "MMMMMMMM", "a......."),
        ("", 1.0, "MMMMMMMM", "........"),
    ],
)
def test_masked_responses_follow_the_test_vectors_of_the_method(response, rate, slots, targets):
    shown, wanted = mask_responses(*responses(response), torch.tensor([MID]), rate)
    assert text_of(shown) == slots
    assert text_of(wanted) == targets


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
