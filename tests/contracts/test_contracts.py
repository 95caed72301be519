"""The contract suites over everything in the package that they are for."""

import pytest
from contracts.policy_contract import PolicyContract
from contracts.predictor_contract import PredictorContract

from lookahead_router.policies import BestQuality, CostAware, Restricted, Threshold
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
