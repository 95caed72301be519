"""`documents` on a world of known truth, and the column `context` on its way to it."""

import numpy as np
import pytest
from predictors.documents_world import NAMES, Words, passage, world

from lookahead_router import Router, read_request
from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.errors import DataError
from lookahead_router.predictors.fitted import fitted_class


@pytest.fixture(scope="module")
def train():
    return world(900, seed=0)


@pytest.fixture(scope="module")
def test():
    return world(900, seed=1)


@pytest.fixture(scope="module")
def documents(train):
    return fitted_class("documents")(embedder=Words(), inverse_penalty=100.0).fit(train)


def hit_rate(predictor, dataset):
    """Share of right answers, of the prompts that anyone answers right."""
    prompts = dataset.requests() if predictor.reads_context else dataset.prompts
    chosen = predictor.predict(prompts).scores.argmax(axis=1)
    anyone = dataset.scores.max(axis=1) > 0
    return dataset.scores[np.arange(len(dataset)), chosen][anyone].mean()


def test_passages_tell_who_is_right_and_the_question_alone_does_not(documents, train, test):
    alone = fitted_class("classifier")(embedder=Words(), inverse_penalty=100.0).fit(train)
    assert hit_rate(documents, test) >= 0.95
    assert hit_rate(alone, test) <= 0.83  # 0.8 is all that the question tells


def test_being_right_without_passages_is_learnt_beside_being_right_with_them(documents, test):
    for with_context in (True, False):
        assert hit_rate(documents, test.filter(with_context=with_context)) >= 0.95


def test_a_router_hands_its_passages_over(documents):
    router = Router(documents)
    question = "who described the painters called item7 ?"
    fitting = passage("painters", "item7", "year3")
    other = passage("stones", "thing9", "year3")
    assert router.route(question, context=[fitting]).name == "reader"
    assert router.route(question).name == "knower"
    assert router.route(question, context=[other, fitting]).name == "reader"
    batch = router.route_batch([read_request(question, context=[fitting]), question])
    assert [decision.name for decision in batch] == ["reader", "knower"]


def test_many_and_long_passages_are_cut(documents):
    question = "who described the painters called item7 ?"
    assert Router(documents).route(question, context=["word " * 2_000_000] * 20).name in NAMES


def test_it_is_saved_and_loaded(documents, test, tmp_path):
    documents.save(tmp_path / "documents")
    loaded = fitted_class("documents").load(tmp_path / "documents", embedder=Words())
    requests = test.requests()
    assert np.array_equal(loaded.predict(requests).scores, documents.predict(requests).scores)


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_the_column_context_survives_its_files(test, tmp_path, suffix):
    path = tmp_path / f"rows{suffix}"
    (test.to_jsonl if suffix == ".jsonl" else test.to_parquet)(path)
    again = RoutingDataset.from_file(path)
    assert list(again.contexts) == list(test.contexts)
    assert again.fingerprint() == test.fingerprint() != test.filter(with_context=False).fingerprint()
    assert len(test.filter(with_context=True)) == 600
    with pytest.raises(DataError, match="no row is with passages"):
        test.filter(with_context=False).filter(with_context=True)


@pytest.mark.parametrize("context", ['"a lone text"', "[5]", "{}", "[null]"])
def test_a_malformed_context_is_named(tmp_path, context):
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"prompt": "a", "context": {context}, "outcomes": [{{"candidate": "x", "score": 1.0}}]}}\n')
    with pytest.raises(DataError, match="context"):
        RoutingDataset.from_jsonl(path)
