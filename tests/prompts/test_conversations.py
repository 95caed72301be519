"""What of a conversation is routed: earlier turns, passages, and whose they are."""

import pytest

from lookahead_router.errors import PromptError
from lookahead_router.prompts import estimate_tokens, prompt_text, read_request
from lookahead_router.prompts.reading import CONTEXT_TOKENS


def user(content) -> dict:
    return {"role": "user", "content": content}


CALLED = {"role": "assistant", "content": "Thought: I look it up.\nAction: weather\nAction Input: Bonn"}
ASKED = user("What is the weather in Bonn?")
LATER = user("How far is the moon from the earth?")

# Turns before the question


CODE = user("Write a function in Python that reverses a linked list.")
ANSWER = {"role": "assistant", "content": "def reverse(node): ..."}


def test_a_question_that_cannot_stand_alone_is_routed_after_what_it_refers_to():
    talk = [CODE, ANSWER, user("and in Rust?")]
    assert read_request(talk).text == prompt_text(talk) == f"{CODE['content']}\n\nand in Rust?"
    more = [*talk, ANSWER, user("why?")]
    assert read_request(more).text == f"{CODE['content']}\n\nand in Rust?\n\nwhy?"


@pytest.mark.parametrize("n_characters", [10, 460, 660, 100_000])
def test_how_long_an_answer_is_changes_nothing(n_characters):
    answer = {"role": "assistant", "content": "x" * n_characters}
    assert prompt_text([CODE, answer, user("and in Rust?")]) == prompt_text([CODE, ANSWER, user("and in Rust?")])
    story = user("Write a story about a fox.")
    assert prompt_text([CODE, answer, story]) == story["content"]


def test_earlier_turns_are_cut_from_both_ends_and_never_vanish():
    long = user("Translate the report. " + "filler " * 5000 + "It has to be formal.")
    text = prompt_text([long, ANSWER, user("and in French?")])
    assert text.startswith("Translate the report. filler")
    assert text.endswith("formal.\n\nand in French?")
    assert estimate_tokens(text) < CONTEXT_TOKENS * 1.2
    question, *_, last = prompt_text([CODE, long, user("why?"), ANSWER, user("and in French?")]).split("\n\n")
    assert (question[:9], last) == ("Translate", "and in French?")


def test_where_no_question_says_what_it_is_about_the_last_answer_does():
    talk = [user("hi"), {"role": "assistant", "content": "Shall I review your SQL?"}, user("yes please")]
    assert prompt_text(talk) == "hi\n\nShall I review your SQL?\n\nyes please"


def test_earlier_turns_have_as_many_characters_as_one_allows():
    talk = [CODE, ANSWER, user("and in Rust?")]
    assert read_request(talk, context_chars=0).text == "and in Rust?"
    assert read_request(talk, context_chars=10).text == f"{CODE['content'][:5]}{CODE['content'][-5:]}\n\nand in Rust?"
    assert read_request(talk, context_chars=1000).text == prompt_text(talk)


def test_reports_of_tools_are_no_turns():
    talk = [
        ASKED,
        CALLED,
        user("Observation: sunny"),
        {"role": "assistant", "content": "Sunny."},
        user("and tomorrow?"),
    ]
    request = read_request(talk)
    assert request.text == f"{ASKED['content']}\n\nand tomorrow?"
    assert (request.turn_starts, request.turn_start) == ((0, 4), 4)


def test_what_another_agent_reports_under_its_name_is_no_question_of_the_user():
    report = {"role": "user", "name": "researcher", "content": "Solve x^2 = 4 for Norway's 5.6 million visitors."}
    talk = [ASKED, {"role": "assistant", "content": "I ask the researcher."}, report]
    assert read_request(talk).text == ASKED["content"]
    named = [{**ASKED, "name": "ann"}, ANSWER, {**LATER, "name": "bob"}]  # people who share a conversation
    assert read_request(named).text == LATER["content"]


def test_a_request_says_what_holds_the_conversation():
    assert not read_request([user("hi"), ANSWER, CODE]).has_topic
    request = read_request([CODE, ANSWER, user("and in Rust?")])
    assert (request.has_topic, request.refers_back) == (True, True)
    assert request.n_earlier_tokens == read_request([CODE, ANSWER]).n_tokens
    assert not read_request([CODE, ANSWER, user("Write a story about a fox.")]).refers_back
    assert not read_request("and in Rust?").refers_back


# Passages


class Document:
    """As in LangChain."""

    def __init__(self, page_content):
        self.page_content = page_content


def test_passages_are_counted_and_never_routed():
    plain = read_request("Who built it?")
    passages = ["The bridge was built by Ada Storm.", Document("In 1902."), {"text": "Of steel."}]
    request = read_request("Who built it?", context=passages)
    assert (request.text, request.needs) == (plain.text, plain.needs)
    assert request.passages == ("The bridge was built by Ada Storm.", "In 1902.", "Of steel.")
    assert request.n_tokens == plain.n_tokens + request.n_context_tokens > plain.n_tokens
    assert read_request("Who built it?", context="one passage").passages == ("one passage",)
    assert "Storm" not in repr(request)


def test_passages_that_stand_in_a_message_are_counted_once_and_cut_out_of_the_question():
    passages = ["The bridge was built by Ada Storm.", "It is made of steel."]
    template = [user(f"Use this:\n{passages[0]}\n{passages[1]}\nWho built the bridge?")]
    request = read_request(template, context=passages)
    assert request.text.split() == ["Use", "this:", "Who", "built", "the", "bridge?"]
    assert request.n_tokens == read_request(template).n_tokens
    assert read_request(passages[0], context=passages).text == passages[0]
    relevant, contradicting = "Ada Storm built it.", "No: Ben Hill built it."
    assert (
        len({read_request(f"{each}\n\nWho built it?", context=[each]).text for each in (relevant, contradicting)}) == 1
    )


@pytest.mark.parametrize("context", [5, b"text", {"text": "a lone one"}, [5], [None], [Document(None)]])
def test_what_holds_no_text_is_no_passage(context):
    with pytest.raises(PromptError, match="passage"):
        read_request("Who built it?", context=context)


def test_ten_megabytes_of_passages_are_read_at_once():
    request = read_request("Who built it?", context=["word " * 1_000_000] * 2)
    assert request.text == "Who built it?"
    assert request.n_context_tokens > 2_000_000
