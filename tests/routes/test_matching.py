"""Which route a request belongs to, told by embeddings."""

import pickle

import numpy as np
import pytest
from routes.axes import TOPICS, AxesEmbedder, route, routes

from lookahead_router import Request, Routes
from lookahead_router.errors import ConfigurationError, DataError, PredictionError
from lookahead_router.routes.matching import Discriminant, EmbeddedRoutes, Labelled


def matched(matcher, *texts):
    return [match.route for match in matcher.match([Request(text) for text in texts])]


def test_plain_embeddings_are_told_apart_without_fault_and_the_rest_belongs_to_none():
    matcher = routes().fit(AxesEmbedder())
    texts = [f"some {topic} of ours {'y' * k}" for topic in TOPICS for k in range(20)]
    assert matched(matcher, *texts) == [topic for topic in TOPICS for _ in range(20)]
    assert matched(matcher, "tulips", "a train") == [None, None]
    assert matcher.match([]) == []


def test_a_match_says_the_similarity_to_the_most_similar_route_whether_or_not_it_suffices():
    matcher = routes(threshold=0.5).fit(AxesEmbedder())
    near, far = matcher.match([Request("code"), Request("tulips")])
    assert matcher.threshold == 0.5
    assert (near.route, far.route) == ("code", None)
    assert 0.5 <= near.similarity <= 1
    assert -1 <= far.similarity < 0.5


def test_a_request_is_matched_alone_as_among_others():
    matcher = routes().fit(AxesEmbedder())
    requests = [Request("code please"), Request("law"), Request("nothing of it")]
    for together, request in zip(matcher.match(requests), requests, strict=True):
        (alone,) = matcher.match([request])
        assert (alone.route, alone.similarity) == (together.route, pytest.approx(together.similarity))


def test_one_route_is_told_from_what_people_ask_otherwise():
    matcher = Routes([route("code")]).fit(AxesEmbedder())
    assert matched(matcher, "the code", "the weather") == ["code", None]


def test_a_single_example_each_will_do():
    matcher = Routes([route("code", n=1), route("law", n=1)]).fit(AxesEmbedder())
    assert matched(matcher, "more code", "more law", "tulips") == ["code", "law", None]


def test_labelled_requests_set_the_threshold_where_they_say_enough():
    embedder = AxesEmbedder()
    plain = routes().fit(embedder).threshold
    inside = [Labelled(f"code {'x' * k}", "code") for k in range(10)]
    outside = [Labelled(f"tulips {'x' * k}", None) for k in range(10)]
    assert routes().fit(embedder, inside[:3]).threshold == plain
    told = routes().fit(embedder, inside + outside)
    assert told.threshold != plain
    assert matched(told, "code", "tulips") == ["code", None]
    assert routes(threshold=0.9).fit(embedder, inside + outside).threshold == 0.9
    with pytest.raises(DataError, match="'flowers' is no route"):
        routes().fit(embedder, [Labelled("x", "flowers")])


def test_examples_are_needed_and_so_is_an_embedder():
    with pytest.raises(ConfigurationError, match="no example of code"):
        Routes([route("code", n=0), route("law")]).fit(AxesEmbedder())
    for wrong in (None, "all-MiniLM", AxesEmbedder):
        with pytest.raises(ConfigurationError, match="an embedder has embed"):
            routes().fit(wrong)


def test_an_embedder_that_gives_nonsense_is_an_error():
    class Nonsense:
        def __init__(self, rows):
            self.rows = rows

        def embed(self, texts):
            return self.rows(len(texts))

    for rows in (lambda n: np.zeros(n), lambda n: np.zeros((n - 1, 3)), lambda n: np.full((n, 3), np.nan)):
        with pytest.raises(PredictionError, match="a finite row a text"):
            routes().fit(Nonsense(rows))
    constant = routes().fit(Nonsense(lambda n: np.ones((n, 3))))  # tells nothing apart, and breaks nothing
    assert np.isfinite(constant.threshold)
    assert constant.match([Request("x")])[0].similarity == pytest.approx(1.0)


def test_the_metric_is_the_cosine_with_one_text_a_route_and_linear_discriminant_analysis_with_many():
    rng = np.random.default_rng(0)
    texts = rng.normal(size=(3, 8))
    alone = Discriminant.fit(texts / np.linalg.norm(texts, axis=1, keepdims=True), np.arange(3), 3)
    asked = rng.normal(size=(5, 8))
    unit = lambda rows: rows / np.linalg.norm(rows, axis=1, keepdims=True)  # noqa: E731
    assert alone.similarities(asked) == pytest.approx(unit(asked) @ unit(texts).T)
    # Two routes that differ along an axis of little spread, beside one of much.
    n = 4000
    owner = np.arange(n) % 2
    rows = np.c_[np.where(owner, 0.1, -0.1) + 0.05 * rng.normal(size=n), rng.normal(size=n), np.ones(n)]
    many = Discriminant.fit(rows, owner, 2)
    assert (many.similarities(rows).argmax(axis=1) == owner).mean() > 0.95  # the cosine to the means: about half


def test_examples_are_held_out_to_see_what_is_found_again():
    matcher = routes().fit(AxesEmbedder())
    assert matcher.held_out.shape == (18, 3)
    assert (matcher.held_out.argmax(axis=1) == matcher.owner).all()


def test_a_matcher_survives_pickling_and_other_names():
    matcher = routes().fit(AxesEmbedder())
    again = pickle.loads(pickle.dumps(matcher))
    assert isinstance(again, EmbeddedRoutes)
    assert again.match([Request("code")]) == matcher.match([Request("code")])
    renamed = matcher.over(matcher.routes.rename({"words": "w", "lazy": "l", "digits": "d"}))
    assert renamed.match([Request("code")]) == matcher.match([Request("code")])
    assert renamed.routes["code"].candidates == ("w", "l")
