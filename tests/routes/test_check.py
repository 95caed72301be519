"""What a look at routes says of them."""

import json

import pytest
from routes.axes import AxesEmbedder, route, routes

from lookahead_router import Route, Routes
from lookahead_router.errors import SchemaError
from lookahead_router.routes.check import check_matcher, hit_rates, read_labelled


def test_turns_spans_and_conversations_are_counted_as_in_the_paper():
    assert hit_rates(["AABBA"], ["AABAA"]) == (0.8, pytest.approx(2 / 3), 0.0)
    assert hit_rates(["AAB", "C"], ["AAB", "D"]) == (0.75, pytest.approx(2 / 3), 0.5)
    assert hit_rates(["A"], ["A"]) == (1.0, 1.0, 1.0)


def test_routes_apart_are_found_again_and_overlap_with_none():
    found = check_matcher(routes().fit(AxesEmbedder()))
    assert [(each.name, each.hit_rate, each.below) for each in found.routes] == [
        ("code", 1.0, 0.0),
        ("law", 1.0, 0.0),
        ("food", 1.0, 0.0),
    ]
    assert found.overlaps == ()
    assert found.is_fitted
    assert found.labelled is None
    assert json.loads(json.dumps(found.to_dict()))["routes"][0]["n_examples"] == 6


def test_routes_that_lie_together_are_said_to_overlap():
    other = Route(name="also code", description="codes", examples=["code it", "my code"], candidates=["digits"])
    found = check_matcher(Routes([route("code"), other, route("law")]).fit(AxesEmbedder()))
    ((one, two, cosine),) = found.overlaps
    assert {one, two} == {"code", "also code"}
    assert cosine > 0.9
    assert found.routes[0].nearest == "also code"


def test_labelled_requests_are_matched_and_counted(tmp_path):
    path = tmp_path / "labelled.jsonl"
    lines = [
        {"text": "code", "route": "code"},
        {"text": "law", "route": "code"},
        {"text": "tulips", "route": None},
        {"text": "write code that sorts a list of names", "route": "code", "conversation": 1},
        {"text": "commit it", "route": "code", "conversation": 1},
        {"messages": [{"role": "user", "content": "food"}], "route": "food"},
    ]
    path.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    conversations = read_labelled(path, ("code", "law", "food"))
    assert [len(lines) for lines in conversations] == [1, 1, 1, 2, 1]
    labelled = check_matcher(routes().fit(AxesEmbedder()), conversations).labelled
    assert labelled.confusion == {"code": {"code": 3, "law": 1}, "food": {"food": 1}, "": {"": 1}}
    assert (labelled.n, labelled.hit_rate) == (6, pytest.approx(5 / 6))
    assert (labelled.span_hit_rate, labelled.conversation_hit_rate) == (0.8, 0.8)
    assert labelled.unmatched == pytest.approx(1 / 6)


@pytest.mark.parametrize(
    "line",
    [
        "tulips",
        "[]",
        '{"text": "tulips"}',
        '{"text": "tulips", "messages": [], "route": null}',
        '{"text": "tulips", "route": "gardening"}',
        '{"text": " ", "route": null}',
        '{"text": 7, "route": null}',
        '{"messages": "tulips", "route": null}',
        '{"text": "tulips", "route": []}',
    ],
)
def test_a_malformed_line_is_an_error_that_says_where_and_quotes_nothing(tmp_path, line):
    path = tmp_path / "labelled.jsonl"
    path.write_text('{"text": "code", "route": "code"}\n' + line)
    with pytest.raises(SchemaError) as error:
        read_labelled(path, ("code",))
    assert error.value.row == 1
    assert "tulips" not in str(error.value)


def test_no_file_and_an_empty_one_are_errors(tmp_path):
    (tmp_path / "empty.jsonl").write_text("\n")
    for name in ("empty.jsonl", "none.jsonl"):
        with pytest.raises(SchemaError):
            read_labelled(tmp_path / name, ("code",))


def test_a_chat_models_routes_are_checked_on_labelled_requests_alone():
    found = check_matcher(routes().using(lambda prompt: "law"))
    assert found.threshold is None
    assert found.routes[0].hit_rate is None
