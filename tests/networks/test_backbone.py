"""What of a foreign configuration reaches transformers."""

import pytest
import torch
from conftest import bert_config, gpt2_config, llama_config, network_config
from safetensors.torch import save_file
from transformers import ModernBertConfig

from lookahead_router.backends.torch import TorchBackend
from lookahead_router.errors import CheckpointError, ConfigurationError
from lookahead_router.networks.backbone import backbone_config, family_settings
from lookahead_router.networks.build import build_network

FAMILIES = [bert_config(), llama_config(), gpt2_config(), ModernBertConfig()]


@pytest.mark.parametrize("config", FAMILIES, ids=lambda config: config.model_type)
def test_a_saved_configuration_comes_back(config):
    for record in (config.to_dict(), family_settings(config)):
        assert family_settings(backbone_config(record)) == family_settings(config)


def test_what_older_versions_saved_beside_the_familys_settings_is_let_pass():
    record = {
        **bert_config().to_dict(),
        "position_embedding_type": "absolute",
        "gradient_checkpointing": False,
        "output_attentions": False,
        "torch_dtype": "float32",
        "architectures": ["BertModel"],
    }
    assert family_settings(backbone_config(record)) == family_settings(bert_config())


FOREIGN = {
    "kernel": {"attn_implementation": "bad/evil@main"},
    "private kernel": {"_attn_implementation": "bad/evil"},
    "kernel of another name": {"_attn_implementation_internal": "bad/evil"},
    "experts": {"experts_implementation": "bad/evil"},
    "code": {"auto_map": {"AutoModel": "bad/evil--modeling.Evil"}},
    "another repository": {"_name_or_path": "bad/evil"},
    "quantiser": {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}},
    "trust": {"trust_remote_code": True},
    "adapter": {"adapter": "bad/evil"},
    "path in a setting": {"hidden_act": "bad/evil@main"},
    "not plain": {"hidden_size": {"a": {"b": {"c": {"d": 1}}}}},
    "self": {"self": 1},
    "cls": {"cls": 1},
    "relative positions": {"position_embedding_type": "relative_key"},
    "no family": {"model_type": "evil"},
    "no text": {"model_type": ["bert"]},
    "nothing": {"model_type": None},
    "several models": {"model_type": "clip"},
}


@pytest.mark.parametrize("changes", FOREIGN.values(), ids=FOREIGN)
def test_a_setting_that_is_not_the_familys_own_is_refused(changes):
    with pytest.raises(ConfigurationError):
        backbone_config({**bert_config().to_dict(), **changes})


@pytest.fixture
def weights(tmp_path):
    network = build_network(network_config())
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


def with_backbone(**changes):
    config = network_config()
    return config.model_copy(update={"backbone_config": {**config.backbone_config, **changes}})


def test_a_network_is_built_and_filled(weights):
    torch.testing.assert_close(
        TorchBackend.load(network_config(), weights).network.state_dict(),
        TorchBackend.load(network_config(), weights).network.state_dict(),
    )


SHAPES = {
    "kernel": {"attn_implementation": "bad/evil@main"},
    "terabytes": {"vocab_size": 10**12},
    "wide": {"hidden_size": 10**7, "num_attention_heads": 1},
    "deep": {"num_hidden_layers": 10**9},
    "deep text": {"num_hidden_layers": "many"},
    "no heads": {"num_attention_heads": 0},
    "odd heads": {"num_attention_heads": 3},
    "negative": {"hidden_size": -4},
    "activation": {"hidden_act": "__import__('os')"},
    "t5": {"model_type": "t5"},
    "encoder-decoder": {"model_type": "bart"},
}


@pytest.mark.parametrize("changes", SHAPES.values(), ids=SHAPES)
def test_a_backbone_that_does_not_fit_its_weights_takes_no_memory_and_is_an_error_of_ours(weights, changes):
    with pytest.raises(CheckpointError):
        TorchBackend.load(with_backbone(**changes), weights)
