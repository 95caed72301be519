"""The shape of a Lookahead network, as saved in a predictor's `config.json`."""

import json
from abc import ABC, abstractmethod
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, model_validator


def _checked(config: dict[str, Any]) -> dict[str, Any]:
    """Plain JSON, so that a built and a loaded configuration are equal, whose sizes are numbers."""
    for name in ("max_position_embeddings", "vocab_size"):
        value = config.get(name)
        if value is not None and (type(value) is not int or value < 1):
            raise ValueError(f"{name} must be a whole number from 1 on, got {value!r:.50}")
    return json.loads(json.dumps(config))


_SETTINGS = ConfigDict(frozen=True, extra="forbid", defer_build=True)
"""A folder holds one kind of network, so the others are not prepared."""
BackboneConfig = Annotated[dict[str, Any], AfterValidator(_checked)]
"""A Hugging Face config as a dict; `model_type` chooses the backbone."""


def _check_positions(backbone: dict[str, Any], needed: int, what: str) -> None:
    available = backbone.get("max_position_embeddings")
    if available is not None and needed > available:
        raise ValueError(
            f"the prompt window and {what} need {needed} positions, the backbone has {available}: "
            "lower max_prompt_tokens or n_slots"
        )


class _NetworkConfig(BaseModel, ABC):
    """What both kinds of network have."""

    model_config: ClassVar[ConfigDict] = _SETTINGS

    backbone_config: BackboneConfig
    """A Hugging Face config as a dict; `model_type` chooses the backbone."""
    n_candidates: int = Field(ge=1)
    mid_token_ids: tuple[int, ...]
    """One vocabulary entry per candidate, in pool order (paper §4: MID_t)."""
    pad_token_id: int = Field(ge=0)
    max_prompt_tokens: int = Field(ge=1)
    """Prompt window without what frames the prompt; a longer prompt loses its middle."""
    head_dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    score_scale: float | None = Field(default=None, gt=0)
    """Where set, logits are relative: less their mean over the candidates, and times this factor."""

    @property
    @abstractmethod
    def prompt_prefix(self) -> tuple[int, ...]:
        """Ids before the prompt's own."""

    @property
    @abstractmethod
    def prompt_suffix(self) -> tuple[int, ...]:
        """Ids after the prompt's own."""

    @property
    @abstractmethod
    def block_length(self) -> int:
        """Tokens that each candidate adds to the prompt in routing."""

    @property
    def reserved_token_ids(self) -> set[int]:
        """Ids with a meaning of their own, which no candidate may have."""
        return {self.pad_token_id, *self.prompt_prefix, *self.prompt_suffix}

    @model_validator(mode="after")
    def _check_tokens(self):
        if len(self.mid_token_ids) != self.n_candidates:
            raise ValueError(
                f"expected {self.n_candidates} MID tokens, one per candidate, got {len(self.mid_token_ids)}"
            )
        if len(set(self.mid_token_ids)) != self.n_candidates or self.reserved_token_ids & set(self.mid_token_ids):
            raise ValueError(
                "MID tokens must be distinct and different from CLS, SEP, EOS and PAD "
                f"(got {list(self.mid_token_ids)}): with a shared token, candidates look alike"
            )
        needed = len(self.prompt_prefix) + self.max_prompt_tokens + len(self.prompt_suffix) + self.block_length
        _check_positions(self.backbone_config, needed, "one block")
        vocabulary = self.backbone_config.get("vocab_size")
        if vocabulary is not None and not all(0 <= i < vocabulary for i in self.mid_token_ids):
            raise ValueError(f"MID tokens {list(self.mid_token_ids)} leave the vocabulary of {vocabulary}")
        return self


_SETTLED = {"prediction": "joint", "readout": "cls", "positions": "restart"}


