"""The shape of a Lookahead network with a pool of its own, as saved in a predictor's `config.json`."""

from abc import ABC, abstractmethod
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from lookahead_router.networks.demand_configuration import check_positions, plain_backbone

_SETTINGS = ConfigDict(frozen=True, extra="forbid", defer_build=True)
"""A folder holds one kind of network, so the others are not prepared."""
BackboneConfig = Annotated[dict[str, Any], AfterValidator(plain_backbone)]
"""A Hugging Face config as a dict; `model_type` chooses the backbone."""


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
        check_positions(self.backbone_config, needed, "one block")
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


NetworkConfig = LookaheadMLMConfig | LookaheadCLMConfig
