"""`auto` without a quality in the pool file goes by the usual policy."""

import json

import pytest

from lookahead_router import BestQuality, KeepQuality, Workhorse
from lookahead_router.server.serving import Memory, Serving

NAMES = ("gpt-4o", "gpt-4o-mini", "llama-3.1-8b-instruct")


@pytest.fixture
def serving(tmp_path, monkeypatch):
    def load(**settings) -> Serving:
        monkeypatch.setenv("SOME_KEY", "secret")
        candidates = [{"name": name, "base_url": "http://localhost:9/v1", "api_key_env": "SOME_KEY"} for name in NAMES]
        (tmp_path / "pool.json").write_text(json.dumps({"candidates": candidates, **settings}))
        return Serving.load(tmp_path / "pool.json", Memory())

    return load


def test_auto_has_a_workhorse_and_can_ask_for_the_best(serving):
    served = serving()
    assert served.router.policy == Workhorse("gpt-4o-mini", instead=["gpt-4o", "llama-3.1-8b-instruct"])
    assert served.choice("auto").policy is None
    assert served.choice("auto:best").policy == BestQuality()
    assert served.router.route("hi").name == "gpt-4o-mini"


def test_a_quality_that_is_taken_out_of_the_file_goes_back_to_it(serving, tmp_path):
    before = serving(quality=0.9)
    assert before.router.policy == KeepQuality(0.9)
    candidates = json.loads((tmp_path / "pool.json").read_text())["candidates"]
    (tmp_path / "pool.json").write_text(json.dumps({"candidates": candidates}))
    after = Serving.load(tmp_path / "pool.json", Memory(), before=before)
    assert after.router.policy.name == "gpt-4o-mini"