class LookaheadMLMConfig(_NetworkConfig):
    """Everything needed to rebuild a `LookaheadMLM`; `backbone_config` is the nested encoder config.

    `n_slots = 0` leaves the blocks out: the network is then a classifier that reads the prompt
    only, the control of every experiment (the paper's MLC, §5).
    """

    kind: Literal["lookahead-mlm"] = "lookahead-mlm"
    n_slots: int = Field(ge=0)
    """M, the lookahead slots of each candidate's block."""
    cls_token_id: int = Field(ge=0)
    sep_token_id: int = Field(ge=0)
    mask_token_id: int | None = Field(default=None, ge=0)
    """Mask of the backbone's vocabulary, where it has one; like the others, no prompt can hold it."""

    @model_validator(mode="before")
    @classmethod
    def _as_it_is_now(cls, record: Any) -> Any:
        """A record of an earlier version, without settings that have one value left."""
        if not isinstance(record, dict):
            return record
        for name, left in _SETTLED.items():
            if record.get(name, left) != left:
                raise ValueError(
                    f"{name} {record[name]!r} is of an earlier version; this one has {left!r} alone, so train again"
                )
        return {name: value for name, value in record.items() if name not in _SETTLED}

    @property
    def prompt_prefix(self) -> tuple[int, ...]:
        return (self.cls_token_id,)

    @property
    def prompt_suffix(self) -> tuple[int, ...]:
        return (self.sep_token_id,)

    @property
    def block_length(self) -> int:
        return self.n_slots + 1 if self.n_slots else 0


class LookaheadCLMConfig(_NetworkConfig):
    """Everything needed to rebuild a `LookaheadCLM`; `backbone_config` is the nested decoder config."""

    kind: Literal["lookahead-clm"] = "lookahead-clm"
    eos_token_id: int = Field(ge=0)
    """Ends a response in training."""

    @property
    def reserved_token_ids(self) -> set[int]:
        return {*super().reserved_token_ids, self.eos_token_id}

    @property
    def prompt_prefix(self) -> tuple[int, ...]:
        return ()

    @property
    def prompt_suffix(self) -> tuple[int, ...]:
        return ()

    @property
    def block_length(self) -> int:
        return 1


class DemandConfig(BaseModel):
    """Everything needed to rebuild a `DemandNetwork`, which knows no pool; `backbone_config` is the encoder's."""

    model_config: ClassVar[ConfigDict] = _SETTINGS

    kind: Literal["demands"] = "demands"
    backbone_config: BackboneConfig
    """A Hugging Face config as a dict; `model_type` chooses the backbone."""
    n_demands: int = Field(ge=1)
    """R, the length of the vectors of demands and of abilities."""
    n_references: int = Field(ge=0)
    """Reference candidates whose answers are foreseen; 0 leaves the slots out."""
    n_slots: int = Field(ge=0)
    """Slots of each reference."""
    head_size: int = Field(ge=1)
    """Hidden units between states and demands."""
    head_dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    max_prompt_tokens: int = Field(ge=8)
    """Prompt window without what frames the prompt."""
    window: Literal["ends"] = "ends"
    """What is kept of a longer prompt: its head, its tail and the questions between."""
    pad_token_id: int = Field(ge=0)
    cls_token_id: int = Field(ge=0)
    sep_token_id: int = Field(ge=0)

    @property
    def prompt_prefix(self) -> tuple[int, ...]:
        """Ids before the prompt's own."""
        return (self.cls_token_id,)

    @property
    def prompt_suffix(self) -> tuple[int, ...]:
        """Ids after the prompt's own."""
        return (self.sep_token_id,)

    @model_validator(mode="after")
    def _check_layout(self):
        if (self.n_references == 0) != (self.n_slots == 0):
            raise ValueError("n_references and n_slots are both 0, or neither")
        needed = self.max_prompt_tokens + 2 + self.n_references * self.n_slots
        _check_positions(self.backbone_config, needed, "the slots")
        return self


NetworkConfig = LookaheadMLMConfig | LookaheadCLMConfig


def parse_network_config(record: dict[str, Any]) -> NetworkConfig | DemandConfig:
    """The configuration of any kind.

    Raises:
        pydantic.ValidationError: an unknown kind, or fields that do not fit.
    """
    for kind in (DemandConfig, LookaheadMLMConfig, LookaheadCLMConfig):
        if record.get("kind") == kind.model_fields["kind"].default:
            return kind.model_validate(record)
    return TypeAdapter(Annotated[NetworkConfig | DemandConfig, Field(discriminator="kind")]).validate_python(record)
