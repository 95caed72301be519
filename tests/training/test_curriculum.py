import pytest
import torch

from lookahead_router.training.curriculum import MaskingCurriculum, end_masked_blocks
from lookahead_router.training.objectives import IGNORE_INDEX

M, SEP, MID = 8, ord("S"), ord("M")


@pytest.mark.parametrize(
    ("response", "rate", "slots", "targets"),
    [
        ("abcd", 1.0, "MMMMMMMMS", "abcd...."),
        ("abcd", 0.3, "abcMMMMMS", "...d...."),
        ("abcdefgh", 0.3, "abcdefMMS", "......gh"),
        ("a", 0.3, "MMMMMMMMS", "a......."),
        ("", 1.0, "MMMMMMMMS", "........"),
    ],
)
def test_end_masked_blocks_follow_the_test_vectors_of_the_method(response, rate, slots, targets):
    ids = torch.zeros(1, 1, M, dtype=torch.long)
    ids[0, 0, : len(response)] = torch.tensor([ord(c) for c in response], dtype=torch.long)
    blocks, wanted = end_masked_blocks(ids, torch.tensor([[len(response)]]), torch.tensor([MID]), SEP, rate)
    assert _text(blocks) == slots
    assert _text(wanted) == targets


def _text(ids: torch.Tensor) -> str:
    return "".join("." if i == IGNORE_INDEX else chr(i) for i in ids[0, 0].tolist())


def test_every_candidate_has_its_own_mid():
    blocks, _ = end_masked_blocks(
        torch.full((2, 3, 4), 50), torch.full((2, 3), 4), torch.tensor([11, 12, 13]), SEP, 1.0
    )
    assert blocks[1].tolist() == [[11] * 4 + [SEP], [12] * 4 + [SEP], [13] * 4 + [SEP]]


def test_the_mask_rate_rises_linearly_to_one_and_stays():
    curriculum = MaskingCurriculum(initial_mask_rate=0.3, warmup_share=0.4)
    assert curriculum.mask_rate(0, 100) == 0.3
    assert curriculum.mask_rate(20, 100) == pytest.approx(0.65)
    assert [curriculum.mask_rate(step, 100) for step in (40, 41, 100)] == [1.0, 1.0, 1.0]


def test_without_a_warm_up_responses_are_masked_whole_at_once():
    assert MaskingCurriculum(0.3, 0.0).mask_rate(0, 100) == 1.0
