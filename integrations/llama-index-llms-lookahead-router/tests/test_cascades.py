"""Cascades: several candidates are asked, one answer is taken, and streams show that one alone."""

import pytest
from calling import ADD, PLAIN_CALLS, TOOL_CALLS
from llama_index_world import make_llm
from lookahead_router import CandidatePool, Cascade, OwnCheck, Prediction, Reliability, Router
from lookahead_router.errors import ConfigurationError
from servers.openai_server import Reply

from llama_index.llms.lookahead_router import LookaheadRouterLLM

POOL = ("small", "large", "other")
GOOD = OwnCheck(lambda question, text: "good" in text, Reliability(0.95, 0.05), name="good")


class Flat:
    name, revision = "flat", "1"
    pool = CandidatePool(
        [
            {"name": name, "input_usd_per_million_tokens": 0.0, "output_usd_per_million_tokens": usd}
            for name, usd in zip(POOL, (1, 10, 50), strict=True)
        ]
    )

    def predict(self, prompts):
        return Prediction(self.pool, [[0.7, 0.9, 0.5]] * len(prompts))


def make(server, says, **options):
    def script(request):
        said = says.get(request["model"], "bad")
        return said if isinstance(said, Reply) else Reply(said)

    server.script = script
    candidates = {name: make_llm(name, server.url) for name in POOL}
    return LookaheadRouterLLM(candidates, Router(Flat()), **{"cascade": Cascade([GOOD], 10), **options})


def by_name(call):
    return call.__name__


def text_of(responses):
    last = responses[-1]
    return last.message.content if hasattr(last, "message") else last.text


def record_of(responses):
    return responses[-1].additional_kwargs["lookahead_router"]


every_way = pytest.mark.parametrize("call", PLAIN_CALLS, ids=by_name)


@every_way
async def test_a_good_answer_of_the_cheap_one_ends_it(server, call):
    responses = await call(make(server, {"small": "a good one"}))
    assert text_of(responses) == "a good one"
    assert server.models_called() == ["small"]
    assert record_of(responses)["cascade"]["accepted"] == "small"


@every_way
async def test_a_bad_answer_is_followed_by_the_next_and_only_that_is_shown(server, call):
    responses = await call(make(server, {"small": "bad one", "large": "a good one"}))
    assert text_of(responses) == "a good one"
    assert server.models_called() == ["small", "large"]
    assert not any("bad" in (getattr(each, "delta", None) or "") for each in responses)
    record = record_of(responses)
    assert record["candidate"] == record["cascade"]["accepted"] == "large"
    assert [each["candidate"] for each in record["attempts"]] == ["small", "large"]
    assert record["failed"] == []


@pytest.mark.parametrize("call", PLAIN_CALLS[:2], ids=by_name)
async def test_the_costs_of_all_answers_are_added_up(server, call):
    record = record_of(await call(make(server, {"small": "bad one", "large": "a good one"})))
    hops = record["cascade"]["hops"]
    assert all(hop["output_tokens"] > 0 for hop in hops)
    assert record["cost_usd"] == pytest.approx(sum(hop["usd"] for hop in hops))
    assert record["cost_usd"] > hops[1]["usd"]


@every_way
async def test_an_answer_in_hand_is_given_where_the_next_fails(server, call):
    failing = {"small": "bad one", "large": Reply(status=429, content="slow down")}
    responses = await call(make(server, failing))
    assert text_of(responses) == "bad one"
    assert record_of(responses)["candidate"] == "small"
    assert [each["error"] for each in record_of(responses)["attempts"]] == [None, "RateLimitError"]


@every_way
async def test_where_nobody_answered_the_error_is_raised(server, call):
    with pytest.raises(Exception, match="429"):
        await call(make(server, {"small": Reply(status=429, content="slow down")}))


@pytest.mark.parametrize("call", TOOL_CALLS[:1], ids=by_name)
async def test_calls_with_tools_are_no_cascades(server, call):
    llm = make(server, dict.fromkeys(POOL, Reply(tool_calls=((ADD.metadata.name, {"a": 1, "b": 2}),))))
    assert "cascade" not in record_of(await call(llm))


def test_what_is_wrong_with_a_cascade_is_said_when_the_llm_is_built(server):
    with pytest.raises(ConfigurationError, match="cascade must be Cascade"):
        make(server, {}, cascade="agreement")
    llm = make(server, {})
    assert "GOOD" not in repr(llm)
    assert llm.to_dict()["routing"]["cascade"].startswith("Cascade(")
