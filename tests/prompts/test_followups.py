"""Which questions begin a topic, in any language."""

import json
from pathlib import Path

import pytest

from lookahead_router.prompts.followups import Talk, has_matter
from lookahead_router.prompts.reading import FOLLOWS

DIALOGUES = Path(__file__).parents[1] / "data" / "dialogues.jsonl"

ALONE = """
Explain recursion | Write a story about a fox. | Write a haiku | 2+2 | x^2=4 | What is the capital of France?
Why does bread rise? | How long does it take to fly to Mars? | Is it safe to eat raw eggs? | Who was Goethe?
Is this sentence correct: He go to school | Write a poem about rain and make it funny | Thanks. Now write a poem on owls
Wer hat die Glühbirne erfunden? | Schreib ein Gedicht über den Herbst. | Gibt es Leben auf dem Mars?
Quelle est la capitale du Japon ? | Écris un poème sur la mer | ¿Qué es la entropía? | ¿Cuál es la capital de Chile?
日本の首都はどこですか | キツネについての物語を書いてください | 写一个关于狐狸的故事 | 法国的首都是哪里？ | 什么是熵？
Che cos'è l'entropia? | 파이썬으로 정렬 함수를 작성해 주세요 | เขียนฟังก์ชันภาษาไพทอนที่เรียงลำดับรายการตัวเลขจากน้อยไปมาก
"""
REFERRING = """
hi | hello! | Hello, how are you? | thanks | go on | yes please | why? | Python? | and in Rust? | in Rust, please
Now shorter | Translate it to German | How does it work? | What about the second one? | Can you make it shorter?
Can you explain the second step? | Does that also work for negative numbers? | What should I wear?
Which of the two is faster? | Use a list instead. | perfect, now add that I speak Polish
Guten Tag | Warum? | Und auf Deutsch? | Kannst du das kürzer machen? | Noch ein Beispiel bitte | Mach es lustiger
Bonjour, ça va ? | Pourquoi ? | Et en Rust ? | Traduis-le en anglais | Peux-tu le faire en plus court ?
Hola, ¿cómo estás? | ¿Por qué? | ¿Y en Rust? | Tradúcelo al inglés | Hazlo más corto | Dame más ejemplos.
こんにちは | なぜ？ | Rustでは？ | もっと短くしてください | それを英語に訳して | 続けて
你好 | 为什么？ | 那用Rust呢？ | 翻译成英文 | 再短一点 | 继续 | ciao | più corto | 왜?
"""


def texts(block: str) -> list[str]:
    return [text.strip() for line in block.strip().splitlines() for text in line.split(" | ")]


def dialogues() -> list[dict]:
    return [json.loads(line) for line in DIALOGUES.read_text(encoding="utf-8").splitlines()]


CODE = [(True, "How do I read a large CSV file in Python?"), (False, "With pandas, in chunks of 100,000 rows.")]


def chance(question: str, turns: list[tuple[bool, str]]) -> float:
    return Talk(turns).chance_of_new_topic(question, len(turns))


@pytest.mark.parametrize("question", texts(ALONE))
def test_a_first_question_that_says_something_begins_a_topic(question):
    assert has_matter(question)
    assert chance(question, []) == chance(question, [(True, "hi"), (False, "Hello! What about Rome?")]) == 1
    assert Talk([(True, question)]).first == 0


@pytest.mark.parametrize("question", texts(REFERRING))
def test_what_refers_back_goes_on_with_a_topic(question):
    assert chance(question, CODE) < FOLLOWS


def test_a_question_that_points_back_goes_on_also_where_it_is_long_for_its_user():
    asked = [(True, "What is entropy?"), (False, "A measure of disorder.")]
    assert chance("Can you explain that to me like I was five years old?", asked) < FOLLOWS
    assert chance("Can you explain quantum gravity to me like I was five years old?", asked) > 0.5


@pytest.mark.parametrize(
    "question", texts("hi | hello! | thanks | go on | yes please | why? | 你好 | 好的 | はい | Guten Tag | merci")
)
def test_a_greeting_says_nothing_and_is_no_topic(question):
    assert not has_matter(question)
    assert Talk([(True, question)]).first == 1


def test_what_is_long_says_something_and_takes_no_time():
    assert has_matter("and " * 5_000_000)
    assert not has_matter("and " * 5)


def test_what_is_short_or_takes_words_up_again_is_likely_to_go_on():
    assert chance("Which chunks are sensible?", CODE) < 0.1
    assert chance("My hands always shake.", CODE) < 0.3
    assert chance("Which wine goes well with a risotto of mushrooms and peas?", CODE) > 0.6
    assert chance("Plan a weekend in Rome for two, with a dog and a baby.", CODE) > 0.6
    known, unknown = "Write a novel on pandas in large Python files", "Write a novel on horses in large green meadows"
    assert chance(known, CODE) < chance(unknown, CODE)
    assert chance("用Python怎么读取一个很大的文件，又不占用很多内存？", [(True, "写一个关于狐狸的睡前故事。")]) > 0.5


def test_how_long_somebodys_questions_are_tells_what_is_long_for_them():
    question = "Which trains go from Bonn to Rome at night?"
    terse = [(True, "CSV in pandas"), (False, "read_csv"), (True, "chunks?"), (False, "chunksize")]
    wordy = [(True, CODE[0][1] * 5), CODE[1], (True, "And how do I do the same with a file that somebody zipped? " * 3)]
    assert chance(question, wordy) < 0.5 < chance(question, terse)


def test_a_long_text_that_was_pasted_makes_no_later_question_short():
    pasted = [(True, "Summarize this. " + "The tenant pays the rent. " * 1000), (False, "Rent is due.")]
    assert (
        chance("How do I write a Terraform module that makes an S3 bucket with versions and no public access?", pasted)
        > 0.5
    )


def test_what_goes_along_begins_with_the_topic_and_leaves_out_the_middle_of_many():
    turns = [*CODE, (True, "and in Rust?"), (False, "csv.")]
    assert Talk(turns).asked_since(len(turns)) == [CODE[0][1], "and in Rust?"]
    for n in range(10):
        turns += [(True, f"and {n}?"), (False, "So.")]
    assert Talk(turns).asked_since(len(turns)) == [CODE[0][1], "and 7?", "and 8?", "and 9?"]
    fox = "Write a bedtime story about a clever fox and a hen with a lantern."
    assert Talk([*turns, (True, fox)]).asked_since(len(turns) + 1) == [fox]


@pytest.mark.parametrize("question", ["", "?", "x" * 10_000_000, "数" * 10_000_000, "2 + 2 = " * 1_000_000])
def test_the_chance_of_a_new_topic_is_one_of_anything(question):
    assert 0 < chance(question, [(True, question), (False, ""), (False, "x " * 5_000_000), *CODE]) <= 1


def test_few_questions_of_the_dialogues_are_taken_for_the_other_kind():
    changes, following = [], []
    for dialogue in dialogues():
        turns = []
        for message in dialogue["messages"]:
            right, is_users = message.get("right"), message["role"] == "user" and "name" not in message
            if right in ("stay", "leave") and is_users:
                (following if right == "stay" else changes).append(chance(message["content"], turns))
            turns.append((is_users, message["content"]))
    assert min(len(changes), len(following)) > 130
    assert sum(each < 0.5 for each in changes) <= 0.15 * len(changes)
    assert sum(each >= 0.5 for each in following) <= 0.15 * len(following)
