"""What is selected, by which rule, and how the result tells of it."""

import hashlib
import pickle

import pytest
from llama_index.core.base.base_selector import BaseSelector, SelectorResult
from llama_index.core.tools import ToolMetadata
from llama_index_world import NUMBERS_QUERY, POOL, WORDS_QUERY, RulePredictor, make_router, recorded_events
from lookahead_router import Prediction, Router
from lookahead_router.errors import ConfigurationError, PromptError

from llama_index.selectors.lookahead_router import (
    LookaheadSelectionEvent,
    LookaheadSelector,
    LookaheadSelectorResult,
    NoSuitableChoiceError,
)

TOOLS = [ToolMetadata(name=name, description="what rivers are") for name in POOL]


def test_the_choice_served_by_the_best_candidate_is_selected():
    selector = LookaheadSelector(make_router(POOL))
    assert isinstance(selector, BaseSelector)
    assert selector.select(TOOLS, NUMBERS_QUERY).ind == 0
    assert selector.select(TOOLS, WORDS_QUERY).ind == 1
    assert selector.select(TOOLS[::-1], WORDS_QUERY).ind == 1
    assert selector.select(TOOLS[::-1], NUMBERS_QUERY).ind == 2


async def test_asynchronous_selection_selects_the_same():
    selector = LookaheadSelector(make_router(POOL), max_selections=2)
    for query in (NUMBERS_QUERY, WORDS_QUERY):
        assert await selector.aselect(TOOLS, query) == selector.select(TOOLS, query)


def test_only_the_candidates_of_the_choices_take_part():
    result = LookaheadSelector(make_router(POOL)).select(TOOLS[1:], NUMBERS_QUERY)
    assert result.ind == 0
    assert set(result.scores) == {"words", "lazy"}


def test_tools_are_tied_to_candidates_by_name():
    selector = LookaheadSelector(make_router(POOL), candidates={"sums": "digits", "letters": "words"})
    tools = [ToolMetadata(name=name, description="") for name in ("letters", "sums", "lazy")]
    result = selector.select(tools, NUMBERS_QUERY)
    assert result.ind == 1
    assert result.candidate_names == ["digits"]


def test_a_router_with_aliases_is_tied_by_its_aliases():
    selector = LookaheadSelector(make_router().with_aliases({"digits": "coder-7b"}), candidates={"sums": "coder-7b"})
    tools = [ToolMetadata(name="words", description=""), ToolMetadata(name="sums", description="")]
    assert selector.select(tools, NUMBERS_QUERY).ind == 1


def test_several_selections_come_best_first_with_a_reason_each():
    result = LookaheadSelector(make_router(POOL), max_selections=2).select(TOOLS, WORDS_QUERY)
    assert result.inds == [1, 0]
    assert result.candidate_names == ["words", "digits"]
    assert result.reasons == [
        "'words' ranks 1 of 3 candidates with predicted score 0.800",
        "'digits' ranks 2 of 3 candidates with predicted score 0.300",
    ]


def test_more_selections_than_choices_are_all_choices():
    assert LookaheadSelector(make_router(), max_selections=9).select(TOOLS[:2], WORDS_QUERY).inds == [1, 0]


def test_the_result_is_a_selector_result_with_scores_that_serialises():
    result = LookaheadSelector(make_router()).select(TOOLS[:2], WORDS_QUERY)
    assert isinstance(result, SelectorResult)
    assert result.scores == pytest.approx({"digits": 0.3, "words": 0.8})
    assert (result.predictor, result.revision, result.is_default, result.probabilities) == ("rule", "1", False, None)
    assert LookaheadSelectorResult.model_validate_json(result.model_dump_json()) == result
    assert "river" not in result.model_dump_json()


@pytest.mark.parametrize(
    ("minimum", "indices"), [(0.0, [0, 1, 2]), (0.16, [0, 1]), (0.5, [0]), (0.81, [0])]
)  # squares of the scores 0.9, 0.4 and 0.25
def test_min_probability_leaves_out_the_unlikely(minimum, indices):
    selector = LookaheadSelector(make_router(POOL), max_selections=3, min_probability=minimum)
    result = selector.select(TOOLS, NUMBERS_QUERY)
    assert result.inds == indices
    assert result.probabilities == pytest.approx({"digits": 0.81, "words": 0.16, "lazy": 0.0625})
    assert "probability 0.810" in result.reasons[0]


async def test_none_of_the_choices_raises_clearly_without_a_default():
    selector = LookaheadSelector(make_router(), min_probability=0.5)
    with pytest.raises(
        NoSuitableChoiceError, match=r"min_probability 0\.5: the likeliest is 'words' with 0\.090"
    ) as info:
        selector.select(TOOLS[:2], "a riddle")
    with pytest.raises(NoSuitableChoiceError):
        await selector.aselect(TOOLS[:2], "a riddle")
    assert info.value.probabilities == pytest.approx({"digits": 0.04, "words": 0.09})
    copy = pickle.loads(pickle.dumps(info.value))
    assert str(copy) == str(info.value)
    assert copy.probabilities == info.value.probabilities
    assert "riddle" not in str(info.value)


