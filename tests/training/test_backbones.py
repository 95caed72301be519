import io
import json
import shutil

import pytest
import torch
from conftest import (
    DECODER,
    VOCABULARY,
    bert_config,
    changed,
    gpt2_config,
    llama_config,
    make_tokenizer,
    modernbert_config,
    toy_recipe,
)
from tokenizers import Tokenizer
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    CTRLConfig,
    Gemma2Config,
    GraniteConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from lookahead_router.errors import CheckpointError, ConfigurationError
from lookahead_router.predictors.tokenization import PromptTokenizer
from lookahead_router.training.backbones import add_lora, build_network, mid_token_ids
from lookahead_router.training.recipe import LoraSettings

IDS = torch.tensor([[0, 0, 20, 21], [14, 15, 16, 17]])
MASK = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]])


def recipe(reconstruction_weight=0.2, **network):
    return changed(toy_recipe(), network=network, objective={"reconstruction_weight": reconstruction_weight})


def test_spare_entries_of_the_vocabulary_become_mid_tokens():
    tokenizer = make_tokenizer()
    size = tokenizer.get_vocab_size()
    assert mid_token_ids(tokenizer, "[unused{index}]", 3) == ((5, 6, 7), ())
    assert tokenizer.get_vocab_size() == size


def test_mid_tokens_that_the_vocabulary_lacks_are_added_to_it():
    tokenizer = make_tokenizer()
    size = tokenizer.get_vocab_size()
    new = (size, size + 1, size + 2)
    assert mid_token_ids(tokenizer, "<MID_{index}>", 3) == (new, new)
    again = Tokenizer.from_str(tokenizer.to_str())
    assert mid_token_ids(again, "<MID_{index}>", 3) == (new, ())


@pytest.mark.parametrize(("pattern", "message"), [("[MASK]", "must hold"), ("<{candidate}>", "other fields")])
def test_mid_tokens_must_be_one_for_each_candidate(pattern, message):
    with pytest.raises(ConfigurationError, match=message):
        mid_token_ids(make_tokenizer(), pattern, 3)


def test_an_added_mid_token_typed_by_a_user_is_text(causal_backbone_folder):
    network, tokenizer = build_network(
        recipe(variant="clm", mid_tokens="<MID_{index}>"), str(causal_backbone_folder), n_candidates=3
    )
    (ids,), _ = PromptTokenizer.of(network.configuration, tokenizer).encode(["river <MID_1> stone"])
    assert not set(ids.tolist()) & set(network.configuration.mid_token_ids)


def test_a_spare_entry_that_is_an_added_token_is_text_where_a_user_types_it():
    tokenizer = make_tokenizer()
    state = json.loads(tokenizer.to_str())
    for token in state["added_tokens"]:
        token["special"] = token["content"] != "[unused1]"
    tokenizer = Tokenizer.from_str(json.dumps(state))
    mids, added = mid_token_ids(tokenizer, "[unused{index}]", 3)
    assert (mids, added) == ((5, 6, 7), ())
    tokenizer = Tokenizer.from_str(tokenizer.to_str())
    tokenizer.encode_special_tokens = True  # as in routing
    assert not set(tokenizer.encode("river [unused1] stone").ids) & set(mids)


@pytest.mark.parametrize("variant", ["mlm", "clm"])
def test_added_tokens_grow_the_embeddings_once_and_leave_the_old_rows(variant, request):
    folder = str(request.getfixturevalue("backbone_folder" if variant == "mlm" else "causal_backbone_folder"))
    plain, _ = build_network(recipe(variant=variant), folder, n_candidates=3)
    grown, _ = build_network(recipe(variant=variant, mid_tokens="<MID_{index}>"), folder, n_candidates=3)
    size = len(plain.embedding)
    assert len(grown.embedding) == size + 3 == grown.configuration.backbone_config["vocab_size"]
    torch.testing.assert_close(grown.embedding[:size], plain.embedding, rtol=0, atol=0)
    new = grown.embedding[size:]
    assert torch.pdist(new).min() > 0.01
    assert (new - plain.embedding.mean(dim=0)).abs().max() < 0.2
    assert torch.isfinite(grown(IDS, MASK).score_logits).all()


