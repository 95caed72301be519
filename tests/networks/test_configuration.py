import re

import pytest
from conftest import causal_config, network_config
from pydantic import ValidationError

from lookahead_router.errors import ConfigurationError
from lookahead_router.networks.configuration import LookaheadMLMConfig
from lookahead_router.networks.demand_configuration import parse_network_config


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


@pytest.mark.parametrize("name", ["max_position_embeddings", "vocab_size"])
@pytest.mark.parametrize("value", ["many", [512], {"a": 1}, True, 0, 5.5])
def test_a_size_of_the_backbone_that_is_no_number_is_refused(name, value):
    record = network_config().model_dump(mode="json")
    with pytest.raises(ConfigurationError, match=f"{name} must be a whole number"):
        parse_network_config({**record, "backbone_config": {**record["backbone_config"], name: value}})


EARLIER = {"prediction": "joint", "readout": "cls", "positions": "restart"}


def test_a_record_of_an_earlier_version_is_read_where_it_means_the_same():
    record = network_config().model_dump(mode="json")
    assert parse_network_config({**record, **EARLIER}) == network_config()


@pytest.mark.parametrize(("name", "value"), [("prediction", "separate"), ("readout", "cls+latents")])
def test_a_variant_that_is_gone_is_named(name, value):
    record = network_config().model_dump(mode="json")
    with pytest.raises(ConfigurationError, match=re.escape(f"{name} {value!r} is of an earlier version")):
        parse_network_config({**record, **EARLIER, name: value})


def test_a_classifier_needs_no_room_for_a_block():
    assert network_config(n_slots=0, max_prompt_tokens=62).n_slots == 0


def test_a_mid_token_cannot_be_the_end_of_a_response():
    with pytest.raises(ValidationError, match="EOS"):
        causal_config(mid_token_ids=(5, 6, 3))