def test_none_of_the_choices_takes_the_default_tool_which_need_not_be_a_candidate():
    selector = LookaheadSelector(make_router(), min_probability=0.5, default="ask a human")
    tools = [*TOOLS[:2], ToolMetadata(name="ask a human", description="")]
    result = selector.select(tools, "a riddle")
    assert (result.ind, result.is_default, result.candidate_names) == (2, True, [None])
    assert result.reason == "default tool: no candidate reaches 0.5; the likeliest is 'words' with 0.090"
    result = selector.select(tools, NUMBERS_QUERY)
    assert (result.ind, result.is_default, result.candidate_names) == (0, False, ["digits"])


def test_the_default_tool_may_be_a_candidate():
    selector = LookaheadSelector(make_router(), min_probability=0.5, default="digits")
    result = selector.select(TOOLS[:2], "a riddle")
    assert (result.ind, result.is_default, result.candidate_names) == (0, True, ["digits"])


def test_min_probability_takes_one_prediction():
    predictor = RulePredictor(POOL)
    LookaheadSelector(Router(predictor), min_probability=0.1).select(TOOLS, WORDS_QUERY)
    assert len(predictor.prompts) == 1


def test_min_probability_needs_a_calibrated_predictor():
    class Uncalibrated(RulePredictor):
        def predict(self, prompts):
            return Prediction(self.pool, super().predict(prompts).scores)

    selector = LookaheadSelector(Router(Uncalibrated(POOL)), min_probability=0.5)
    with pytest.raises(ConfigurationError, match="calibrat"):
        selector.select(TOOLS, WORDS_QUERY)


def test_choices_without_names_are_recognised_by_description():
    selector = LookaheadSelector(make_router(), candidates={"adds numbers": "digits"})
    assert selector.select(["words", "adds numbers"], NUMBERS_QUERY).ind == 1
    assert selector.select(["words", "adds numbers"], WORDS_QUERY).ind == 0


def test_tools_left_with_a_name_that_llama_index_gave_them_are_recognised_by_description():
    selector = LookaheadSelector(make_router(), candidates={"adds numbers": "digits", "tells tales": "words"})
    tools = [ToolMetadata(name="query_engine_tool", description=text) for text in ("tells tales", "adds numbers")]
    assert selector.select(tools, NUMBERS_QUERY).ind == 1


@pytest.mark.parametrize("minimum", [None, 0.5])
def test_the_probability_rules_out_and_the_score_orders(minimum):
    class Certain(RulePredictor):
        """Of `lazy`, the probability is high whatever its score, as after a calibration that found no trend."""

        def predict(self, prompts):
            prediction = super().predict(prompts)
            probabilities = prediction.probabilities.copy()
            probabilities[:, 2] = 0.9
            return Prediction(self.pool, prediction.scores, probabilities)

    result = LookaheadSelector(Router(Certain(POOL)), max_selections=3, min_probability=minimum).select(
        TOOLS, NUMBERS_QUERY
    )
    assert result.candidate_names == ["digits", "words", "lazy"] if minimum is None else ["digits", "lazy"]


def test_a_function_says_what_is_routed():
    predictor = RulePredictor(POOL)
    selector = LookaheadSelector(Router(predictor), route_on=lambda query: query.query_str.split("Question: ")[1])
    assert selector.select(TOOLS, f"3 documents follow. Question: {WORDS_QUERY}").candidate_names == ["words"]
    assert predictor.prompts == [WORDS_QUERY]
    by_default = LookaheadSelector(Router(predictor), route_on=lambda query: None)
    assert by_default.select(TOOLS, WORDS_QUERY).candidate_names == ["words"]
    with pytest.raises(ConfigurationError, match="route_on must give the text to route on, or None; it gave list"):
        LookaheadSelector(Router(predictor), route_on=lambda query: [query]).select(TOOLS, WORDS_QUERY)


async def test_one_event_per_selection_with_a_hash_instead_of_the_query():
    selector = LookaheadSelector(make_router())
    with recorded_events() as events:
        selector.select(TOOLS[:2], WORDS_QUERY)
        await selector.aselect(TOOLS[:2], NUMBERS_QUERY)
    first, second = events.of(LookaheadSelectionEvent)
    assert (first.candidates, second.candidates) == (["words"], ["digits"])
    assert first.scores == pytest.approx({"digits": 0.3, "words": 0.8})
    assert first.prompt_sha256 == hashlib.sha256(WORDS_QUERY.encode()).hexdigest()
    assert first.span_id.startswith("LookaheadSelector._select-")
    assert second.span_id.startswith("LookaheadSelector._aselect-")
    assert "river" not in str(first.model_dump())
    assert (first.predictor, first.revision) == ("rule", "1")


def test_it_asks_no_llm_and_so_has_no_prompts():
    selector = LookaheadSelector(make_router())
    assert selector.get_prompts() == {}
    selector.update_prompts({})


def test_a_selector_pickles_with_its_router():
    copy = pickle.loads(pickle.dumps(LookaheadSelector(make_router(), max_selections=2)))
    assert copy.select(TOOLS[:2], WORDS_QUERY).inds == [1, 0]


def test_the_embedded_predictor_decides_among_its_pool():
    selector = LookaheadSelector()
    names = selector.router.pool.names
    result = selector.select([ToolMetadata(name=name, description="") for name in names], WORDS_QUERY)
    assert result.candidate_names == [names[result.ind]]


def test_an_empty_query_cannot_be_routed():
    with pytest.raises(PromptError, match="empty"):
        LookaheadSelector(make_router()).select(TOOLS[:2], "   ")
