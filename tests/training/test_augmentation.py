import difflib

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
    variants = [augmenter.vary(QUESTION) for _ in range(600)]
    slipped = [variant for variant in variants if QUESTION not in variant]
    assert 0 < len(slipped) < 80
    for variant in slipped:  # letters are missing, swapped or doubled, or of another case; no word is gone
        words = difflib.get_close_matches("family", variant.lower().split(), cutoff=0.5)
        assert words, variant
    assert len(set(variants)) > 400
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


@pytest.mark.parametrize("dress", ["with_padding", "as_message", "with_shots", "with_instructions"])
def test_clothes_are_many_and_leave_the_question_as_it_is(dress):
    augmenter = Augmenter(PASSAGES, EXAMPLES, seed=1)
    variants = [getattr(augmenter, dress)(QUESTION) for _ in range(300)]
    assert all(QUESTION in variant for variant in variants)
    assert len(set(variants)) > 150
    assert not any("{" + name + "}" in variant for variant in variants for name in ("q", "a", "n", "t", "name", "firm"))


def test_the_question_is_last_and_unanswered_among_shots():
    augmenter = Augmenter(PASSAGES, EXAMPLES, seed=2)
    for _ in range(100):
        assert QUESTION in augmenter.with_shots(QUESTION).rsplit("\n\n", 1)[-1].rsplit("###", 1)[-1]


def test_what_looks_like_a_blank_in_a_question_is_not_filled():
    augmenter = Augmenter([], [], seed=0)
    question = "Who is {name} of {firm}, and what is {n} + {q}?"
    assert all(question in augmenter.as_message(augmenter.with_padding(question)) for _ in range(100))
