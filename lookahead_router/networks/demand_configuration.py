"""The shape of a network of demands, and that of any network from what `config.json` holds.

Apart from `configuration`, whose kinds pydantic checks: the embedded predictor is of this kind, and a cold decision has
no time for that import.
"""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lookahead_router.checks import mapping, one_of, settle, share, strict, whole, wrong
from lookahead_router.errors import ConfigurationError, describing

if TYPE_CHECKING:
    from lookahead_router.networks.configuration import NetworkConfig


def plain_backbone(config: dict[str, Any]) -> dict[str, Any]:
    """Plain JSON, so that a built and a loaded configuration are equal, whose sizes are numbers.

    Raises:
        ValueError: a size that is none.
    """
    for name in ("max_position_embeddings", "vocab_size"):
        value = config.get(name)
        if value is not None and (type(value) is not int or value < 1):
            raise ValueError(f"{name} must be a whole number from 1 on, got {value!r:.50}")
    return json.loads(json.dumps(config))


def check_positions(backbone: dict[str, Any], needed: int, what: str) -> None:
    """Raises `ValueError` where a backbone has fewer positions than prompt window, frame and `what` need."""
    available = backbone.get("max_position_embeddings")
    if available is not None and needed > available:
        raise ValueError(
            f"the prompt window and {what} need {needed} positions, the backbone has {available}: "
            "lower max_prompt_tokens or n_slots"
        )


@strict
@dataclass(frozen=True, kw_only=True)
class DemandConfig:
    """Everything needed to rebuild a `DemandNetwork`, which knows no pool; `backbone_config` is the encoder's.

    Raises:
        ConfigurationError: a field that there is not, a value that it cannot have, or sizes that do not go together.
    """

    kind: Literal["demands"] = "demands"
    backbone_config: dict[str, Any]
    """A Hugging Face config as a dict; `model_type` chooses the backbone."""
    n_demands: int
    """R, the length of the vectors of demands and of abilities."""
    n_references: int
    """Reference candidates whose answers are foreseen; 0 leaves the slots out."""
    n_slots: int
    """Slots of each reference."""
    head_size: int
    """Hidden units between states and demands."""
    head_dropout: float = 0.1
    max_prompt_tokens: int
    """Prompt window without what frames the prompt."""
    window: Literal["ends"] = "ends"
    """What is kept of a longer prompt: its head, its tail and the questions between."""
    pad_token_id: int
    cls_token_id: int
    sep_token_id: int

    def __post_init__(self) -> None:
        settle(
            self,
            kind=one_of("demands"),
            backbone_config=lambda value: plain_backbone(mapping(value)),
            head_dropout=share,
            max_prompt_tokens=whole(8),
            window=one_of("ends"),
            **dict.fromkeys(("n_demands", "head_size"), whole(1)),
            **dict.fromkeys(("n_references", "n_slots", "pad_token_id", "cls_token_id", "sep_token_id"), whole(0)),
        )
        if (self.n_references == 0) != (self.n_slots == 0):
            raise wrong(self, "n_references", "n_references and n_slots are both 0, or neither")
        needed = self.max_prompt_tokens + 2 + self.n_references * self.n_slots
        try:
            check_positions(self.backbone_config, needed, "the slots")
        except ValueError as error:
            raise wrong(self, "max_prompt_tokens", str(error)) from None

    @property
    def prompt_prefix(self) -> tuple[int, ...]:
        """Ids before the prompt's own."""
        return (self.cls_token_id,)

    @property
    def prompt_suffix(self) -> tuple[int, ...]:
        """Ids after the prompt's own."""
        return (self.sep_token_id,)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return dict(vars(self))


def parse_network_config(record: dict[str, Any]) -> "NetworkConfig | DemandConfig":
    """The configuration of any kind.

    Raises:
        ConfigurationError: an unknown kind, or fields that do not fit.
    """
    if record.get("kind") == "demands":
        return DemandConfig(**record)
    from lookahead_router.networks.configuration import LookaheadCLMConfig, LookaheadMLMConfig

    kinds = {"lookahead-mlm": LookaheadMLMConfig, "lookahead-clm": LookaheadCLMConfig}
    kind = record.get("kind")
    if not isinstance(kind, str) or kind not in kinds:
        raise ConfigurationError(f"kind: expected one of demands, {', '.join(kinds)}")
    with describing():
        return kinds[kind].model_validate(record)
