"""From a pretrained backbone to a network ready to train: MID tokens, embeddings, low-rank updates."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from pydantic import ValidationError
from tokenizers import AddedToken, Tokenizer
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedTokenizerBase,
)

from lookahead_router.errors import CheckpointError, ConfigurationError, describe
from lookahead_router.extras import require
from lookahead_router.networks.backbone import backbone_config, family_settings
from lookahead_router.networks.base import LookaheadNetwork
from lookahead_router.networks.clm import LookaheadCLM
from lookahead_router.networks.configuration import LookaheadCLMConfig, LookaheadMLMConfig
from lookahead_router.networks.demand_configuration import DemandConfig
from lookahead_router.networks.demands import DemandNetwork
from lookahead_router.networks.mlm import LookaheadMLM
from lookahead_router.training.compatibility import check_head
from lookahead_router.training.demand_recipe import DemandRecipe
from lookahead_router.training.recipe import LoraSettings, Recipe

NEW_EMBEDDING_STD = 0.02
"""Standard deviation of the noise that tells the rows of added MID tokens apart."""


def build_network(recipe: Recipe, location: str, *, n_candidates: int) -> tuple[LookaheadNetwork, Tokenizer]:
    """A network on the pretrained backbone in a folder or Hub repository, and its tokenizer.

    MID tokens that the vocabulary lacks are added to the tokenizer and the embeddings, once.

    Raises:
        CheckpointError: the backbone or its tokenizer cannot be loaded.
        ConfigurationError: settings that do not fit the backbone.
    """
    settings = recipe.network
    is_causal = settings.variant == "clm"
    # On a CPU the fused kernel's backward pass is slower than plain attention.
    attention = "sdpa" if torch.cuda.is_available() else "eager"
    loader = AutoModelForCausalLM if is_causal else AutoModel
    model, tokenizer = _pretrained(location, loader, attention, settings.attention_dropout)
    config, fast = model.config, _plain(tokenizer)
    mids, added = mid_token_ids(fast, settings.mid_tokens, n_candidates)
    _set_embeddings(model, added)
    window = getattr(config, "max_position_embeddings", None)
    needed = settings.max_prompt_tokens + 1 + recipe.n_response_tokens
    if is_causal and window is not None and needed > window:
        raise ConfigurationError(
            f"network.max_prompt_tokens, a MID token and n_slots need {needed} positions in training, "
            f"the backbone has {window}: lower one of them"
        )
    common = {
        "backbone_config": {**family_settings(config), "vocab_size": model.get_input_embeddings().num_embeddings},
        "n_candidates": n_candidates,
        "mid_token_ids": mids,
        "max_prompt_tokens": settings.max_prompt_tokens,
        "head_dropout": settings.head_dropout,
    }
    pad = tokenizer.pad_token_id
    try:
        if is_causal:
            eos = tokenizer.eos_token_id
            shape = LookaheadCLMConfig(eos_token_id=eos, pad_token_id=eos if pad is None else pad, **common)
        else:
            shape = LookaheadMLMConfig(
                cls_token_id=tokenizer.cls_token_id,
                sep_token_id=tokenizer.sep_token_id,
                pad_token_id=pad,
                n_slots=settings.n_slots,
                **common,
            )
    except ValidationError as error:
        raise ConfigurationError(f"this backbone and recipe.network do not fit: {describe(error)}") from error
    if is_causal:
        network = LookaheadCLM(shape, model.base_model, model.get_output_embeddings().weight)
        check_head(network, model)
    else:
        network = LookaheadMLM(shape, model)
    if not recipe.n_response_tokens:
        for name, parameter in network.named_parameters():
            if name.startswith(("reconstruction_head", "output_embedding")):
                parameter.requires_grad_(False)
    return network, fast


def build_demand_network(recipe: DemandRecipe, location: str) -> tuple[DemandNetwork, Tokenizer]:
    """A demand network on the pretrained encoder in a folder or Hub repository, and its tokenizer.

    Raises:
        CheckpointError: the backbone or its tokenizer cannot be loaded.
        ConfigurationError: settings that do not fit the backbone.
    """
    settings = recipe.network
    model, tokenizer = _pretrained(location, AutoModel, "sdpa")
    fast = _plain(tokenizer)
    if not hasattr(model, "encoder") or not hasattr(model.encoder, "layer") or tokenizer.cls_token_id is None:
        raise ConfigurationError(
            f"a backbone of type {model.config.model_type!r} is no encoder like BERT: "
            "choose a sentence encoder with encoder.layer and a CLS token"
        )
    try:
        config = DemandConfig(
            backbone_config=family_settings(model.config),
            n_demands=settings.n_demands,
            n_references=len(settings.references),
            n_slots=settings.n_slots if settings.references else 0,
            head_size=settings.head_size,
            head_dropout=settings.head_dropout,
            max_prompt_tokens=settings.max_prompt_tokens,
            pad_token_id=tokenizer.pad_token_id,
            cls_token_id=tokenizer.cls_token_id,
            sep_token_id=tokenizer.sep_token_id,
        )
    except ConfigurationError as error:
        raise ConfigurationError(f"this backbone and recipe.network do not fit: {error}") from error
    return DemandNetwork(config, model), fast


def _pretrained(
    location: str, loader: Any, attention: str, attention_dropout: float | None = None
) -> tuple[nn.Module, PreTrainedTokenizerBase]:
    """The model in a folder or Hub repository, by its family's own settings, and its tokenizer. No code is run."""
    try:
        found = AutoConfig.from_pretrained(location, trust_remote_code=False)
        config = backbone_config(family_settings(found))
        if attention_dropout is not None:
            _set_attention_dropout(config, attention_dropout)
        options = {"attn_implementation": attention, "dtype": torch.float32, "trust_remote_code": False}
        model = loader.from_pretrained(location, config=config, **options)
        return model, AutoTokenizer.from_pretrained(location, trust_remote_code=False)
    except ConfigurationError:
        raise
    except Exception as error:  # whatever transformers, tokenizers and safetensors say of a damaged file
        raise CheckpointError(f"cannot load the backbone: {error}", location=location) from error


