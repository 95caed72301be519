"""The contract suites over everything in the package that they are for."""

import json
import shutil

import pytest
import torch
from contracts.fitted_contract import EmbeddingFittedContract, FittedContract, fitted_copy
from contracts.policy_contract import PolicyContract
from contracts.predictor_contract import PredictorContract

from lookahead_router.policies import BestQuality, CostAware, Restricted, Threshold
from lookahead_router.predictors.embedder import Embedder
from lookahead_router.predictors.fitted import FITTED, fitted_class
from lookahead_router.predictors.lookahead import LookaheadPredictor


class TestOnnxInt8(PredictorContract):
    @pytest.fixture
    def predictor(self, predictor_folder):
        return LookaheadPredictor.load(predictor_folder, backend="onnx-int8")


class TestOnnx(PredictorContract):
    @pytest.fixture
    def predictor(self, predictor_folder):
        return LookaheadPredictor.load(predictor_folder, backend="onnx")


class TestTorch(PredictorContract):
    @pytest.fixture
    def predictor(self, predictor_folder):
        return LookaheadPredictor.load(predictor_folder, backend="torch")


SLOWLY = {"n_epochs": 15, "learning_rate": 0.05, "weight_decay": 0.0}
"""Few rows are few steps, so the toy world takes more epochs than a dataset."""
SETTINGS = {
    "knn": {"n_neighbors": 5},
    "clusters": {"n_clusters": 8, "prior_prompts": 1.0},
    "leaders": {"n_clusters": 8},
    "classifier": {"inverse_penalty": 10.0},
    "documents": {"inverse_penalty": 10.0},
    "irt": SLOWLY,
    "uniroute": {**SLOWLY, "n_clusters": 8},
    "in-context": {"weight_decay": 0.0},
}
"""For the toy world, by kind; the others have none to set."""
READ_EMBEDDINGS = tuple(kind for kind in FITTED if fitted_class(kind).reads_embeddings)
STARTS_CANDIDATES_AT_RANDOM = {"random", "irt"}


@pytest.fixture(scope="session")
def fitted_once():
    """Predictors fitted on the toy world, by kind."""
    return {}


@pytest.fixture(scope="session")
def caching_embedder(encoder_folder, tmp_path_factory):
    return Embedder.load(encoder_folder, cache=tmp_path_factory.mktemp("embeddings"))


@pytest.fixture
def make(kind, caching_embedder):
    cls = fitted_class(kind)
    given = {"embedder": caching_embedder} if cls.reads_embeddings else {}
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # more would wait for each other over tensors as small as these
    yield lambda seed=0: cls(seed=seed, **given, **SETTINGS.get(kind, {}))
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="session")
def other_embedder(encoder_folder, tmp_path_factory):
    folder = shutil.copytree(encoder_folder, tmp_path_factory.mktemp("other") / "encoder")
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    return Embedder.load(folder)


@pytest.mark.parametrize("kind", FITTED)
class TestFittedAsPredictors(PredictorContract):
    @pytest.fixture
    def predictor(self, make, dataset, embedder, fitted_once):
        fitted = fitted_copy(make, dataset.filter(split="train"), fitted_once)
        fitted.embedder = embedder if fitted.reads_embeddings else None  # without a cache that hides differences
        return fitted


class _Permutes:
    @pytest.fixture(autouse=True)
    def _of_this_kind(self, kind):
        self.permutes_with_the_columns = kind not in STARTS_CANDIDATES_AT_RANDOM


@pytest.mark.parametrize("kind", READ_EMBEDDINGS)
class TestEmbeddingFitted(_Permutes, EmbeddingFittedContract):
    @pytest.fixture
    def make(self, make):
        return make


@pytest.mark.parametrize("kind", [kind for kind in FITTED if kind not in READ_EMBEDDINGS])
class TestOtherFitted(_Permutes, FittedContract):
    learns_the_toy_world = False  # neither chance, nor means, nor keywords of other domains

    @pytest.fixture
    def make(self, make):
        return make


class TestBestQuality(PolicyContract):
    @pytest.fixture
    def policy(self):
        return BestQuality()


class TestCostAware(PolicyContract):
    @pytest.fixture
    def policy(self):
        return CostAware(score_per_usd=20.0)


class TestThreshold(PolicyContract):
    @pytest.fixture
    def policy(self):
        return Threshold(0.6)


class TestRestricted(PolicyContract):
    @pytest.fixture
    def policy(self):
        return Restricted(deny=["dear"])


class TestRestrictedThreshold(PolicyContract):
    @pytest.fixture
    def policy(self):
        return Restricted(Threshold(0.6), max_usd_per_call=0.005)
