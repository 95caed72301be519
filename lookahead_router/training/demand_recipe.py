"""A recipe of a network that knows no pool: every setting of its training run."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from lookahead_router.saved.card import CardSettings
from lookahead_router.training.recipe import Recipe, recipe_settings
from lookahead_router.values import Value


class PopulationSettings(Value):
    """Which answers train, which select, and how often each source is drawn."""

    train_split: str = "train"
    validation_split: str = "validation"
    sources: tuple[str, ...] = ("*",)
    """Patterns of the sources whose answers may train, for their terms or for an ablation."""
    exclude_sources: tuple[str, ...] = ()
    """Patterns of sources to leave out of those."""
    exclude_candidates: tuple[str, ...] = ()
    """Patterns of candidates whose answers are kept for a study."""
    groups: tuple[str, ...] = ()
    """Patterns of sources that are drawn as one; the others are groups of their own."""
    group_exponent: float = Field(default=0.6, ge=0, le=1)
    """A group is drawn by its number of prompts to this power: 1 by size, 0 all alike."""
    kinds: dict[str, Literal["correct", "judge", "pref"]] = Field(default={})
    """Kind of score by pattern of the source, where the data do not say it."""
    aliases: dict[str, str] = Field(default={})
    """Names of candidates in the data, and what they are called here."""
    augmentation: bool = True
    """Whether a prompt is seen in other clothes too: instructions, frames and passages around it."""
    everyday_factor: float = Field(default=3.0, gt=0)
    """Factor by which everyday prompts are drawn more often than a group of their size."""
    max_answers: int = Field(default=48, ge=1)
    """Answers to a prompt that one step looks at, drawn at random."""
    everyday: Path | None = None
    """JSONL of everyday prompts with a kind: `easy` and `textbook`, which current candidates answer, `open`, which none
    does, and `plain`, which teaches nothing but to stay the same in other clothes. Beside the recipe's file."""


class DemandNetworkSettings(Value):
    """Shape of the network around the backbone."""

    n_demands: int = Field(default=16, ge=1)
    references: tuple[tuple[str, ...], ...] = ()
    """Reference candidates whose answers are foreseen; of each, names in the order of preference, since none
    answered every prompt."""
    n_slots: int = Field(default=2, ge=1)
    """Slots of each reference: the first stands for the answer's first words, the others for what follows."""
    head_size: int = Field(default=256, ge=1)
    head_dropout: float = Field(default=0.3, ge=0, lt=1)
    max_prompt_tokens: int = Field(default=192, ge=8)
    n_frozen_layers: int = Field(default=2, ge=0)
    """Layers of the backbone, from below, that stay as they are, with the embeddings and the slots."""


class DemandObjectiveSettings(Value):
    """What the loss adds up."""

    length_weight: float = Field(default=0.2, ge=0)
    """Weight of the Huber loss of log tokens."""
    consistency_weight: float = Field(default=0.5, ge=0)
    """Weight of the squared difference of logits between a question and the same in other clothes."""
    choice_weight: float = Field(default=0.0, ge=0)
    """Weight of the squared change, in other clothes, of the differences between candidates, which choices rest on."""
    distillation_weight: float = Field(default=1.0, ge=0)
    """Weight of the cosine distance to what the frozen backbone says of the plain question."""
    everyday_weight: float = Field(default=2.0, ge=0)
    """Weight of the cross-entropy on everyday prompts, for each of their share in a batch."""
    reconstruction_weight: float = Field(default=0.15, ge=0)
    """Weight of the cross-entropy of the references' words in their slots."""
    ability_std: float = Field(default=0.5, gt=0)
    """Prior spread of abilities in training, which keeps them in scale."""
    level_std: float = Field(default=1.5, gt=0)
    """Prior spread of levels in training."""
    offset_std: float = Field(default=0.5, gt=0)
    """Prior spread of how lenient the judge of a source is."""