def _plain(tokenizer: PreTrainedTokenizerBase) -> Tokenizer:
    """Its fast tokenizer, which neither cuts nor pads."""
    fast: Tokenizer = tokenizer.backend_tokenizer
    fast.no_truncation()
    fast.no_padding()
    return fast


def mid_token_ids(tokenizer: Tokenizer, pattern: str, n_candidates: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Ids of the MID tokens `pattern.format(index=0..K-1)`, and of those that the vocabulary lacked and that
    were added to it.

    Raises:
        ConfigurationError: the pattern names one token for several candidates, which would then look alike.
    """
    try:
        names = [pattern.format(index=index) for index in range(n_candidates)]
    except (KeyError, IndexError, ValueError) as error:
        raise ConfigurationError(f"network.mid_tokens {pattern!r} holds other fields than {{index}}") from error
    if len(set(names)) < n_candidates:
        raise ConfigurationError(f"network.mid_tokens {pattern!r} must hold {{index}}: one token for each candidate")
    missing = [name for name in names if tokenizer.token_to_id(name) is None]
    # The known ones, too: a spare entry that is added but not special would be read in the text of a prompt.
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    return tuple(map(tokenizer.token_to_id, names)), tuple(map(tokenizer.token_to_id, missing))


def add_lora(network: LookaheadNetwork, settings: LoraSettings) -> Callable[[], None]:
    """Freezes the backbone but for low-rank updates and the MID tokens; returns what merges them.

    Raises:
        MissingDependencyError: peft is not installed.
        ConfigurationError: the backbone has none of the target modules.
    """
    peft = require("peft", "train")
    for name, parameter in network.named_parameters():
        if name == "output_embedding":
            parameter.requires_grad_(False)
    embedding = network.backbone.get_input_embeddings()
    name = next(name for name, module in network.backbone.named_modules() if module is embedding)
    config = peft.LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules="all-linear" if settings.target_modules is None else list(settings.target_modules),
        trainable_token_indices={name: list(network.configuration.mid_token_ids)},
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers for an older name
            warnings.filterwarnings("ignore", message="fan_in_fan_out")  # and sets it right for GPT-2's layers
            adapted = peft.get_peft_model(network.backbone, config)  # changes the backbone in place
    except ValueError as error:
        raise ConfigurationError(f"network.lora does not fit this backbone: {error}") from error

    def merge() -> None:
        network.backbone = adapted.merge_and_unload()

    return merge


def _set_embeddings(model: nn.Module, added: tuple[int, ...]) -> None:
    """Rows for added tokens: the mean of all, and noise that tells them apart.

    Some models have more rows than tokens; an added token then takes a row that was never trained.
    """
    if not added:
        return
    n_before = model.get_input_embeddings().num_embeddings
    if max(added) >= n_before:
        model.resize_token_embeddings(1 + max(added), mean_resizing=False)
    weights = [model.get_input_embeddings().weight]
    output = model.get_output_embeddings()
    if output is not None and output.weight is not weights[0]:
        weights.append(output.weight)
    rows = torch.tensor(added)
    with torch.no_grad():
        for weight in weights:
            mean = weight[: min(n_before, min(added))].mean(dim=0)
            weight[rows] = mean + NEW_EMBEDDING_STD * torch.randn(len(rows), weight.shape[1])


def _set_attention_dropout(config: PretrainedConfig, share: float) -> None:
    names = ("attention_dropout", "attention_probs_dropout_prob", "attn_pdrop")
    known = [name for name in names if hasattr(config, name)]
    if not known:
        raise ConfigurationError(
            f"a backbone of type {config.model_type!r} has no {' or '.join(names)} to set: "
            "leave network.attention_dropout out"
        )
    for name in known:
        setattr(config, name, share)
