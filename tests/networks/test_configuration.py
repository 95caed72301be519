import pytest
from conftest import causal_config, network_config
from pydantic import ValidationError

from lookahead_router.networks.configuration import LookaheadMLMConfig


def test_a_configuration_survives_json():
    config = network_config()
    assert LookaheadMLMConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mid_token_ids": (5, 5, 6)}, "distinct"),
        ({"mid_token_ids": (5, 6, 2)}, "different from CLS"),
        ({"mid_token_ids": (5, 6)}, "expected 3 MID tokens"),
        ({"mid_token_ids": (5, 6, 10_000)}, "leave the vocabulary"),
        ({"max_prompt_tokens": 60}, "positions"),
        ({"n_slots": 60}, "positions"),
        ({"n_slots": -1}, "n_slots"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        network_config(**changes)


def test_a_classifier_needs_no_room_for_a_block():
    assert network_config(n_slots=0, max_prompt_tokens=62).n_slots == 0


def test_a_mid_token_cannot_be_the_end_of_a_response():
    with pytest.raises(ValidationError, match="EOS"):
        causal_config(mid_token_ids=(5, 6, 3))