class DemandOptimizerSettings(Value):
    """Fine-tuning: AdamW under a short warm-up and a line to zero."""

    n_steps: int = Field(default=1200, ge=0)
    """0 leaves the backbone as it is, under a head: the line to beat."""
    batch_size: int = Field(default=24, ge=1)
    """Prompts of a step, over all processes; each is seen plain and in other clothes."""
    learning_rate: float = Field(default=5e-5, gt=0)
    head_learning_rate: float = Field(default=5e-4, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    warmup_steps: int = Field(default=100, ge=0)
    max_gradient_norm: float = Field(default=1.0, gt=0)
    averaging_decay: float = Field(default=0.998, ge=0, lt=1)
    use_bf16: bool = True


class HeadSettings(Value):
    """How the head is fitted to states that stay as they are: AdamW under one cycle of the rate."""

    n_epochs: float = Field(default=6.0, gt=0)
    learning_rate: float = Field(default=2e-3, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    batch_size: int = Field(default=256, ge=1)
    n_variants: int = Field(default=1, ge=1)
    """In how many other clothes each prompt is read, of which a step sees one; of the last fit alone."""
    everyday_weight: float | None = Field(default=None, ge=0)
    """In place of the objective's."""
    choice_weight: float | None = Field(default=None, ge=0)
    """In place of the objective's."""


class DemandRecipe(Value):
    """A complete training run of a `DemandNetwork` but for its data and its output folder."""

    kind: Literal["demands"]
    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    backbone: str
    """Folder or Hub id of a pretrained sentence encoder with its tokenizer."""
    initial: Path | None = None
    """Folder `network` of an earlier run whose weights and abilities this one goes on from, in place of a head that is
    fitted to the frozen backbone. Beside the recipe's file."""
    seed: int = Field(default=0, ge=0)
    data: PopulationSettings = PopulationSettings()
    network: DemandNetworkSettings = DemandNetworkSettings()
    objective: DemandObjectiveSettings = DemandObjectiveSettings()
    start: HeadSettings = HeadSettings()
    """The head on the frozen backbone, from where fine-tuning goes on."""
    optimizer: DemandOptimizerSettings = DemandOptimizerSettings()
    refit: HeadSettings | None = None
    """The head once more on the trained network's states, of the plain prompts and of the same in other clothes."""
    card: CardSettings = CardSettings()

    @model_validator(mode="after")
    def _check_references(self):
        if any(not names for names in self.network.references):
            raise ValueError("network.references holds one without a name")
        return self

    @property
    def run_folder(self) -> Path:
        """Where a run goes unless told otherwise: `runs/NAME`."""
        return Path("runs") / self.name

    @classmethod
    def from_yaml(cls, path: str | Path, overrides: Iterable[str] = ()) -> "DemandRecipe":
        """Reads a recipe and applies overrides like `optimizer.n_steps=100`.

        Raises:
            ConfigurationError: unreadable YAML, an unknown setting, or a value out of its domain.
        """
        return cls._from_settings(recipe_settings(path, overrides), Path(path))

    @classmethod
    def _from_settings(cls, settings: dict[str, Any], path: Path) -> "DemandRecipe":
        everyday, initial = (settings.get("data") or {}).get("everyday"), settings.get("initial")
        if isinstance(everyday, str):
            settings["data"]["everyday"] = str(path.parent / everyday)
        if isinstance(initial, str):
            settings["initial"] = str(path.parent / initial)
        return cls(**settings)

    def training_settings(self) -> dict[str, Any]:
        """Plain JSON types of everything but the card and this machine's paths."""
        settings = self.model_dump(mode="json", exclude={"card"})
        if self.data.everyday is not None:
            settings["data"]["everyday"] = self.data.everyday.name
        if self.initial is not None:
            settings["initial"] = f"{self.initial.parent.name}/{self.initial.name}"
        return settings


def read_recipe(path: str | Path, overrides: Iterable[str] = ()) -> Recipe | DemandRecipe:
    """The recipe of either kind in a file; see `DemandRecipe.from_yaml`."""
    settings = recipe_settings(path, overrides)
    return (
        DemandRecipe._from_settings(settings, Path(path)) if settings.get("kind") == "demands" else Recipe(**settings)
    )
