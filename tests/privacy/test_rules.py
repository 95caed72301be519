"""What the rules find in six languages, and what they leave alone."""

import json
import time
from collections import Counter
from pathlib import Path

import pytest
from privacy.made import prompts

from lookahead_router.privacy import ALL_KINDS, KINDS, find_private
from lookahead_router.privacy.rules import plain

EVERYDAY = Path(__file__).parent.parent / "data" / "everyday.jsonl"


def kinds(text, among=KINDS):
    return {finding.kind for finding in find_private(text, among)}


def test_whatever_is_made_in_six_languages_is_found():
    n, found = Counter(), Counter()
    for kind, language, prompt in prompts(40, seed=11):
        n[kind, language] += 1
        found[kind, language] += kind in kinds(prompt)
    assert len(n) == 8 * 6
    assert {key: found[key] / n[key] for key in n if found[key] < 0.95 * n[key]} == {}


def test_everyday_prompts_hold_nothing():
    texts = [json.loads(line)["prompt"] for line in EVERYDAY.read_text(encoding="utf-8").splitlines()]
    assert len(texts) > 200
    assert [text for text in texts if kinds(text)] == []


@pytest.mark.parametrize(
    "text",
    [
        "What is 4111 1111 1111 1112 in words?",
        "Add 123456789012345 and 98765432109876.",
        "ISBN 978-3-16-148410-0, ISSN 2049-3630",
        "The meeting is on 2024-05-17 at 10:30, not on 17.05.2024.",
        "valid_date('03-11-2000') => True",
        "Pi is 3.14159265358979323846264338327950288",
        "uuid 123e4567-e89b-12d3-a456-426614174000",
        "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "password = input('Password: ')",
        "api_key = os.environ['OPENAI_API_KEY']",
        "token: <your-token-here-1>",
        'PASSWORD="changeme123"',
        "from x import y @decorator def f(): a@b",
        "Version 10.4.2.1 of the driver",
        "x = 15720318185*2**(2/3)",
        "DE12 3456 7890 1234 5678 90 is no IBAN",
        "-----BEGIN PUBLIC KEY-----",
        "In 1914 1918 1939 1945 there was war",
    ],
)
def test_what_only_looks_like_it_is_left_alone(text):
    assert kinds(text) == set()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("メールはtanaka@kaisha.co.jpです", "e-mail address"),
        ("电话：１３８１２３４５６７８", "phone number"),
        ("Ruf mich an: Handy 01512 3456789", "phone number"),
        ("call me at 5551234567", "phone number"),
        ("DE89 3704 0044 0532 0130 00 THANKS", "IBAN"),
        ("4\u200b111 1111 1111 1111", "card number"),
        ("postgres://app:hunter2x9@db.internal/x", "password"),
        ("The password is Tr0ub4dor&3", "password"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "private key"),
        ("NINO: AB 12 34 56 C", "national id"),
    ],
)
def test_forms_that_are_easily_missed_are_found(text, kind):
    assert kind in kinds(text)


def test_addresses_of_machines_are_found_where_asked_for_and_public():
    assert kinds("ping 8.8.8.8 and 2001:4860:4860::8888") == set()
    assert kinds("ping 8.8.8.8", ALL_KINDS) == {"IP address"}
    assert kinds("ping 2001:4860:4860::8888", ["IP address"]) == {"IP address"}
    assert kinds("ping 192.168.0.1, 127.0.0.1 and ::1 at 10:30:15", ALL_KINDS) == set()


def test_a_finding_says_where_and_holds_nothing():
    text = "mail anna@post.de please"
    (finding,) = find_private(text)
    assert plain(text)[finding.start : finding.end] == "anna@post.de"
    assert "anna" not in repr(finding)


@pytest.mark.parametrize(
    "piece",
    ["1234 ", "a.", "a@", "AB12 ", "0 ", "電話", "password ", "eyJ", "+1 (", "4-", "x://a:", "(0 ", "passport "],
)
def test_a_megabyte_of_anything_takes_seconds_at_most(piece):
    start = time.perf_counter()
    find_private(piece * (300_000 // len(piece)), ALL_KINDS)
    assert time.perf_counter() - start < 10