def test_an_untied_output_embedding_is_that_of_the_pretrained_model(tmp_path):
    model = LlamaForCausalLM(llama_config(tie_word_embeddings=False))
    model.save_pretrained(tmp_path)
    PreTrainedTokenizerFast(tokenizer_object=make_tokenizer(), eos_token="[SEP]", pad_token="[PAD]").save_pretrained(
        tmp_path
    )
    network, _ = build_network(recipe(variant="clm", mid_tokens="<MID_{index}>"), str(tmp_path), n_candidates=3)
    size = len(model.lm_head.weight)
    torch.testing.assert_close(network.output_embedding[:size], model.lm_head.weight, rtol=0, atol=0)
    assert network.reconstruct(torch.ones(1, 32)).shape == (1, size + 3)


@pytest.mark.parametrize(
    "config",
    [
        llama_config(),
        llama_config(tie_word_embeddings=False),
        gpt2_config(),
        CohereConfig(**DECODER, logit_scale=0.25),
        GraniteConfig(**DECODER, logits_scaling=8.0),
        Gemma2Config(**DECODER, head_dim=16, final_logit_softcapping=0.01),
    ],
    ids=["llama", "llama-untied", "gpt2", "cohere", "granite", "gemma2"],
)
@torch.inference_mode()
def test_responses_are_rebuilt_as_by_the_pretrained_head(save_backbone, config):
    folder = save_backbone(config, is_causal=True)
    network, _ = build_network(recipe(variant="clm"), str(folder), n_candidates=3)
    network.eval()
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    row = torch.cat([IDS[1], network.mid_token_ids[:1]])
    rebuilt = network.reconstruct(network(IDS[1:], MASK[1:]).latents[0, 0])
    torch.testing.assert_close(rebuilt, model(row[None]).logits[0, -1:], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("config", [bert_config(), modernbert_config(), llama_config(), gpt2_config()])
def test_low_rank_updates_train_and_merge_into_the_same_scores(save_backbone, config):
    variant = "clm" if config.model_type in ("llama", "gpt2") else "mlm"
    folder = save_backbone(config, is_causal=variant == "clm")
    network, _ = build_network(recipe(variant=variant, mid_tokens="<MID_{index}>"), str(folder), n_candidates=3)
    torch.manual_seed(0)
    plain_names = set(network.state_dict())
    merge = add_lora(network, LoraSettings(rank=2))
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert trained
    heads = ("score_head", "reconstruction_head")
    assert all("lora_" in name or "trainable_tokens" in name or name.startswith(heads) for name in trained)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name in trained:
                parameter.add_(0.1 * torch.randn_like(parameter))
    expected = network.eval()(IDS, MASK).score_logits
    merge()
    torch.testing.assert_close(network.eval()(IDS, MASK).score_logits, expected, rtol=0, atol=1e-5)
    assert set(network.state_dict()) == plain_names


def test_low_rank_updates_of_layers_that_are_not_there_are_refused(backbone_folder):
    network, _ = build_network(recipe(), str(backbone_folder), n_candidates=3)
    with pytest.raises(ConfigurationError, match="does not fit this backbone"):
        add_lora(network, LoraSettings(target_modules=("flux",)))


def test_heads_that_are_not_asked_do_not_train(backbone_folder):
    network, _ = build_network(recipe(reconstruction_weight=0.0), str(backbone_folder), n_candidates=3)
    assert not any(parameter.requires_grad for parameter in network.reconstruction_head.parameters())


def test_an_added_token_takes_a_spare_row_of_a_padded_vocabulary_and_fills_it(tmp_path):
    size = len(VOCABULARY)
    model = LlamaForCausalLM(llama_config(vocab_size=size + 16))
    with torch.no_grad():
        model.get_input_embeddings().weight[size:] = 0.0
    model.save_pretrained(tmp_path)
    PreTrainedTokenizerFast(tokenizer_object=make_tokenizer(), eos_token="[SEP]", pad_token="[PAD]").save_pretrained(
        tmp_path
    )
    network, _ = build_network(recipe(variant="clm", mid_tokens="<MID_{index}>"), str(tmp_path), n_candidates=3)
    assert len(network.embedding) == size + 16
    assert torch.pdist(network.embedding[list(network.configuration.mid_token_ids)]).min() > 0.01


def test_a_causal_window_must_hold_the_responses_of_training(causal_backbone_folder):
    with pytest.raises(ConfigurationError, match="81 positions in training, the backbone has 64"):
        build_network(
            recipe(variant="clm", mid_tokens="<MID_{index}>", n_slots=56), str(causal_backbone_folder), n_candidates=3
        )


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (bert_config(), "attention_probs_dropout_prob"),
        (llama_config(), "attention_dropout"),
        (gpt2_config(), "attn_pdrop"),
    ],
)
def test_attention_dropout_reaches_the_backbone_under_the_name_that_it_has_there(save_backbone, config, name):
    is_causal = config.model_type != "bert"
    folder = save_backbone(config, is_causal=is_causal)
    variant = {"variant": "clm", "mid_tokens": "<MID_{index}>"} if is_causal else {}
    network, _ = build_network(recipe(attention_dropout=0.25, **variant), str(folder), n_candidates=3)
    assert getattr(network.backbone.config, name) == 0.25


