"""Pickles, deep copies, and what may not be seen in dumps and traces."""

import copy
import json
import pickle
import traceback

import pytest
from fakes import rule_models, rule_router
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.load import dumpd, dumps
from langchain_core.runnables import ConfigurableField
from langchain_core.tracers.base import BaseTracer
from langchain_core.tracers.schemas import Run
from lookahead_router import LookaheadPredictor
from lookahead_router.errors import ConfigurationError, Failure

from langchain_lookahead_router import ChatLookaheadRouter

SECRET = "sk-of-the-candidate"


def make(**options):
    return ChatLookaheadRouter(candidates=rule_models(secret=SECRET), router=rule_router(), **options)


def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


def test_a_pickled_router_answers_alike():
    llm = make(default="lazy", fallbacks="next-best", sticky="thread")
    llm.invoke("7", {"configurable": {"thread_id": "1"}})
    again = pickle.loads(pickle.dumps(llm))
    assert again.invoke("7").text == "digits: 7"
    assert (again.default, again.fallbacks, again.sticky) == ("lazy", "next-best", "thread")
    assert dict(again.threads) == {}  # conversations belong to their process


def test_a_pickled_binding_calls_tools():
    bound = make().bind_tools([add])
    bound.invoke("7")
    assert pickle.loads(pickle.dumps(bound)).invoke("7").tool_calls[0]["name"] == "add"


def test_a_pickle_of_a_location_holds_the_location_only(tmp_path):
    where = str(tmp_path / "predictor")
    predictor = LookaheadPredictor.load()
    predictor.save(where)
    pool = dict(zip(predictor.pool.names, rule_models(), strict=False))
    llm = ChatLookaheadRouter(candidates=rule_models(), router=where, aliases=pool)
    dumped = pickle.dumps(llm)
    assert len(dumped) < 20_000
    again = pickle.loads(dumped)
    assert again.router == where
    assert again.invoke("7").text == llm.invoke("7").text


def test_copies_share_who_is_in_a_cooldown_and_pickles_do_not():
    llm = make(fallbacks="next-best")
    llm.cooldowns.failed("digits", Failure.TIMEOUT)
    assert copy.deepcopy(llm).invoke("7").text == "lazy: 7"
    assert llm.configurable_fields(candidate=ConfigurableField(id="who")).invoke("7").text == "lazy: 7"
    assert pickle.loads(pickle.dumps(llm)).invoke("7").text == "digits: 7"


def test_deep_copies_share_weights_and_clients():
    llm = make()  # its predictor refuses to be copied
    llm.invoke("7")
    for again in (copy.deepcopy(llm), llm.model_copy(deep=True), copy.copy(llm)):
        assert again.router is llm.router
        assert again.candidates == llm.candidates
        assert again.invoke("7").text == "digits: 7"
    copy.deepcopy(llm).candidates.clear()
    assert llm.candidates


def test_keys_of_candidates_are_in_no_dump():
    llm = make()
    shown = [repr(llm), str(llm), dumps(llm), json.dumps(dumpd(llm)), repr(llm.model_dump()), llm.model_dump_json()]
    shown += [repr(llm.bind_tools([add])), dumps(llm.bind_tools([add])), repr(llm._identifying_params)]
    assert SECRET in repr(llm.candidates["digits"])  # else this test would see nothing
    for text in shown:
        assert SECRET not in text
    assert "digits" in repr(llm)
    assert not llm.is_lc_serializable()


def test_keys_of_candidates_are_in_no_run_of_the_router():
    class Tracer(BaseTracer):
        def __init__(self):
            super().__init__()
            self.traced: list[Run] = []

        def _persist_run(self, run):
            self.traced.append(run)

    class Starts(BaseCallbackHandler):
        def __init__(self):
            self.metadata = []

        def on_chat_model_start(self, serialized, messages, *, metadata, **kwargs):
            self.metadata.append(metadata)

    tracer, starts = Tracer(), Starts()
    make().invoke("7 tulips", {"callbacks": [tracer, starts]})
    (root,) = tracer.traced
    assert root.run_type == "chain"
    assert [child.run_type for child in root.child_runs] == ["llm"]
    own = {key: value for key, value in vars(root).items() if key != "child_runs"}
    assert SECRET not in repr(own)
    record = starts.metadata[0]["lookahead_router"]
    assert record["candidate"] == "digits"
    assert "tulips" not in repr(record)


def test_a_wrong_value_is_not_shown():
    with pytest.raises(ConfigurationError, match="default") as raised:
        make(default={"api_key": SECRET})
    assert SECRET not in "".join(traceback.format_exception(raised.value)).replace(__file__, "")
