"""`judge.yaml`: how answers are scored, by a reference where there is one, and by LLM judges."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from lookahead_router.errors import ConfigurationError
from lookahead_router.live.pool import CandidateConfig
from lookahead_router.live.references import GRADERS, TOLERANCE
from lookahead_router.settings import read_settings
from lookahead_router.types import CandidatePool
from lookahead_router.values import Value

COMMAND = "command"
METHODS = (*GRADERS, COMMAND)
"""Ways to grade by a reference."""


class JudgeConfig(Value):
    """How answers are scored.

    An answer whose prompt has a reference is graded by it where `reference` says how. All others go to the judges;
    where there are none, they are left without a score.
    """

    reference: Literal["exact", "normalized", "number", "choice", "contains", "regex", "json", "command"] | None = None
    """How a response is compared with its prompt's reference; `command` grades those without one too."""
    command: str | tuple[str, ...] | None = None
    """What `command` runs, without a shell, in a directory that holds the answer."""
    command_timeout: float = Field(default=10.0, gt=0)
    """Seconds."""
    tolerance: float = Field(default=TOLERANCE, ge=0)
    """Relative difference that `number` lets through."""
    judges: tuple[CandidateConfig, ...] = ()
    """LLMs that judge, with the settings of a pool's candidates. Their scores are averaged."""
    method: Literal["rating", "pairwise"] = "rating"
    """`rating`, from 1 to 10 against the rubric; or `pairwise`, every two answers to a prompt against each other, in
    both orders."""
    against: str | None = Field(default=None, min_length=1)
    """Candidate that `pairwise` compares all others' answers with; every two with each other when absent."""
    rubric: str | None = Field(default=None, min_length=1)
    """What counts, in words for the judges; ours when absent."""
    again: float = Field(default=0.1, ge=0, le=1)
    """Share of the verdicts that every judge is asked for twice, to see how far it agrees with itself."""
    error_score: float | None = Field(default=None, ge=0, le=1)
    """What an answer with an error scores, such as one that was filtered; none when absent."""

    @field_validator("judges")
    @classmethod
    def _check_names(cls, judges: Sequence[CandidateConfig]) -> Sequence[CandidateConfig]:
        if judges:
            CandidatePool(judge.name for judge in judges)  # raises for a name that stands twice
        return judges

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.reference is None and not self.judges:
            raise ValueError(f"name a way to grade in `reference` ({', '.join(METHODS)}), or judges in `judges`")
        if (self.reference == COMMAND) != (self.command is not None):
            raise ValueError("`reference: command` and `command: ...` go together")
        if self.against is not None and self.method != "pairwise":
            raise ValueError("`against` is of `method: pairwise`")
        return self

    @classmethod
    def load(cls, path: str | Path) -> "JudgeConfig":
        """Reads a judge's file: YAML, or JSON by its suffix.

        Raises:
            ConfigurationError: no such file, or a setting that is unknown or out of range; says where.
            MissingDependencyError: YAML without PyYAML.
        """
        return cls(**read_settings(Path(path), "reference: exact, or judges: [{name: ..., ...}]", "live"))


def judge_of(judge: "JudgeConfig | str | Path") -> JudgeConfig:
    """A judge's settings, from its file, or from the name of a way to grade by reference.

    Raises:
        ConfigurationError: neither is there.
    """
    if isinstance(judge, JudgeConfig):
        return judge
    if isinstance(judge, str) and judge in GRADERS:
        return JudgeConfig(reference=judge)
    if isinstance(judge, str) and not Path(judge).exists() and not Path(judge).suffix:
        raise ConfigurationError(
            f"{judge!r} is neither a judge's file nor a way to grade by reference, which are {', '.join(GRADERS)}"
        )
    if isinstance(judge, str | Path):
        return JudgeConfig.load(judge)
    raise ConfigurationError(
        f"expected a judge's settings, its file, a function or a method, got {type(judge).__name__}"
    )
