import numpy as np
import pytest

from lookahead_router.errors import PromptError
from lookahead_router.predictors.base import Predictor, prompt_texts
from lookahead_router.types import CandidatePool, Prediction


def test_texts_come_in_the_order_of_the_prompts():
    prompts = ["one", [{"role": "user", "content": " two "}], "three\n"]
    assert prompt_texts(prompts) == ["one", "two", "three"]
    assert prompt_texts(iter(prompts)) == ["one", "two", "three"]
    assert prompt_texts(np.array(["one", "two"], dtype=object)) == ["one", "two"]
    assert prompt_texts([]) == []


@pytest.mark.parametrize("bad", ["", None, {"role": "user", "content": "x"}, [], b"x"])
def test_a_prompt_that_cannot_be_routed_is_named_by_its_index(bad):
    with pytest.raises(PromptError, match=r"^prompt 2: ") as caught:
        prompt_texts(["one", "two", bad, ""])
    assert caught.value.index == 2


@pytest.mark.parametrize(
    "single", ["hello", b"hello", bytearray(b"hello"), {"role": "user", "content": "hello"}, None, 5]
)
def test_a_single_prompt_in_place_of_a_list_is_refused(single):
    with pytest.raises(PromptError, match="expected a list of prompts"):
        prompt_texts(single)


def test_whatever_predicts_for_a_pool_is_a_predictor():
    class Constant:
        pool = CandidatePool(["a"])
        name, revision = "constant", None

        def predict(self, prompts):
            return Prediction(self.pool, np.ones((len(prompts), 1)))

    class Incomplete:
        pool = CandidatePool(["a"])

    assert isinstance(Constant(), Predictor)
    assert not isinstance(Incomplete(), Predictor)
