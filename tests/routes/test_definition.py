"""What people write: every mistake is an error when the object is built, and says where."""

import json

import pytest
from routes.axes import route, routes

from lookahead_router import CandidatePool, Route, Routes
from lookahead_router.errors import ConfigurationError, UnknownCandidateError
from lookahead_router.policies import BestQuality, CostAware, Restricted
from lookahead_router.routes.definition import MAX_BYTES
from lookahead_router.routes.orders import Listed, Preferred

SECRET = "my tulips are secret"
GOOD = {"name": "a", "description": "about a", "candidates": ["x"], "examples": ["one", "two"]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"description": "  "}, "is empty"),
        ({"description": ""}, "description"),
        ({"name": "two\nlines"}, "one line"),
        ({"candidates": []}, "no candidate"),
        ({"candidates": "x"}, "wrap the single text"),
        ({"candidates": ["x", "x"]}, "unique"),
        ({"examples": [SECRET, " "]}, "example 2 is empty"),
        ({"examples": [SECRET * 2000]}, "characters"),
        ({"examples": SECRET}, "wrap the single text"),
        ({"order": SECRET}, "order"),
        ({"colour": SECRET}, "colour"),
    ],
)
def test_a_route_that_is_none_says_what_is_wrong_and_quotes_nothing(change, words):
    with pytest.raises(ConfigurationError, match=words) as error:
        Routes([{**GOOD, **change}])
    assert "tulips" not in str(error.value)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"name": "A", "description": "b", "examples": ["three"]}, "name of 'a' and name of 'A' are the same"),
        ({"name": "b", "description": "About  A", "examples": ["three"]}, "description of 'a' and description of 'b'"),
        ({"name": "b", "description": "b", "examples": ["three", "TWO"]}, "example 2 of 'a' and example 2 of 'b'"),
    ],
)
def test_two_routes_alike_are_an_error(other, words):
    with pytest.raises(ConfigurationError, match=words):
        Routes([GOOD, {**GOOD, **other}])


def test_no_route_and_what_is_no_list_of_them_is_an_error():
    for wrong in ([], "code", {"name": "code"}, 7, ["code"]):
        with pytest.raises(ConfigurationError):
            Routes(wrong)
    with pytest.raises(ConfigurationError, match="wrap the single name"):
        Routes([GOOD], otherwise="x")
    with pytest.raises(ConfigurationError, match="threshold"):
        Routes([GOOD], threshold=2)


def test_a_file_holds_what_python_says(tmp_path):
    written = Routes([GOOD], otherwise=["y"], threshold=0.5)
    settings = {"routes": [GOOD], "otherwise": ["y"], "threshold": 0.5}
    (tmp_path / "routes.json").write_text(json.dumps(settings))
    (tmp_path / "routes.yaml").write_text(json.dumps(settings))  # JSON is YAML
    assert Routes.read(tmp_path / "routes.json") == Routes.read(tmp_path / "routes.yaml") == written


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"routes: [{{{SECRET}", "no YAML"),
        (f"- {SECRET}", "expected settings"),
        ("otherwise: [x]", "`routes` is missing"),
        ("routes: []\ncolour: red", "colour is no setting"),
        ("routes:\n  - name: a\n    name: b", "twice"),
        ("routes: 7", "list of routes"),
        ("routes: [{name: a, description: b, candidates: [x], examples: [1]}]", r"routes\.0: Route: examples\.0"),
        ("x" * (MAX_BYTES + 1), "bytes"),
        (b"\xff\xfe\x00", "UTF-8"),
    ],
)
def test_a_damaged_file_is_an_error_that_names_it_and_quotes_nothing(tmp_path, text, words):
    path = tmp_path / "routes.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigurationError, match=words) as error:
        Routes.read(path)
    assert "routes.yaml" in str(error.value)
    assert "tulips" not in str(error.value)


def test_a_file_that_is_not_there_is_an_error(tmp_path):
    for path in (tmp_path / "none.yaml", "nul\0"):
        with pytest.raises(ConfigurationError, match="cannot read"):
            Routes.read(path)


def test_candidates_are_held_against_a_pool():
    Routes([GOOD], otherwise=["y"]).check(CandidatePool(["x", "y"]))
    with pytest.raises(UnknownCandidateError):
        Routes([GOOD]).check(CandidatePool(["y"]))
    with pytest.raises(UnknownCandidateError):
        Routes([GOOD], otherwise=["z"]).check(CandidatePool(["x", "y"]))


def test_names_follow_and_a_route_without_any_candidate_is_an_error():
    written = routes(otherwise=["words", "digits"])
    renamed = written.rename({"words": "w", "lazy": "l", "digits": "d"})
    assert [each.candidates for each in renamed.routes] == [("w", "l"), ("l",), ("d", "l")]
    assert renamed.otherwise == ("w", "d")
    assert written.candidates == ("words", "lazy", "digits")
    with pytest.raises(ConfigurationError, match="the route 'law' is left without a candidate"):
        written.rename({"words": "words", "digits": "digits"})


def test_a_route_decides_within_what_the_routers_policy_admits():
    rule = Restricted(CostAware(1.0), deny=("words",))
    assert route("code", "words", "lazy").policy(rule) == Restricted(rule, allow=("words", "lazy"))
    assert route("code", "lazy", order="listed").policy(rule).policy == Restricted(Listed(("lazy",)), deny=("words",))
    loose = route("code", "lazy", strict=False).policy(rule)
    assert loose == Restricted(Preferred(CostAware(1.0), ("lazy",)), deny=("words",))
    assert Routes([GOOD]).policy(None, rule) == rule
    assert Routes([GOOD], otherwise=["x"]).policy(None, BestQuality()) == Restricted(BestQuality(), allow=("x",))


def test_a_route_is_made_in_python_as_in_a_file():
    assert Routes([Route(**GOOD)]) == Routes([GOOD])
