"""What every fitted predictor keeps, beyond what every predictor does. Subclass it and give a `make` fixture."""

import copy
import json
import pickle
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.errors import CheckpointError, ConfigurationError, DataError, NotFittedError, PoolMismatchError
from lookahead_router.metrics import chosen_scores, hit_rate
from lookahead_router.predictors.fitted.base import FILES
from lookahead_router.router import Router
from lookahead_router.types import CandidatePool

PROMPTS = ["sum 1 2 ?", "rhyme river stone ?", "a", "漢字 🙂 \u202e \ud800", "sum 7 " * 400, "\n\n(A) x\n(B) y"]


DAMAGES = """truncated arrays, flipped arrays, other arrays, objects, no arrays, no config, no pool, truncated config,
truncated pool, list, foreign kind, version, settings, no settings, setting, swapped pool, calibration""".replace(
    "\n", " "
).split(", ")


def with_scores(dataset: RoutingDataset, scores: np.ndarray) -> RoutingDataset:
    return replace(dataset, scores=scores)


def fitted_copy(make, train: RoutingDataset, fitted_once: dict):
    """A copy of the one that was fitted on the toy world before."""
    predictor = make()
    if predictor.kind not in fitted_once:
        fitted_once[predictor.kind] = predictor.fit(train)
    return copy.deepcopy(fitted_once[predictor.kind])


