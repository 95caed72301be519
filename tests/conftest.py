"""The toy world: tiny networks with known structure, and prompts whose best candidate is known.

Candidate `digits` answers prompts about numbers well, candidate `words` all others. `lazy` is
always a little worse than the better of the two.
"""

import json
import os
import random
import shutil
import signal
import tempfile

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    BertConfig,
    BertModel,
    GPT2Config,
    LlamaConfig,
    LlamaForCausalLM,
    ModernBertConfig,
    PreTrainedTokenizerFast,
)

from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.data.examples import Outcome, RoutingExample
from lookahead_router.networks.base import LookaheadNetwork
from lookahead_router.networks.build import build_network
from lookahead_router.networks.configuration import LookaheadCLMConfig, LookaheadMLMConfig
from lookahead_router.training.recipe import Recipe

os.environ["TOKENIZERS_PARALLELISM"] = "false"
torch.set_num_threads(2)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in a shell's background, and then in all that tests start
    signal.signal(signal.SIGINT, signal.default_int_handler)

DIGITS = [str(n) for n in range(10)]
WORDS = ["river", "stone", "light", "cloud", "paper", "green", "quiet", "music", "winter", "garden"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"[unused{i}]" for i in range(8))]
VOCABULARY = {token: i for i, token in enumerate([*SPECIAL, *DIGITS, *WORDS, "sum", "rhyme", "?", "a", "b"])}
POOL = ("digits", "words", "lazy")


def make_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel(VOCABULARY, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


def bert_config(**changes) -> BertConfig:
    settings = {
        "vocab_size": len(VOCABULARY),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
        "pad_token_id": 0,
    }
    return BertConfig(**{**settings, **changes})


def modernbert_config() -> ModernBertConfig:
    return ModernBertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        local_attention=8,
        pad_token_id=0,
        cls_token_id=2,
        sep_token_id=3,
        bos_token_id=2,
        eos_token_id=3,
    )


def network_config(backbone=None, **changes) -> LookaheadMLMConfig:
    settings = {
        "backbone_config": (backbone or bert_config()).to_dict(),
        "n_candidates": len(POOL),
        "n_slots": 4,
        "mid_token_ids": tuple(range(5, 5 + len(POOL))),
        "cls_token_id": 2,
        "sep_token_id": 3,
        "pad_token_id": 0,
        "max_prompt_tokens": 24,
    }
    return LookaheadMLMConfig(**{**settings, **changes})


DECODER = {
    "vocab_size": len(VOCABULARY),
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "tie_word_embeddings": True,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 3,
}
"""The shape of a tiny decoder, in most families' words."""


def llama_config(**changes) -> LlamaConfig:
    return LlamaConfig(**{**DECODER, **changes})


def gpt2_config() -> GPT2Config:
    return GPT2Config(
        vocab_size=len(VOCABULARY), n_embd=32, n_layer=2, n_head=2, n_positions=64, bos_token_id=2, eos_token_id=3
    )


def causal_config(backbone=None, **changes) -> LookaheadCLMConfig:
    settings = {
        "backbone_config": (backbone or llama_config()).to_dict(),
        "n_candidates": len(POOL),
        "mid_token_ids": tuple(range(5, 5 + len(POOL))),
        "eos_token_id": 3,
        "pad_token_id": 0,
        "max_prompt_tokens": 24,
    }
    return LookaheadCLMConfig(**{**settings, **changes})


NETWORKS = {
    "bert": lambda: network_config(),
    "modernbert": lambda: network_config(modernbert_config()),
    "bert-classifier": lambda: network_config(n_slots=0),
    "llama": lambda: causal_config(),
    "gpt2": lambda: causal_config(gpt2_config()),
    "llama-untied": lambda: causal_config(llama_config(tie_word_embeddings=False)),
}


def make_network(name: str) -> LookaheadNetwork:
    """A tiny network of random weights in evaluation mode."""
    torch.manual_seed(0)
    network = build_network(NETWORKS[name]()).eval()
    with torch.no_grad():
        for parameter_name, parameter in network.named_parameters():
            if parameter_name == "output_embedding":
                parameter.normal_(std=0.1)  # it starts at zero
    return network


