"""What of a saved backbone configuration reaches transformers: the settings of its family, as plain values.

A configuration of transformers is more than a shape. Handed over whole, one that somebody else wrote may name kernels,
quantisers or classes in other repositories, which transformers would fetch and run.
"""

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn
from transformers import CONFIG_MAPPING, AutoModel, PretrainedConfig

from lookahead_router.errors import ConfigurationError

_TOKENS = ("pad", "bos", "eos", "sep", "cls", "mask", "unk")
_SHARED = frozenset({"tie_word_embeddings", *(f"{name}_token_id" for name in _TOKENS)})
"""Settings of any family that shape its network, wherever a version of transformers declares them."""
_SAID_ONLY = frozenset(
    {"architectures", "dtype", "torch_dtype", "transformers_version", "id2label", "label2id", "problem_type"}
)
"""Settings that say something and change nothing here."""


def family_settings(config: PretrainedConfig) -> dict[str, Any]:
    """The settings of a configuration that its family declares, as they are saved.

    Raises:
        ConfigurationError: the weights are quantised, which the settings alone would not tell.
    """
    if getattr(config, "quantization_config", None) is not None:
        raise ConfigurationError("the backbone is quantised; choose one with plain weights")
    names = _names(type(config))
    return {name: value for name, value in config.to_dict().items() if name in names or name == "model_type"}


def backbone_config(record: Mapping[str, Any]) -> PretrainedConfig:
    """The configuration of a backbone from its saved form.

    Raises:
        ConfigurationError: an unknown family, or a setting that is not the family's own and not at rest.
    """
    kind = record.get("model_type")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        raise ConfigurationError(f"model_type {kind!r} is no family of this version of transformers")
    family = CONFIG_MAPPING[kind]
    if getattr(family, "sub_configs", None):
        raise ConfigurationError(f"a {kind!r} backbone is made of several models; choose one of text alone")
    names, resting = _names(family), family().to_dict()
    settings = {}
    for name, value in record.items():
        if name in names:
            if not _is_plain(value):
                raise ConfigurationError(f"{name}: expected a plain value, got {type(value).__name__}")
            settings[name] = value
        elif name not in {*_SAID_ONLY, "model_type"} and not _is_at_rest(value, resting.get(name)):
            raise ConfigurationError(f"{name} is no setting of a {kind!r} backbone")
    return family(**settings)


def fresh_backbone(record: Mapping[str, Any]) -> nn.Module:
    """A backbone with fresh weights from the saved form of its configuration.

    Raises:
        ConfigurationError: as `backbone_config`.
    """
    return AutoModel.from_config(backbone_config(record), trust_remote_code=False)


def _names(family: type[PretrainedConfig]) -> set[str]:
    """The settings that a family declares beyond those of every configuration."""
    declared, common = (set(inspect.signature(each.__init__).parameters) for each in (family, PretrainedConfig))
    return (declared - common - {"self", "kwargs"}) | _SHARED


def _is_at_rest(value: Any, default: Any) -> bool:
    """Whether a setting asks for nothing; `absolute` positions are what every version has where it names none."""
    return value in (None, False, 0, {}, [], "absolute", default)


def _is_plain(value: Any, depth: int = 3) -> bool:
    """Whether it is text without a path, a number, or a shallow list or mapping of them, such as those of RoPE."""
    if isinstance(value, Mapping):
        return depth > 0 and all(isinstance(key, str) and _is_plain(each, depth - 1) for key, each in value.items())
    if isinstance(value, list | tuple):
        return depth > 0 and all(_is_plain(each, depth - 1) for each in value)
    return value is None or isinstance(value, int | float) or (isinstance(value, str) and not {*"/@|"} & {*value})