class FittedContract:
    learns_the_toy_world = True
    """Whether it can tell digits from words."""
    permutes_with_the_columns = True
    """Whether its candidates start alike."""

    @pytest.fixture
    def make(self):
        """Makes an unfitted predictor with settings for the toy world; takes a seed."""
        raise NotImplementedError

    @pytest.fixture
    def train(self, dataset):
        return dataset.filter(split="train")

    @pytest.fixture
    def fitted(self, make, train, fitted_once):
        return fitted_copy(make, train, fitted_once)

    # Before and after fitting

    def test_unfitted_it_neither_predicts_nor_saves(self, make, dataset, tmp_path):
        predictor = make()
        assert predictor.revision is None
        for call in (
            lambda: predictor.predict(["x"]).scores,
            lambda: predictor.save(tmp_path / "saved"),
            lambda: predictor.fit_calibration(dataset),
        ):
            with pytest.raises(NotFittedError, match="call fit"):
                call()
        assert not (tmp_path / "saved").exists()

    def test_without_an_embedder_it_says_what_to_pass(self, make, train):
        predictor = make()
        predictor.embedder = None
        if predictor.reads_embeddings:
            with pytest.raises(ConfigurationError, match="pass embedder="):
                predictor.fit(train)
        else:
            predictor.fit(train)

    def test_the_same_seed_gives_the_same_predictor(self, make, train, fitted):
        again = make().fit(train)
        assert again.revision == fitted.revision
        np.testing.assert_array_equal(again.predict(PROMPTS).scores, fitted.predict(PROMPTS).scores)

    def test_another_seed_gives_another_predictor_exactly_where_it_is_random(self, make, train, fitted):
        other = make(seed=1).fit(train).predict(PROMPTS).scores
        assert (not np.array_equal(other, fitted.predict(PROMPTS).scores)) == fitted.is_random

    def test_settings_out_of_their_domain_are_refused(self, make):
        predictor = make()
        for name in predictor.settings.model_dump():
            for bad in (-1, "x", True, None, float("nan"), float("inf")):
                settings = {**predictor.settings.model_dump(), name: bad}
                with pytest.raises(ConfigurationError, match=f"Settings: {name}: "):
                    type(predictor)(**settings)

    # Data

    def test_the_columns_follow_the_datasets_pool(self, make, train, fitted):
        turned = train.align(CandidatePool(train.pool.names[::-1]))
        predictor = make().fit(turned)
        assert predictor.pool.names == turned.pool.names
        if self.permutes_with_the_columns:
            found, expected = predictor.predict(PROMPTS).scores[:, ::-1], fitted.predict(PROMPTS).scores
            np.testing.assert_allclose(found, expected, atol=1e-5)

    def test_it_learns_the_toy_world(self, fitted, dataset):
        test = dataset.filter(split="test")
        choices = fitted.predict(test.prompts).scores.argmax(axis=1)
        best_single = max(hit_rate(column, test.scores) for column in test.scores.T)
        assert (hit_rate(chosen_scores(test.scores, choices), test.scores) > best_single + 0.3) == (
            self.learns_the_toy_world
        )

    def test_missing_scores_are_left_out(self, make, train):
        scores = train.scores.copy()
        scores[np.random.default_rng(0).random(scores.shape) < 0.3] = np.nan
        scores[:2] = np.nan  # prompts without any
        predictor = make().fit(with_scores(train, scores))
        found = predictor.predict(PROMPTS).scores
        assert np.isfinite(found).all()
        kept = make().fit(with_scores(train, scores).select(np.arange(2, len(train))))
        np.testing.assert_array_equal(kept.predict(PROMPTS).scores, found)

    def test_a_candidate_without_any_score_is_named(self, make, train):
        scores = train.scores.copy()
        scores[:, 1] = np.nan
        with pytest.raises(DataError, match="no training prompt has a score of words;"):
            make().fit(with_scores(train, scores))
        with pytest.raises(DataError, match="digits, words, lazy"):
            make().fit(train.select([]))

    @pytest.mark.parametrize("case", ["one candidate", "all equal", "one row", "a source of one row", "repeated rows"])
    def test_odd_data_are_fitted(self, make, train, case):
        data = {
            "one candidate": lambda: replace(
                train,
                pool=CandidatePool(["digits"]),
                **{n: getattr(train, n)[:, :1] for n in ("responses", "scores", "costs_usd", "output_tokens")},
            ),
            "all equal": lambda: with_scores(train, np.full(train.scores.shape, 0.5)),
            "one row": lambda: train.select([0]),
            "a source of one row": lambda: replace(train, sources=np.array(["lone", *["other"] * (len(train) - 1)])),
            "repeated rows": lambda: train.select([0] * 50 + [1] * 50),
        }[case]()
        scores = make().fit(data).predict(PROMPTS).scores
        assert scores.shape == (len(PROMPTS), len(data.pool))
        assert ((scores >= 0) & (scores <= 1)).all()

    def test_fitting_changes_nothing_in_the_dataset(self, make, train):
        before = train.fingerprint()
        make().fit(train)
        assert train.fingerprint() == before

    # Calibration

    def test_calibrated_it_gives_probabilities_and_saving_keeps_them(self, fitted, dataset, tmp_path):
        assert fitted.predict(PROMPTS).probabilities is None
        fitted.fit_calibration(dataset.align(CandidatePool(dataset.pool.names[::-1])))
        fitted.save(tmp_path / "saved")
        again = type(fitted).load(tmp_path / "saved")
        assert again.calibration == fitted.calibration
        probabilities = fitted.predict(PROMPTS).probabilities
        assert ((probabilities >= 0) & (probabilities <= 1)).all()
        np.testing.assert_array_equal(again.predict(PROMPTS).probabilities, probabilities)
        decision = Router(again).route(PROMPTS[0])
        assert list(decision.probabilities.values()) == pytest.approx(probabilities[0].tolist(), abs=1e-9)
        fitted.fit(dataset)
        assert fitted.calibration is None

    def test_other_candidates_cannot_calibrate_it(self, fitted, dataset):
        other = replace(dataset, pool=CandidatePool(["digits", "words", "other"]))
        with pytest.raises(PoolMismatchError):
            fitted.fit_calibration(other)

    # Copies and threads

    def test_many_threads_get_the_same(self, fitted):
        expected = fitted.predict(PROMPTS).scores
        with ThreadPoolExecutor(8) as threads:
            for found in threads.map(fitted.predict, [PROMPTS] * 16):
                np.testing.assert_allclose(found.scores, expected, rtol=0, atol=1e-6)

    def test_a_pickled_router_and_a_deep_copy_decide_the_same(self, fitted):
        router = Router(fitted, aliases={"lazy": "l"})
        for again in (pickle.loads(pickle.dumps(router)), copy.deepcopy(router)):
            assert again.pool == router.pool
            assert again.predictor.revision == fitted.revision
            assert again.route(PROMPTS[0]).scores == router.route(PROMPTS[0]).scores

    # Saving

    def test_saving_and_loading_gives_the_same_predictor(self, fitted, tmp_path):
        fitted.save(tmp_path / "saved")
        fitted.save(tmp_path / "saved")  # over itself
        again = type(fitted).load(tmp_path / "saved")
        np.testing.assert_array_equal(again.predict(PROMPTS).scores, fitted.predict(PROMPTS).scores)
        assert (again.revision, again.pool, again.settings) == (fitted.revision, fitted.pool, fitted.settings)
        assert Router.from_pretrained(tmp_path / "saved").route(PROMPTS[0]).revision == fitted.revision

    def test_a_folder_holds_its_files_and_no_pickle(self, fitted, dataset, tmp_path):
        fitted.fit_calibration(dataset).save(tmp_path / "saved")
        assert {path.name for path in (tmp_path / "saved").iterdir()} == FILES - {"README.md"}
        with np.load(tmp_path / "saved" / "arrays.npz", allow_pickle=False) as arrays:
            assert all(array.dtype.kind in "fiu" for array in arrays.values())

    def test_it_replaces_no_folder_of_something_else_and_no_file(self, fitted, tmp_path):
        fitted.save(tmp_path / "saved")
        (tmp_path / "saved" / "thesis.txt").write_text("mine")
        (tmp_path / "file").write_text("mine")
        for path in (tmp_path, tmp_path / "saved", tmp_path / "file"):
            with pytest.raises(ConfigurationError, match="choose another folder"):
                fitted.save(path)
        assert (tmp_path / "saved" / "thesis.txt").read_text() == "mine"

    def test_a_damaged_folder_is_not_loaded(self, fitted, tmp_path):
        for damage in DAMAGES:
            folder = tmp_path / damage
            fitted.save(folder)
            _damage(folder, damage, fitted)
            with pytest.raises(CheckpointError, match=re.escape(str(folder))):
                type(fitted).load(folder, embedder=fitted.embedder)