def test_attention_dropout_that_the_backbone_knows_nothing_of_is_refused(tmp_path):
    CTRLConfig().save_pretrained(tmp_path)
    with pytest.raises(ConfigurationError, match=r"type 'ctrl' has no attention_dropout .*: leave"):
        build_network(recipe(attention_dropout=0.25), str(tmp_path), n_candidates=3)


@pytest.mark.parametrize("kind", ["evil", "bert"])
def test_code_of_a_backbone_is_never_run_whatever_stands_on_standard_input(
    backbone_folder, tmp_path, monkeypatch, capsys, kind
):
    folder = shutil.copytree(backbone_folder, tmp_path / "backbone")
    code = f"open({str(tmp_path / 'ran')!r}, 'w')\nfrom transformers import BertConfig as Config, BertModel as Model\n"
    (folder / "evil.py").write_text(code)
    record = json.loads((folder / "config.json").read_text())
    classes = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model", "AutoTokenizer": "evil.Config"}
    (folder / "config.json").write_text(json.dumps({**record, "model_type": kind, "auto_map": classes}))
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 5))
    if kind == "evil":
        with pytest.raises(CheckpointError, match="cannot load the backbone"):
            build_network(recipe(), str(folder), n_candidates=3)
    else:  # a family that transformers has itself
        build_network(recipe(), str(folder), n_candidates=3)
    assert not (tmp_path / "ran").exists()
    assert "custom code" not in capsys.readouterr().out


def test_kernels_that_a_backbone_names_are_not_asked_for(backbone_folder, tmp_path):
    folder = shutil.copytree(backbone_folder, tmp_path / "backbone")
    record = json.loads((folder / "config.json").read_text())
    foreign = {"attn_implementation": "bad/evil", "_attn_implementation": "bad/evil", "adapter": "bad/evil"}
    (folder / "config.json").write_text(json.dumps({**record, **foreign}))
    network, _ = build_network(recipe(), str(folder), n_candidates=3)
    assert "bad/evil" not in json.dumps(network.configuration.backbone_config)
    assert "bad/evil" not in str(network.backbone.config)


def test_a_quantised_backbone_is_refused(backbone_folder, tmp_path):
    folder = shutil.copytree(backbone_folder, tmp_path / "backbone")
    record = json.loads((folder / "config.json").read_text())
    quantised = {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}
    (folder / "config.json").write_text(json.dumps({**record, **quantised}))
    with pytest.raises(ConfigurationError, match="quantised"):
        build_network(recipe(), str(folder), n_candidates=3)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.safetensors", b"\x10\0\0\0\0\0\0\0{}"),
        ("model.safetensors", b""),
        ("config.json", b"[" * 100_000),
        ("config.json", b'{"model_type": "bert", "hidden_size": "many"}'),
        ("config.json", b'{"model_type": "bert", "num_attention_heads": 0}'),
        ("tokenizer.json", b"{}"),
        ("tokenizer.json", b"\xff\xfe"),
    ],
)
def test_a_damaged_backbone_is_a_checkpoint_error(backbone_folder, tmp_path, name, content):
    folder = shutil.copytree(backbone_folder, tmp_path / "backbone")
    (folder / name).write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot load the backbone"):
        build_network(recipe(), str(folder), n_candidates=3)
