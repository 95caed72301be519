"""A recipe: every setting of a training run, as YAML with overrides."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from lookahead_router.errors import ConfigurationError
from lookahead_router.extras import require
from lookahead_router.saved.card import CardSettings
from lookahead_router.settings import read_settings
from lookahead_router.training.objectives import OBJECTIVES
from lookahead_router.values import Value

RoutingObjective = Literal[tuple(OBJECTIVES)]
"""The choices of L_route; `training.objectives.OBJECTIVES` says what each is."""
SourcePrior = Literal["mean", "best"]
"""What the prompts of a source have in common; `training.targets.shrink_to_sources` says how."""


class DataSettings(Value):
    """Which rows of the dataset train and which select."""

    train_split: str = "train"
    validation_split: str = "validation"
    train_fraction: float = Field(default=1.0, gt=0, le=1)
    """Share of the training rows to keep, drawn at random by the seed."""
    exclude_sources: tuple[str, ...] = ()
    """Sources to leave out of training and selection, for their terms or for an ablation."""


class LoraSettings(Value):
    """Low-rank adaptation of the backbone, with peft."""

    rank: int = Field(default=16, ge=1)
    alpha: float = Field(default=32.0, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    target_modules: tuple[str, ...] | None = None
    """Names of the linear layers; all of them when null."""


class NetworkSettings(Value):
    """Shape of the network around the backbone."""

    variant: Literal["mlm", "clm"] = "mlm"
    """A masked-language encoder or a causal language model as backbone (paper §4)."""
    n_slots: int = Field(default=16, ge=0)
    """M, tokens of each response that are foreseen. `mlm`: lookahead slots of each candidate, and 0 trains a
    classifier that reads the prompt only; `clm`: taught in training, and free in routing."""
    max_prompt_tokens: int = Field(default=192, ge=1)
    mid_tokens: str = "[unused{index}]"
    """Vocabulary entries that stand for the candidates; those that are not in the vocabulary are added."""
    head_dropout: float = Field(default=0.1, ge=0, lt=1)
    attention_dropout: float | None = Field(default=None, ge=0, lt=1)
    """Replaces the backbone's own; 0 roughly doubles the speed of a CPU."""
    lora: LoraSettings | None = None
    """Train low-rank updates of the backbone instead of all its weights; merged at the end."""


class ObjectiveSettings(Value):
    """L = L_route + reconstruction_weight * L_reconstruction (paper §4)."""

    routing: RoutingObjective = "bce"
    """L_route, as `training.objectives.OBJECTIVES` defines it."""
    threshold: float | None = Field(default=0.8, gt=0, le=1)
    """`bce`: near the best from this share of the per-prompt scale; null for soft targets."""
    temperature: float = Field(default=0.1, gt=0)
    """`expected-regret`: price of certainty, in units of the score."""
    reconstruction_weight: float = Field(default=0.2, ge=0)
    """lambda."""
    max_reconstruction_targets: int | None = Field(default=None, ge=1)
    """Masked tokens of a batch that are rebuilt, drawn at random; all of them when null."""
    source_weight_exponent: float = Field(default=0.0, ge=0, le=1)
    """Each source weighs n_prompts ** (1 - exponent) in the routing loss: 0 by size, 1 all alike."""
    source_shrinkage: float = Field(default=0.0, ge=0, lt=1)
    """Share of each routing target that its source gives, in place of the prompt's own scores."""
    source_prior: SourcePrior = "mean"
    """What a source gives: each candidate's mean target, or 1 for its best candidate and 0 for the others."""


class CurriculumSettings(Value):
    """The masking curriculum of `mlm` (paper §4); `clm` learns by teacher forcing."""

    initial_mask_rate: float = Field(default=0.3, gt=0, le=1)
    warmup_share: float = Field(default=0.2, ge=0, le=1)


