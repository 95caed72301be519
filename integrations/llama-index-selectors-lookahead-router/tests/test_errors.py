"""Wrong use is said clearly, and as early as it can be known."""

import huggingface_hub.constants
import pytest
from llama_index.core.tools import ToolMetadata
from llama_index_world import WORDS_QUERY, make_router
from lookahead_router import LookaheadPredictor
from lookahead_router.errors import CheckpointError, ConfigurationError, HubError, UnknownCandidateError
from servers.hub_server import HubServer

from llama_index.selectors.lookahead_router import LookaheadSelector


def tools(*names):
    return [ToolMetadata(name=name, description="what rivers are") for name in names]


async def test_no_tools():
    with pytest.raises(ConfigurationError, match="at least one tool"):
        LookaheadSelector(make_router()).select([], WORDS_QUERY)
    with pytest.raises(ConfigurationError, match="at least one tool"):
        await LookaheadSelector(make_router()).aselect([], WORDS_QUERY)


def test_a_tool_that_stands_for_no_candidate_and_what_may_have_been_meant():
    with pytest.raises(ConfigurationError, match=r"'word' stands for no candidate.*digits, words.*mean 'words'"):
        LookaheadSelector(make_router()).select(tools("digits", "word"), WORDS_QUERY)


def test_a_candidate_that_is_not_in_the_pool():
    with pytest.raises(UnknownCandidateError, match=r"'digit'.*Did you mean 'digits'"):
        LookaheadSelector(make_router(), candidates={"sums": "digit"})


def test_two_tools_of_one_candidate():
    selector = LookaheadSelector(make_router(), candidates={"letters": "words"})
    with pytest.raises(ConfigurationError, match=r"'letters' and 'words' both stand for .*'words'.* by_description="):
        selector.select(tools("letters", "words"), WORDS_QUERY)


@pytest.mark.parametrize("query", [WORDS_QUERY, "a riddle"])
def test_a_default_that_is_not_among_the_tools_even_where_it_is_not_needed(query):
    selector = LookaheadSelector(make_router(), min_probability=0.5, default="human")
    with pytest.raises(ConfigurationError, match="default tool 'human' is not among the choices: digits, words"):
        selector.select(tools("digits", "words"), query)


def test_only_the_default_tool():
    selector = LookaheadSelector(make_router(), min_probability=0.5, default="human")
    with pytest.raises(ConfigurationError, match="no choice but the default tool"):
        selector.select(tools("human"), WORDS_QUERY)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_selections": 0}, "max_selections must be a whole number >= 1, got 0"),
        ({"max_selections": None}, "max_selections"),
        ({"max_selections": True}, "max_selections"),
        ({"min_probability": 1.5}, r"min_probability must be a number in \[0, 1\], got 1.5"),
        ({"min_probability": "0.5"}, "min_probability"),
        ({"min_probability": float("nan")}, "min_probability"),
        ({"default": "words"}, "set min_probability too"),
        ({"route_on": 3}, "route_on must be a function of the query, got int"),
        ({"candidates": "words"}, "candidates must be a mapping of names to names, got str"),
        ({"candidates": {"guide": 5}}, "candidates must be named by strings, got int"),
        ({"by_description": "embedding"}, "by_description must be a selector, got str"),
    ],
)
def test_options_outside_their_domain(options, message):
    with pytest.raises(ConfigurationError, match=message):
        LookaheadSelector(make_router(), **options)


def test_something_else_than_a_router():
    with pytest.raises(ConfigurationError, match=r"a Router, a folder, a Hub id or None .*, not RulePredictor"):
        LookaheadSelector(make_router().predictor)


def test_a_folder_that_holds_no_predictor(tmp_path):
    with pytest.raises(CheckpointError):
        LookaheadSelector(tmp_path)


def test_a_hub_id_is_looked_up_there(monkeypatch, tmp_path):
    LookaheadPredictor.load().save(tmp_path / "saved")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with HubServer() as hub:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.endpoint)
        files = hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
        with pytest.raises(HubError, match="nobody/nothing: no such folder here, and no such repository"):
            LookaheadSelector("nobody/nothing")
        commit = hub.add("org/name", tmp_path / "saved")
        assert LookaheadSelector("org/name").router.predictor.revision == commit