def _damage(folder, damage, fitted):
    what, _, name = damage.partition(" ")
    arrays, config, pool = folder / "arrays.npz", folder / "config.json", folder / "pool.json"
    record = json.loads(config.read_text())
    content = arrays.read_bytes()
    if damage == "truncated arrays":
        arrays.write_bytes(content[: len(content) // 2])
    elif damage == "flipped arrays":
        middle = len(content) // 3
        arrays.write_bytes(content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :])
    elif damage == "other arrays":
        np.savez(arrays, **{name: array * 0 + 7 for name, array in fitted._arrays.items()})
    elif damage == "objects":
        np.savez(arrays, **fitted._arrays, evil=np.array([print], dtype=object))
    elif what == "no" and name != "settings":
        {"arrays": arrays, "config": config, "pool": pool}[name].unlink()
    elif what == "truncated":
        path = {"config": config, "pool": pool}[name]
        path.write_bytes(path.read_bytes()[:-20])
    elif damage == "swapped pool":
        pool.write_text(json.dumps({"candidates": json.loads(pool.read_text())["candidates"][::-1]}))
    elif damage == "calibration":
        (folder / "calibration.json").write_text('{"curves": {}}')
    else:
        changed = {
            "list": [],
            "foreign kind": {**record, "predictor": "knn" if fitted.kind != "knn" else "irt"},
            "version": {**record, "format_version": 99},
            "settings": {**record, "settings": ["seed"]},
            "no settings": {k: v for k, v in record.items() if k != "settings"},
            "setting": {**record, "settings": {**record["settings"], "seed": 5}},
        }[damage]
        config.write_text(json.dumps(changed))


class EmbeddingFittedContract(FittedContract):
    """What those that read embeddings keep as well."""

    def test_the_embedder_is_named_and_not_copied(self, fitted, embedder, tmp_path):
        fitted.save(tmp_path / "saved")
        saved = json.loads((tmp_path / "saved" / "config.json").read_text())["embedder"]
        assert saved == {"location": embedder.location, "fingerprint": embedder.fingerprint}

    def test_another_embedder_than_it_was_fitted_with_is_refused(self, fitted, other_embedder, tmp_path):
        fitted.save(tmp_path / "saved")
        with pytest.raises(CheckpointError, match=f"the one given or found there now is {other_embedder.fingerprint}"):
            type(fitted).load(tmp_path / "saved", embedder=other_embedder)

    @pytest.mark.parametrize("saved", [None, [], {}, {"location": ""}, {"location": "/nowhere/at/all"}])
    def test_an_embedder_that_is_not_there_is_an_error(self, fitted, tmp_path, saved):
        fitted.save(tmp_path / "saved")
        path = tmp_path / "saved" / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "embedder": saved}))
        with pytest.raises(CheckpointError):
            type(fitted).load(tmp_path / "saved")