class OptimizerSettings(Value):
    """AdamW under a linear warm-up and a cosine."""

    learning_rate: float = Field(default=5e-5, gt=0)
    head_learning_rate: float | None = Field(default=None, gt=0)
    """Learning rate of the heads, which start from nothing; `learning_rate` when null."""
    weight_decay: float = Field(default=0.01, ge=0)
    warmup_share: float = Field(default=0.05, ge=0, lt=1)
    n_epochs: float = Field(default=2.0, gt=0)
    batch_size: int = Field(default=32, ge=1)
    gradient_accumulation_steps: int = Field(default=1, ge=1)
    max_gradient_norm: float = Field(default=1.0, gt=0)
    averaging_decay: float | None = Field(default=None, gt=0, lt=1)
    """Decay of an exponential average of the weights, which is then what is evaluated and kept."""
    use_bf16: bool = True
    n_evaluations: int = Field(default=8, ge=1)
    """Evaluations on validation over the run; the best one's weights are kept."""
    early_stopping_patience: int | None = Field(default=None, ge=1)
    """Stop after this many evaluations without a better one."""


class RefitSettings(Value):
    """A new score head on the frozen states of the trained backbone."""

    n_epochs: float = Field(default=6.0, gt=0)
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.1, ge=0)
    dropout: float = Field(default=0.3, ge=0, lt=1)
    batch_size: int = Field(default=32, ge=1)
    source_shrinkage: float | None = Field(default=None, ge=0, lt=1)
    """In place of the objective's. The backbone learns the sources best from much of it; a head on states
    that know the sources can afford less."""


class Recipe(Value):
    """A complete training run but for its data and its output folder."""

    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    backbone: str
    """Folder or Hub id of a pretrained encoder with its tokenizer."""
    seed: int = Field(default=0, ge=0)
    data: DataSettings = DataSettings()
    network: NetworkSettings = NetworkSettings()
    objective: ObjectiveSettings = ObjectiveSettings()
    curriculum: CurriculumSettings = CurriculumSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    card: CardSettings = CardSettings()
    """What the model card says; it may change after training."""
    refit: RefitSettings | None = None
    """Train the score head anew in the end, and keep it where validation is better with it."""

    @property
    def run_folder(self) -> Path:
        """Where a run goes unless told otherwise: `runs/NAME`."""
        return Path("runs") / self.name

    @property
    def n_response_tokens(self) -> int:
        """Tokens of each response that training reads; none without the reconstruction loss."""
        return self.network.n_slots if self.objective.reconstruction_weight else 0

    @classmethod
    def from_yaml(cls, path: str | Path, overrides: Iterable[str] = ()) -> "Recipe":
        """Reads a recipe and applies overrides like `optimizer.learning_rate=1e-5`.

        Raises:
            ConfigurationError: unreadable YAML, an unknown setting, or a value out of its domain.
        """
        return cls(**recipe_settings(path, overrides))

    def to_yaml(self) -> str:
        """All settings of the training, defaults included; without those of the card."""
        return require("yaml", "train").safe_dump(self.training_settings(), sort_keys=False)

    def training_settings(self) -> dict[str, Any]:
        """Plain JSON types of everything but the card, which changes no weight."""
        return self.model_dump(mode="json", exclude={"card"})


def recipe_settings(path: str | Path, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """The settings in a recipe's file, with overrides like `optimizer.learning_rate=1e-5` applied; not yet checked.

    Raises:
        ConfigurationError: no such file, unreadable YAML, a name that stands there twice, or an override that is none.
    """
    settings = read_settings(Path(path), "name: ..., backbone: ...", "train")
    for override in overrides:
        _apply(settings, override, require("yaml", "train"))
    return settings


def _apply(settings: dict[str, Any], override: str, yaml: Any) -> None:
    key, separator, value = override.partition("=")
    if not separator or not key:
        raise ConfigurationError(f"an override reads section.setting=value, got {override!r}")
    *sections, last = key.split(".")
    for section in sections:
        if settings.get(section) is None:  # absent, or null as in the run.yaml of a run without it
            settings[section] = {}
        settings = settings[section]
        if not isinstance(settings, dict):
            raise ConfigurationError(f"override {override!r}: {section} is no section")
    try:
        settings[last] = yaml.safe_load(value)  # 1e-5 stays text in YAML 1.1; the field's type reads it
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise ConfigurationError(f"override {override!r}: {error}") from error
