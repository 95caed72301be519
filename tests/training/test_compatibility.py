import pytest
import torch
from conftest import DECODER, VOCABULARY, changed, gpt2_config, llama_config, modernbert_config, toy_recipe
from transformers import (
    FalconConfig,
    FNetConfig,
    GPTNeoConfig,
    Lfm2Config,
    MistralConfig,
    SqueezeBertConfig,
)

from lookahead_router.errors import ConfigurationError
from lookahead_router.training.backbones import build_network

V = len(VOCABULARY)
N_TOKENS = 24 + 1 + 4
"""Of the toy recipe's prompt window, a MID token and the slots."""


@pytest.fixture
def build(save_backbone):
    """Builds the toy recipe's network on a backbone of a config."""

    def build(config, variant):
        recipe = changed(toy_recipe(), network={"variant": variant, "mid_tokens": "<MID_{index}>"})
        return build_network(recipe, str(save_backbone(config, is_causal=variant == "clm")), n_candidates=3)

    return build


@pytest.mark.parametrize(
    "config",
    [
        Lfm2Config(**DECODER, layer_types=["conv", "full_attention"]),
        MistralConfig(**DECODER, sliding_window=N_TOKENS - 1),
        GPTNeoConfig(
            vocab_size=V,
            hidden_size=32,
            num_layers=2,
            num_heads=2,
            attention_types=[[["global", "local"], 1]],
            window_size=N_TOKENS,
        ),
    ],
    ids=lambda config: config.model_type,
)
def test_a_decoder_that_does_not_keep_candidates_apart_is_refused(build, config):
    with pytest.raises(ConfigurationError, match=f"'{config.model_type}' backbone gives a candidate other states"):
        build(config, "clm")


@pytest.mark.parametrize(
    "config",
    [
        MistralConfig(**DECODER, sliding_window=N_TOKENS),
        gpt2_config(),
    ],
    ids=lambda config: config.model_type,
)
def test_a_decoder_that_attends_to_all_that_precedes_is_taken(build, config):
    build(config, "clm")


def test_an_encoder_that_ignores_its_mask_is_refused(build):
    config = FNetConfig(
        vocab_size=V, hidden_size=32, num_hidden_layers=2, intermediate_size=64, max_position_embeddings=64
    )
    with pytest.raises(ConfigurationError, match="'fnet' backbone gives a prompt other scores with padding"):
        build(config, "mlm")


def test_an_encoder_with_local_windows_is_taken(build):
    build(modernbert_config(), "mlm")


@pytest.mark.parametrize(
    ("config", "variant"),
    [
        (FalconConfig(vocab_size=V, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, alibi=True), "clm"),
        (
            SqueezeBertConfig(
                vocab_size=V, hidden_size=32, num_attention_heads=2, intermediate_size=64, embedding_size=32
            ),
            "mlm",
        ),
    ],
    ids=["falcon", "squeezebert"],
)
def test_a_backbone_that_breaks_is_refused_with_what_it_said(build, config, variant):
    with pytest.raises(ConfigurationError, match=f"'{config.model_type}' backbone cannot run as this network needs"):
        build(config, variant)


def test_the_check_draws_nothing_of_the_runs_seed(build, monkeypatch):
    build(llama_config(), "clm")
    checked = torch.random.get_rng_state()
    monkeypatch.setattr("lookahead_router.training.backbones.check_backbone", lambda network, n_slots: None)
    build(llama_config(), "clm")
    assert torch.equal(torch.random.get_rng_state(), checked)
