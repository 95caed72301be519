"""The shape of a Lookahead network, as saved in a predictor's `config.json`."""

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class LookaheadMLMConfig(BaseModel):
    """Everything needed to rebuild a `LookaheadMLM`; `backbone_config` is the nested encoder config.

    `n_slots = 0` leaves the blocks out: the network is then a classifier that reads the prompt
    only, the control of every experiment (the paper's MLC, §5).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["lookahead-mlm"] = "lookahead-mlm"
    backbone_config: dict[str, Any]
    """A Hugging Face config as a dict; `model_type` chooses the encoder."""
    n_candidates: int = Field(ge=1)
    n_slots: int = Field(ge=0)
    """M, the lookahead slots of each candidate's block."""
    mid_token_ids: tuple[int, ...]
    """One vocabulary entry per candidate, in pool order (paper §4: MID_t)."""
    cls_token_id: int = Field(ge=0)
    sep_token_id: int = Field(ge=0)
    pad_token_id: int = Field(ge=0)
    max_prompt_tokens: int = Field(ge=1)
    """Prompt window without CLS and SEP; a longer prompt keeps its tail."""
    positions: Literal["restart"] = "restart"
    """Every block's positions start right after the prompt's (part of the model: other positions, other scores)."""
    head_dropout: float = Field(default=0.1, ge=0.0, lt=1.0)

    @field_validator("backbone_config")
    @classmethod
    def _as_saved(cls, config: dict[str, Any]) -> dict[str, Any]:
        """Plain JSON, so that a built and a loaded configuration are equal."""
        return json.loads(json.dumps(config))

    @model_validator(mode="after")
    def _check(self) -> "LookaheadMLMConfig":
        if len(self.mid_token_ids) != self.n_candidates:
            raise ValueError(
                f"expected {self.n_candidates} MID tokens, one per candidate, got {len(self.mid_token_ids)}"
            )
        special = {self.cls_token_id, self.sep_token_id, self.pad_token_id}
        if len(set(self.mid_token_ids)) != self.n_candidates or special & set(self.mid_token_ids):
            raise ValueError(
                "MID tokens must be distinct and different from CLS, SEP and PAD "
                f"(got {list(self.mid_token_ids)}): with a shared token, candidates look alike"
            )
        window = self.backbone_config.get("max_position_embeddings")
        needed = self.max_prompt_tokens + 2 + (self.n_slots + 1 if self.n_slots else 0)
        if window is not None and needed > window:
            raise ValueError(
                f"the prompt window and one block need {needed} positions, the backbone has {window}: "
                "lower max_prompt_tokens or n_slots"
            )
        vocabulary = self.backbone_config.get("vocab_size")
        if vocabulary is not None and not all(0 <= i < vocabulary for i in self.mid_token_ids):
            raise ValueError(f"MID tokens {list(self.mid_token_ids)} leave the vocabulary of {vocabulary}")
        return self
