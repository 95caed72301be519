"""One pass of the network for a decision and the route that it belongs to."""

import threading

import numpy as np
import pytest
from predictors.open_folder import write_open_folder

from lookahead_router import Dispatcher, Route, Router, Routes, read_request
from lookahead_router.errors import TruncatedPromptWarning
from lookahead_router.predictors.open_pool import Foreseer, OpenPoolPredictor
from lookahead_router.predictors.passes import one_pass

TEXTS = ["one one three", "two two four", "one four"]


@pytest.fixture(scope="module")
def router(tmp_path_factory):
    router = Router.from_pretrained(write_open_folder(tmp_path_factory.mktemp("open") / "open-toy"))
    first, second = router.pool.names[:2]
    routes = [
        Route(name="ones", description="about one", examples=["one one one", "one three"], candidates=[first]),
        Route(name="twos", description="about two", examples=["two two", "two four"], candidates=[second]),
    ]
    with pytest.warns(TruncatedPromptWarning):  # plain prompts are longer than the toy's window
        return router.with_routes(Routes(routes))  # fmt: skip


@pytest.fixture
def passes(monkeypatch):
    """Texts that the network has read, by pass."""
    found, read = [], Foreseer._read

    def counted(self, texts):
        found.append(list(texts))
        return read(self, texts)

    monkeypatch.setattr(Foreseer, "_read", counted)
    return found


def test_a_decision_with_routes_reads_the_prompt_once(router, passes):
    decision = router.route(TEXTS[0])
    assert passes == [[TEXTS[0]]]
    assert decision.similarity is not None
    router.route_batch(TEXTS)
    assert passes[1:] == [TEXTS]
    Dispatcher(router).plan(read_request(TEXTS[1]))
    assert passes[2:] == [[TEXTS[1]]]


def test_route_and_decision_are_those_of_passes_of_their_own(router):
    matches = router.routes.match([read_request(text) for text in TEXTS])
    decisions = router.route_batch(TEXTS)
    assert [each.route for each in decisions] == [each.route for each in matches]
    assert [each.similarity for each in decisions] == [each.similarity for each in matches]
    alone = router.with_routes(None).predict(TEXTS).scores
    np.testing.assert_array_equal([list(each.scores.values()) for each in decisions], alone)


def test_nothing_is_kept_beyond_the_call_or_seen_by_another_thread(router, passes):
    predictor = router.predictor
    assert isinstance(predictor, OpenPoolPredictor)
    predictor.predict(TEXTS)
    predictor.predict(TEXTS)
    assert len(passes) == 2
    with one_pass():
        predictor.predict(TEXTS)
        with one_pass():
            predictor.predict(TEXTS)
        predictor.predict(TEXTS)
        assert len(passes) == 3
        other = threading.Thread(target=predictor.predict, args=(TEXTS,))
        other.start()
        other.join()
    assert len(passes) == 4
    predictor.predict(TEXTS)
    assert len(passes) == 5
