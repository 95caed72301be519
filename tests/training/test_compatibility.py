import pytest
import torch
from conftest import DECODER, VOCABULARY, changed, gpt2_config, llama_config, modernbert_config, toy_recipe
from transformers import (
    FalconConfig,
    FNetConfig,
    GPTNeoConfig,
    Lfm2Config,
    MistralConfig,
    ModernBertDecoderConfig,
    PhiConfig,
    SqueezeBertConfig,
)

from lookahead_router.errors import ConfigurationError
from lookahead_router.networks.clm import LookaheadCLM
from lookahead_router.training import fit
from lookahead_router.training.backbones import build_network
from lookahead_router.training.compatibility import check_backbone

V = len(VOCABULARY)
N_TOKENS = 24 + 1 + 4
"""Of the toy recipe's prompt window, a MID token and the slots."""


@pytest.fixture
def check(save_backbone):
    """Builds the toy recipe's network on a backbone of a config, and checks it."""

    def check(config, variant, **sections):
        recipe = changed(toy_recipe(), network={"variant": variant, "mid_tokens": "<MID_{index}>"}, **sections)
        folder = save_backbone(config, is_causal=variant == "clm")
        network, _ = build_network(recipe, str(folder), n_candidates=3)
        check_backbone(network, recipe.n_response_tokens)
        return network

    return check


@pytest.mark.parametrize(
    "config",
    [
        Lfm2Config(**DECODER, layer_types=["conv", "full_attention"], initializer_range=0.2),
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
def test_a_decoder_that_does_not_keep_candidates_apart_is_refused(check, config):
    with pytest.raises(ConfigurationError, match=f"'{config.model_type}' backbone gives a candidate other states"):
        check(config, "clm")


@pytest.mark.parametrize(
    "config",
    [
        MistralConfig(**DECODER, sliding_window=N_TOKENS),
        gpt2_config(),
    ],
    ids=lambda config: config.model_type,
)
def test_a_decoder_that_attends_to_all_that_precedes_is_taken(check, config):
    check(config, "clm")


def test_an_encoder_that_ignores_its_mask_is_refused(check):
    config = FNetConfig(
        vocab_size=V, hidden_size=32, num_hidden_layers=2, intermediate_size=64, max_position_embeddings=64
    )
    with pytest.raises(ConfigurationError, match="'fnet' backbone gives a prompt other scores with padding"):
        check(config, "mlm")


def test_an_encoder_with_local_windows_is_taken(check):
    check(modernbert_config(), "mlm")


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
def test_a_backbone_that_breaks_is_refused_with_what_it_said(check, config, variant):
    with pytest.raises(ConfigurationError, match=f"'{config.model_type}' backbone cannot run as this network needs"):
        check(config, variant)


def test_a_window_that_holds_prompt_and_mid_is_enough_where_no_response_is_read(check):
    config = MistralConfig(**DECODER, sliding_window=24 + 1)
    check(config, "clm", objective={"reconstruction_weight": 0.0})


def test_memory_that_runs_out_is_told_apart(check, monkeypatch):
    def allocating(*args, **kwargs):
        raise RuntimeError("can't allocate memory: you tried to allocate 99 bytes")

    monkeypatch.setattr(LookaheadCLM, "forward", allocating)
    with pytest.raises(ConfigurationError, match=r"99 bytes.*lower network\.max_prompt_tokens if memory ran out"):
        check(llama_config(), "clm")


def test_a_decoder_whose_head_is_more_than_a_product_is_refused(check):
    config = ModernBertDecoderConfig(**{**DECODER, "num_key_value_heads": 2}, local_attention=64)
    with pytest.raises(ConfigurationError, match="head of a 'modernbert-decoder' model is more than a product"):
        check(config, "clm")


def test_a_head_with_a_bias_is_taken(check):
    check(PhiConfig(**{**DECODER, "num_key_value_heads": 2}), "clm")


def test_the_checks_draw_nothing_of_the_runs_seed_and_leave_a_network_in_training(save_backbone, monkeypatch):
    recipe = changed(toy_recipe(), network={"variant": "clm"})
    folder = str(save_backbone(llama_config(), is_causal=True))
    torch.manual_seed(0)
    network, _ = build_network(recipe, folder, n_candidates=3)
    check_backbone(network, recipe.n_response_tokens)
    drawn = torch.random.get_rng_state()
    assert network.training
    monkeypatch.setattr("lookahead_router.training.backbones.check_head", lambda network, model: None)
    torch.manual_seed(0)
    build_network(recipe, folder, n_candidates=3)
    assert torch.equal(torch.random.get_rng_state(), drawn)


def test_a_run_on_a_backbone_that_is_refused_leaves_its_folder_free(tmp_path, dataset, save_backbone, backbone_folder):
    wrong = FNetConfig(
        vocab_size=V, hidden_size=32, num_hidden_layers=2, intermediate_size=64, max_position_embeddings=64
    )
    with pytest.raises(ConfigurationError, match="'fnet' backbone gives a prompt other scores with padding"):
        fit(dataset, toy_recipe(), tmp_path, backbone=save_backbone(wrong), show_progress=False)
    fit(dataset, toy_recipe(n_epochs=1), tmp_path, backbone=backbone_folder, show_progress=False)
