import pytest

from lookahead_router.training.augmentation import Augmenter, strip_instructions

QUESTION = "How many eggs does a family of five eat in a week?"
PASSAGES = [f"Passage {i}: " + "the river runs past the mill. " * 12 for i in range(5)]
EXAMPLES = [(f"What is {i} + 1?", str(i + 1)) for i in range(8)]


@pytest.mark.parametrize(
    "text",
    [
        QUESTION + "\nPlease reason step by step, and put your final answer within \\boxed{}.",
        "Please answer with the letter of the correct answer.\n\n" + QUESTION,
        QUESTION + '\nPrint only a single choice  from "A" or "B" without explanation. Answer:',
        QUESTION,
    ],
)
def test_instructions_of_benchmarks_are_taken_away(text):
    assert strip_instructions(text) == QUESTION


def test_a_text_that_is_all_instruction_stays():
    text = "Please answer with the letter of the correct answer."
    assert strip_instructions(text) == text


def test_every_variant_still_holds_the_question():
    augmenter = Augmenter(PASSAGES, EXAMPLES, seed=0)
    variants = [augmenter.vary(QUESTION) for _ in range(300)]
    assert all(QUESTION in variant for variant in variants)
    assert len(set(variants)) > 200
    assert any("river runs" in variant for variant in variants)
    assert any("What is" in variant for variant in variants)


def test_variants_are_repeatable():
    first, second = (Augmenter(PASSAGES, EXAMPLES, seed=3) for _ in range(2))
    assert [first.vary(QUESTION) for _ in range(20)] == [second.vary(QUESTION) for _ in range(20)]


def test_passages_are_of_half_a_kilobyte_to_six():
    augmenter = Augmenter(PASSAGES, [], seed=0)
    lengths = [len(augmenter.with_passages(QUESTION)) for _ in range(200)]
    assert min(lengths) > 500
    assert 5_000 < max(lengths) < 9_000


def test_without_passages_and_examples_there_are_instructions_alone():
    augmenter = Augmenter([], [], seed=0)
    assert all(QUESTION in augmenter.vary(QUESTION) for _ in range(50))