@pytest.fixture(scope="session", autouse=True)
def scratch(tmp_path_factory):
    """What tests, and the processes they start, put into the folder for temporary files goes with the session."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("scratch")))
        patch.setattr(tempfile, "tempdir", None)
        yield


@pytest.fixture(params=NETWORKS)
def any_network(request) -> LookaheadNetwork:
    """A tiny network of every kind."""
    return make_network(request.param)


@pytest.fixture(params=["bert", "modernbert"])
def network(request) -> LookaheadNetwork:
    """A tiny joint masked network, on either kind of backbone."""
    return make_network(request.param)


def toy_dataset(n: int = 120, seed: int = 0) -> RoutingDataset:
    generator = random.Random(seed)
    examples = []
    for row in range(n):
        is_digits = generator.random() < 0.5
        tokens = generator.choices(DIGITS if is_digits else WORDS, k=generator.randint(2, 8))
        good, bad = " ".join(tokens[:4]), "a b a b"
        outcomes = {
            "digits": Outcome(response=good if is_digits else bad, score=1.0 if is_digits else 0.0),
            "words": Outcome(response=bad if is_digits else good, score=0.0 if is_digits else 1.0),
            "lazy": Outcome(response=bad, score=0.25),
        }
        split = ("train", "train", "train", "validation", "test")[row % 5]
        source = "numbers" if is_digits else "poems"
        ask = "sum" if is_digits else "rhyme"
        examples.append(RoutingExample(f"{ask} {' '.join(tokens)} ?", outcomes, str(row), source, split))
    return RoutingDataset.from_examples(examples)


@pytest.fixture(scope="session")
def dataset() -> RoutingDataset:
    return toy_dataset()


@pytest.fixture(scope="session")
def backbone_folder(tmp_path_factory):
    """A tiny pretrained encoder with its tokenizer, as on the Hub."""
    folder = tmp_path_factory.mktemp("backbone")
    torch.manual_seed(0)
    BertModel(bert_config()).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=make_tokenizer(),
        cls_token="[CLS]",
        sep_token="[SEP]",
        pad_token="[PAD]",
        unk_token="[UNK]",
        mask_token="[MASK]",
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory, backbone_folder):
    """The tiny encoder as sentence-transformers saves one: frame, truncation and padding on; and its graph."""
    from lookahead_router.backends.export import export_encoder

    folder = tmp_path_factory.mktemp("encoder")
    shutil.copyfile(backbone_folder / "config.json", folder / "config.json")
    tokenizer = make_tokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.enable_truncation(16)
    tokenizer.enable_padding(length=16, pad_id=0)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "1_Pooling").mkdir()
    modes = {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 32, **modes}))
    export_encoder(backbone_folder, folder / "onnx" / "model.onnx")
    return folder


@pytest.fixture(scope="session")
def embedder(encoder_folder):
    from lookahead_router.predictors.embedder import Embedder

    return Embedder.load(encoder_folder)


@pytest.fixture(scope="session")
def causal_backbone_folder(tmp_path_factory):
    """A tiny pretrained decoder with its tokenizer, as on the Hub."""
    folder = tmp_path_factory.mktemp("causal-backbone")
    torch.manual_seed(0)
    LlamaForCausalLM(llama_config()).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=make_tokenizer(), pad_token="[PAD]", eos_token="[SEP]", unk_token="[UNK]"
    ).save_pretrained(folder)
    return folder


@pytest.fixture
def save_backbone(tmp_path_factory, backbone_folder, causal_backbone_folder):
    """Saves a backbone of a config, with fresh weights and the toy tokenizer; its folder."""

    def save(config, *, is_causal=False):
        folder = tmp_path_factory.mktemp(config.model_type)
        shutil.copytree(causal_backbone_folder if is_causal else backbone_folder, folder, dirs_exist_ok=True)
        torch.manual_seed(0)
        (AutoModelForCausalLM if is_causal else AutoModel).from_config(config).save_pretrained(folder)
        return folder

    return save


def toy_recipe(**optimizer) -> Recipe:
    return Recipe(
        name="toy",
        backbone="org/tiny",
        network={"n_slots": 4, "max_prompt_tokens": 24},
        objective={"max_reconstruction_targets": 64},
        optimizer={
            "learning_rate": 3e-3,
            "n_epochs": 6,
            "batch_size": 8,
            "use_bf16": False,
            "averaging_decay": 0.8,
            "n_evaluations": 4,
            **optimizer,
        },
    )


def changed(recipe: Recipe, **sections) -> Recipe:
    """The recipe with some settings of some sections changed."""
    return recipe.model_copy(
        update={name: getattr(recipe, name).model_copy(update=settings) for name, settings in sections.items()}
    )


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory, dataset, backbone_folder):
    """Folder of a finished training run on the toy world."""
    from lookahead_router.training import fit

    output = tmp_path_factory.mktemp("runs") / "toy"
    fit(dataset, toy_recipe(), output, backbone=backbone_folder, show_progress=False)
    return output


@pytest.fixture(scope="session")
def predictor_folder(trained_run, dataset):
    """A saved predictor with all three weight files."""
    from lookahead_router.predictors.export import export_predictor

    folder = trained_run / "predictor"
    export_predictor(folder, dataset.prompts)
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
