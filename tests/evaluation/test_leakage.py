from lookahead_router.evaluation.leakage import find_leakage

TRAIN = [
    "What is the capital of France and who lives there?",
    "Write a poem about the quiet river in the winter garden, please, in four lines.",
]


def test_exact_prompts_are_found_but_for_case_and_space():
    found = find_leakage(
        TRAIN, ["what is  the capital of FRANCE and who lives there?\n", "Something else entirely."], ["x", "y"]
    )
    assert (found.n_exact, found.n_near, found.ids) == (1, 0, ("x",))


def test_near_prompts_are_found_and_stand_after_the_exact_ones():
    near = TRAIN[1].replace("four lines", "four short lines")
    found = find_leakage(
        TRAIN, [near, TRAIN[0], "A new question about nothing that was seen."], ["n", "e", "o"], threshold=0.7
    )
    assert (found.n_exact, found.n_near, found.ids) == (1, 1, ("e", "n"))


def test_the_threshold_decides_what_is_near():
    near = TRAIN[1].replace("four lines", "four short lines")
    assert find_leakage(TRAIN, [near], ["n"], threshold=0.99).n_near == 0


def test_a_shared_preamble_is_no_leak():
    preamble = "Please solve the following problem and reason step by step. "
    train = [preamble + question for question in ("How many apples does Ann have left?", "Find x where x is 3.")]
    found = find_leakage(train, [preamble + "Who wrote the letter that Tom sent to Mary?"], ["a"])
    assert found.ids == ()


def test_prompts_of_two_words_are_compared_exactly():
    found = find_leakage(["hello there", "a b"], ["Hello  there", "b a"], ["x", "y"])
    assert (found.n_exact, found.n_near) == (1, 0)


def test_other_scripts_are_words_too():
    prompt = "東京 の 天気 は どう です か 教えて ください"
    assert find_leakage([prompt, *TRAIN], [prompt + " !"], ["x"], threshold=0.8).n_near == 1


def test_many_prompts_take_several_blocks():
    train = [f"question number {n} about subject {n * 7} and place {n * 13}" for n in range(1500)]
    found = find_leakage(train, train[::-1], [str(n) for n in range(1500)])
    assert found.n_exact == 1500
    assert found.n_near == 0
