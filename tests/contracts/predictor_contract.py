"""What every predictor keeps. Subclass it and give a `predictor` fixture over the toy world's pool."""

import json

import numpy as np
import pytest

from lookahead_router.errors import PromptError
from lookahead_router.predictors.base import Predictor
from lookahead_router.router import Router

PROMPTS = ["sum 1 2 ?", "rhyme river stone ?", "a", "sum " + "7 " * 15, "漢字"]


class PredictorContract:
    atol = 1e-6
    """How far a score may move with the batch around it."""

    def test_it_follows_the_protocol(self, predictor):
        assert isinstance(predictor, Predictor)
        assert isinstance(predictor.name, str)

    def test_scores_are_one_row_a_prompt_and_one_column_a_candidate_in_zero_to_one(self, predictor):
        scores = predictor.predict(PROMPTS).scores
        assert scores.shape == (len(PROMPTS), len(predictor.pool))
        assert np.issubdtype(scores.dtype, np.floating)
        assert ((scores >= 0) & (scores <= 1)).all()

    def test_no_prompts_give_an_empty_array_of_the_pools_width(self, predictor):
        assert predictor.predict([]).scores.shape == (0, len(predictor.pool))

    def test_predicting_twice_gives_the_same(self, predictor):
        np.testing.assert_array_equal(predictor.predict(PROMPTS).scores, predictor.predict(PROMPTS).scores)

    def test_a_row_depends_on_its_prompt_alone(self, predictor):
        alone = np.concatenate([predictor.predict([prompt]).scores for prompt in PROMPTS])
        np.testing.assert_allclose(predictor.predict(PROMPTS).scores, alone, rtol=0, atol=self.atol)
        np.testing.assert_allclose(predictor.predict(PROMPTS[::-1]).scores, alone[::-1], rtol=0, atol=self.atol)

    def test_a_conversation_of_one_user_message_is_its_text(self, predictor):
        conversation = [{"role": "user", "content": "sum 1 2 ?"}]
        np.testing.assert_array_equal(predictor.predict([conversation]).scores, predictor.predict(["sum 1 2 ?"]).scores)

    @pytest.mark.parametrize("bad", ["", " ", None, 3, [{"role": "system", "content": "x"}]])
    def test_a_prompt_that_cannot_be_routed_is_named(self, predictor, bad):
        with pytest.raises(PromptError, match=r"^prompt 2:"):
            predictor.predict(["a", "b", bad])

    def test_a_router_decides_with_it(self, predictor):
        decision = Router(predictor).route("sum 1 2 ?")
        assert decision.name in predictor.pool.names
        json.dumps(decision.to_dict())
