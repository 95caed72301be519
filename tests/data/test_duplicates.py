"""Near-duplicates are found, and only these."""

import numpy as np

from lookahead_router.data.duplicates import duplicate_groups

LONG = " ".join(f"word{number}" for number in range(60))


def test_prompts_that_are_equal_but_for_case_and_space_are_one_group():
    assert duplicate_groups(["Plan a trip.", "  plan a\n trip. ", "Plan a meal."]).tolist() == [0, 0, 1]


def test_a_long_prompt_with_one_word_changed_is_a_near_duplicate():
    assert duplicate_groups([LONG, LONG.replace("word30", "other"), LONG + " and more"]).tolist() == [0, 0, 0]


def test_questions_that_share_a_frame_only_are_different():
    frame = "Answer the following question with a single letter. "
    questions = [f"{frame}Which of these is the capital of {name}, and why is it?" for name in ("Peru", "Chad", "Fiji")]
    assert duplicate_groups(questions).tolist() == [0, 1, 2]


def test_groups_join_whatever_near_pairs_connect():
    words = LONG.split()
    chain = [" ".join([*words[:at], *(f"new{k}" for k in range(at, at + 3)), *words[at + 3 :]]) for at in (0, 20, 40)]
    assert len(set(duplicate_groups([*chain, LONG]).tolist())) == 1


def test_no_prompt_is_no_group():
    assert duplicate_groups([]).shape == (0,)


def test_a_prompt_a_thousand_times_among_others_costs_little_and_is_one_group():
    prompts = ["hello there my friend"] * 1000 + [
        f"question {number} about topic {number * 7}" for number in range(500)
    ]
    groups = duplicate_groups(prompts)
    assert len(np.unique(groups)) == 501
