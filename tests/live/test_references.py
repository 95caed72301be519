import pytest

from lookahead_router.errors import DataError
from lookahead_router.live.references import GRADERS, check_reference, letter_of, number_of

RIGHT = {
    "exact": [("Paris", "Paris"), (" Paris\n", "Paris"), ("Rome", ["Paris", "Rome"]), ("4", 4)],
    "normalized": [
        ("The  Eiffel-Tower!", "eiffel tower"),
        ("É", "e\u0301"),
        ("It's", "its"),
        ("ＡＢＣ", "abc"),
        ("東京。", "東京"),
    ],
    "contains": [("It is Paris, I think.", "paris"), ("The answer: New   York.", "New York"), ("no", ["yes", "no"])],
    "number": [
        ("4", 4),
        ("The answer is 4.", "4"),
        ("First 3, then 7, so \\boxed{12}. Check: 5 + 7.", 12),
        ("3 + 4 = 7\n#### 7", "7"),
        ("It costs $1,234.50 in all.", 1234.5),
        ("Answer: -3", "-3"),
        ("x = −3", -3),
        ("\\boxed{\\frac{3}{4}}", 0.75),
        ("\\boxed{\\dfrac{-1}{2}}", "-1/2"),
        ("3/4", "0.75"),
        ("about 6.02e23", 6.02e23),
        ("50%", "50"),
        ("50\\%", "0.5"),
        ("0.5", "50%"),
        ("The result is **42** apples, of 100.", 42),
        ("12,345", 12345),
        ("one of 3 or 4: the answer is 4", [4, 5]),
        (".5", 0.5),
    ],
    "choice": [
        ("B", "B"),
        ("(B)", "B"),
        ("The correct answer is (C).", "C"),
        ("**Answer: D**", "d"),
        ("\\boxed{\\text{A}}", "A"),
        ("B) because it is blue\n\nA cat is not.", "B"),
        ("Let us think. A is wrong. So the answer is B.", "(B)"),
        ("The answer is b", "B"),
        ("The correct option is: E", "E"),
        ("A. Wrong\nB. Wrong\nThe answer is\n\nC", "C"),
    ],
    "regex": [("code 123-456", r"\d{3}-\d{3}"), ("x", ["y", "^x$"])],
    "json": [
        ('{"a": 1, "b": [true, null]}', {"b": [True, None], "a": 1.0}),
        ('Here it is:\n```json\n{"a": 1}\n```\nDone.', '{"a": 1}'),
        ('I first thought {"a": 2}, but it is {"a": 1}.', {"a": 1}),
        ("[1, 2]", [1, 2]),
        ('"text"', '"text"'),
    ],
}
WRONG = {
    "exact": [("paris", "Paris"), ("Paris.", "Paris"), ("", "x")],
    "normalized": [("Eiffel", "Eiffel Tower"), ("", ""), ("the", "the")],
    "contains": [("Parisian", "Paris"), ("York New", "New York"), ("x", "")],
    "number": [
        ("4", 5),
        ("none", 4),
        ("40", 4),
        ("0.4", 4),
        ("v4", 4),
        ("\\boxed{12} and 13", 13),
        ("the answer is 3, and not 4", 4),
        ("-3", 3),
        ("1.001", 1),
        ("2024-05-06", 2024),
    ],
    "choice": [
        ("A cat is an animal.", "A"),
        ("I would say B or C.", "B"),
        ("A. one\nB. two\nC. three\n", "A"),
        ("The answer is a matter of taste", "A"),
        ("The answer is Berlin.", "B"),
        ("", "A"),
    ],
    "regex": [("code 12", r"\d{3}")],
    "json": [
        ('{"a": 1, "b": 2}', {"a": 1}),
        ('{"a": true}', {"a": 1}),
        ("no JSON at all {", {"a": 1}),
        ("[2, 1]", [1, 2]),
        ('{"a": "1"}', {"a": 1}),
        ("null", {"a": None}),
    ],
}


@pytest.mark.parametrize(
    ("kind", "response", "reference"), [(k, *case) for k, cases in RIGHT.items() for case in cases]
)
def test_what_is_right_scores_one(kind, response, reference):
    check_reference(kind, reference)
    assert GRADERS[kind](response, reference) == 1.0


@pytest.mark.parametrize(
    ("kind", "response", "reference"), [(k, *case) for k, cases in WRONG.items() for case in cases]
)
def test_what_is_wrong_scores_nothing(kind, response, reference):
    assert GRADERS[kind](response, reference) == 0.0


def test_every_grader_has_cases():
    assert set(RIGHT) == set(WRONG) == set(GRADERS)


@pytest.mark.parametrize(
    ("kind", "reference", "message"),
    [
        ("number", "many", "expected a number"),
        ("number", True, "expected a number"),
        ("choice", "Paris", "expected a letter"),
        ("regex", "(", "no regular expression"),
        ("exact", {"a": 1}, "expected text"),
        ("json", "{", "expected JSON"),
    ],
)
def test_a_reference_that_a_grader_cannot_use_is_an_error(kind, reference, message):
    with pytest.raises(DataError, match=message):
        check_reference(kind, reference)


def test_what_gives_no_answer_gives_none():
    assert number_of("I do not know.") is None
    assert letter_of("I do not know.") is None


def test_graders_take_long_and_odd_text_in_good_time():
    text = "{[" * 3000 + "1,234 " * 3000 + "(((" * 3000 + "answer is " * 3000 + "\\boxed{" * 1000
    for kind, grader in GRADERS.items():
        assert grader(text, "7" if kind != "json" else {"a": 1}) in (0.0, 1.0)
