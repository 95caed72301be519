"""`routes check` and `route --routes` on the command line."""

import json

import pytest

ROUTES = {
    "routes": [
        {
            "name": "cooking",
            "description": "recipes and food",
            "examples": ["how long do I boil an egg", "a recipe for leek soup", "what goes with lamb"],
            "candidates": ["gpt-4o-mini"],
        },
        {
            "name": "programming",
            "description": "writing and mending programs",
            "examples": ["reverse a list in Python", "why does this loop never end", "write a unit test"],
            "candidates": ["gpt-4o", "gpt-4o-mini"],
        },
    ],
    "otherwise": ["llama-3.1-8b-instruct"],
}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "routes.json"
    path.write_text(json.dumps(ROUTES))
    return path


def test_routes_are_checked_against_their_examples_and_against_labelled_requests(cli, file, tmp_path):
    data = tmp_path / "labelled.jsonl"
    lines = [{"text": "a recipe for apple pie", "route": "cooking"}, {"text": "who was Nero?", "route": None}]
    data.write_text("\n".join(map(json.dumps, lines)))
    code, out, err = cli("routes", "check", file, "--data", data)
    assert (code, err) == (0, "")
    for words in ("programming", "gpt-4o-mini", "(fitted)", "2 requests: 100 % right", "(none)"):
        assert words in out
    assert "apple pie" not in out
    code, out, _ = cli("routes", "check", file, "--json")
    found = json.loads(out)
    assert code == 0
    assert [route["n_examples"] for route in found["routes"]] == [3, 3]
    assert found["labelled"] is None


def test_a_prompt_goes_to_a_candidate_of_its_route(cli, file):
    code, out, err = cli("route", "--routes", file, "give me a recipe for apple pie")
    assert (code, err) == (0, "")
    assert "route cooking, similarity" in out
    code, out, _ = cli("route", "--routes", file, "--json", "give me a recipe for pie", "who was the emperor Nero?")
    decisions = list(map(json.loads, out.splitlines()))
    assert [decision["candidate"]["name"] for decision in decisions] == ["gpt-4o-mini", "llama-3.1-8b-instruct"]
    assert [decision["route"] for decision in decisions] == ["cooking", None]
    assert "no route, similarity" in cli("route", "--routes", file, "who was the emperor Nero?")[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("routes", "check", "none.yaml"), "cannot read none.yaml"),
        (("route", "--routes", "none.yaml", "x"), "cannot read none.yaml"),
        (("routes", "check", "FILE", "--candidates", "gpt-4o"), "unknown candidate 'gpt-4o-mini'"),
        (("route", "--routes", "FILE", "--candidates", "gpt-4o", "x"), "unknown candidate 'gpt-4o-mini'"),
        (("routes", "check", "FILE", "--data", "none.jsonl"), "no such file"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(cli, file, arguments, words):
    code, _, err = cli(*(file if each == "FILE" else each for each in arguments))
    assert code != 0
    assert words in err
    assert err.count("\n") == 1
