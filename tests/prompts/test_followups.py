"""Which questions stand alone, in any language."""

import json
from pathlib import Path

import pytest

from lookahead_router.prompts.followups import chance_of_new_topic, stands_alone

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


@pytest.mark.parametrize("question", texts(ALONE))
def test_a_question_with_matter_of_its_own_stands_alone(question):
    assert stands_alone(question)


@pytest.mark.parametrize("question", texts(REFERRING))
def test_a_greeting_or_what_refers_back_does_not(question):
    assert not stands_alone(question)


def test_what_is_long_stands_alone_and_takes_no_time():
    assert stands_alone("and " * 5_000_000)
    assert not stands_alone("and " * 5)


def test_few_questions_of_the_dialogues_are_taken_for_the_other_kind():
    first = [
        dialogue for dialogue in dialogues() if dialogue["half"] in ("tune", "report")
    ]  # others refer without words
    asked = [
        m
        for dialogue in first
        for m in dialogue["messages"]
        if m.get("right") and m["role"] == "user" and "name" not in m
    ]
    new = [stands_alone(m["content"]) for m in asked if m["right"] in ("open", "leave")]
    following = [stands_alone(m["content"]) for m in asked if m["right"] == "stay"]
    assert len(new) > 120
    assert new.count(False) <= 0.02 * len(new)
    assert len(following) > 160
    assert following.count(True) <= 0.2 * len(following)
    assert not any(stands_alone(m["content"]) for m in asked if m["right"] == "greet")


CODE = ["How do I read a large CSV file in Python?", "With pandas, in chunks of 100,000 rows."]


def test_what_is_short_or_takes_words_up_again_is_likely_to_go_on():
    assert chance_of_new_topic("Which chunks are sensible?", CODE) < 0.1
    assert chance_of_new_topic("My hands always shake.", CODE) < 0.2
    assert chance_of_new_topic("Which wine goes well with a risotto of mushrooms and peas?", CODE) > 0.6
    assert chance_of_new_topic("Plan a weekend in Rome for two.", CODE) > 0.6
    assert chance_of_new_topic("Write a novel on pandas in large Python files", CODE) < chance_of_new_topic(
        "Write a novel on horses in large green meadows", CODE
    )
    assert chance_of_new_topic("用Python怎么读取一个很大的文件？", ["写一个关于狐狸的睡前故事。"]) > 0.5


@pytest.mark.parametrize("question", ["", "?", "x" * 10_000_000, "数" * 10_000_000, "2 + 2 = " * 1_000_000])
def test_the_chance_of_a_new_topic_is_one_of_anything(question):
    assert 0 < chance_of_new_topic(question, [question, "", "x " * 5_000_000]) <= 1


def test_changes_of_topic_are_told_from_follow_ups_that_could_stand_alone():
    changes, following = [], []
    for dialogue in dialogues():
        said = []
        for message in dialogue["messages"]:
            right, text = message.get("right"), message["content"]
            if right in ("stay", "leave") and message["role"] == "user" and stands_alone(text):
                (following if right == "stay" else changes).append(chance_of_new_topic(text, said[-8:]))
            said.append(text)
    assert min(len(changes), len(following)) > 100
    assert sum(chance < 0.2 for chance in changes) <= 0.2 * len(changes)
    assert sum(chance < 0.2 for chance in following) >= 0.5 * len(following)
