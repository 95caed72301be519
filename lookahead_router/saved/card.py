"""The model card: rendered from the files of a saved predictor, never written by hand."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from lookahead_router.errors import CheckpointError, ConfigurationError
from lookahead_router.escaping import to_markdown, to_markdown_prose, to_terminal
from lookahead_router.files import write_text
from lookahead_router.hub import is_repo_id
from lookahead_router.saved.folder import PredictorConfig, PredictorFolder, write_json
from lookahead_router.types import CandidatePool
from lookahead_router.values import Value

PARITY = "parity"
"""Under this name `evaluation.json` keeps how the graphs agree with the torch weights."""

_TEMPLATE = Path(__file__).with_name("card.md")

PLACEHOLDER = "ORG/NAME"
"""In a card's snippets, for the repository that it is pushed to."""


class HubBenchmark(Value):
    """A benchmark dataset of the Hub that the results belong to, as its leaderboard knows it."""

    dataset_id: str
    task_id: str
    result: str
    """Which of the recorded results, e.g. `lookahead7/test`."""


class CardSettings(Value):
    """What a model card says beyond what the run's files know; the recipe's section `card`."""

    license: str | None = None
    """Licence as the Hub spells it, e.g. `apache-2.0`, `cc-by-nc-4.0`, `other`."""
    language: tuple[str, ...] = ("en",)
    datasets: tuple[str, ...] = ()
    """Ids on the Hub."""
    notes: tuple[str, ...] = ()
    """About the results: how they were reached, what to doubt."""
    limits: tuple[str, ...] = ()
    """What the predictor is not for."""
    terms: tuple[str, ...] = ()
    """Licences and conditions of data, outputs and backbone."""
    benchmarks: tuple[HubBenchmark, ...] = ()

    def with_dataset(self, dataset_id: str) -> "CardSettings":
        """These settings with a dataset of the Hub among its datasets."""
        return self.model_copy(update={"datasets": tuple(dict.fromkeys([*self.datasets, dataset_id]))})


def write_card_settings(folder: PredictorFolder, settings: CardSettings) -> None:
    """Keeps the settings in `card.json`."""
    write_json(folder.card_settings, settings.model_dump(mode="json"))


def record_result(folder: PredictorFolder, name: str, result: Mapping[str, Any]) -> None:
    """Keeps a result under a name in `evaluation.json`, beside the others; whole or not at all."""
    results = read_results(folder)
    write_json(folder.evaluation, {**results, name: dict(result)})


def read_results(folder: PredictorFolder) -> dict[str, Any]:
    """Recorded results by name; empty where nothing was recorded.

    Raises:
        CheckpointError: `evaluation.json` is unreadable.
    """
    return folder.read_json(folder.evaluation) if folder.evaluation.is_file() else {}


def write_card(folder: PredictorFolder) -> None:
    """Renders `README.md` of a saved predictor, and `.eval_results/` where the recipe names benchmarks.

    Raises:
        CheckpointError: a file that it reads is missing or malformed.
    """
    folder.check()
    settings = CardSettings()
    if folder.card_settings.is_file():
        try:
            settings = CardSettings(**folder.read_json(folder.card_settings))
        except ConfigurationError as error:
            raise CheckpointError(f"card.json: {error}", location=folder.location) from error
    results = read_results(folder)
    card = _Card(
        folder.read_config(),
        folder.read_pool(),
        folder.read_json(folder.training) if folder.training.is_file() else {},
        folder.read_json(folder.calibration) if folder.calibration.is_file() else None,
        results,
        settings,
        len(folder.read_json(folder.catalogue)["entries"]) if folder.catalogue.is_file() else 0,
    )
    try:
        text, hub_results = card.render(), _hub_results(results, settings)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise CheckpointError(
            f"config.json, evaluation.json or training.json is malformed ({error!r}); evaluate with --save again, or "
            "delete the file that is",
            location=folder.location,
        ) from error
    write_text(folder.card, text)
    if hub_results:
        write_text(folder.hub_results, hub_results)
    else:
        folder.hub_results.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Card:
    config: PredictorConfig
    pool: CandidatePool
    training: dict[str, Any]
    calibration: dict[str, Any] | None
    results: dict[str, Any]
    settings: CardSettings
    n_profiles: int
    """Candidates of the catalogue; 0 where there is none."""

    @property
    def recipe(self) -> dict[str, Any]:
        return self.training.get("recipe", {})

    @property
    def evaluated(self) -> dict[str, Any]:
        return {name: result for name, result in self.results.items() if name != PARITY}

    def render(self) -> str:
        title, *sections = _TEMPLATE.read_text(encoding="utf-8").strip().split("\n\n## ")
        values = {
            "name": to_markdown(self.config.name),
            "introduction": self._introduction(),
            "candidates": self._candidates(),
            "scores": _CHANCES
            if self._is_open
            else _RELATIVE
            if self.config.network.get("score_scale")
            else _NEAR_THE_BEST,
            "training": self._training(),
            "results": self._results(),
            "calibration": self._calibration(),
            "limits": _items(map(to_markdown_prose, self.settings.limits)),
            "terms": _items(map(to_markdown_prose, self.settings.terms)),
        }
        filled = [Template(section).substitute(values).strip() for section in sections]
        body = "\n\n## ".join([Template(title).substitute(values), *(each for each in filled if "\n" in each)])
        return f"---\n{self._metadata()}\n---\n\n{body}\n"

    def _metadata(self) -> str:
        from huggingface_hub import EvalResult, ModelCardData

        backbone = self.recipe.get("backbone")
        evaluated = [
            EvalResult(
                task_type="text-classification",
                dataset_type=to_terminal(name.partition("/")[0]),
                dataset_name=to_terminal(name),
                metric_type="normalized_score",
                metric_name="normalised score (0 random, 100 oracle)",
                metric_value=round(result["average"]["normalized"]["value"], 1),
            )
            for name, result in self.evaluated.items()
            if result["average"]["normalized"]["value"] is not None
        ]
        return (
            ModelCardData(
                language=list(map(to_terminal, self.settings.language)),
                license=self.settings.license and to_terminal(self.settings.license),
                library_name="lookahead-router",
                pipeline_tag="text-classification",
                tags=["llm-routing", "lookahead", "arxiv:2510.19506"],
                base_model=backbone if is_repo_id(backbone) else None,
                datasets=list(map(to_terminal, self.settings.datasets)) or None,
                model_name=to_terminal(self.config.name) if evaluated else None,
                eval_results=evaluated or None,
            )
            .to_yaml()
            .strip()
        )

    def _introduction(self) -> str:
        network = self.config.network
        if self._is_open:
            return self._open_introduction()
        kind = {"lookahead-mlm": "masked", "lookahead-clm": "causal"}[network.get("kind", "lookahead-mlm")]
        foresight = (
            f"{network['n_slots']:d} lookahead slots per candidate"
            if network.get("n_slots")
            else "one token per candidate"
        )
        backbone = self.recipe.get("backbone") or network.get("backbone_config", {}).get("model_type")
        return (
            f"Predicts, from a prompt alone, which of {len(self.pool)} LLMs will answer it best. A {kind} Lookahead\n"
            "network (Huang et al., *Lookahead Routing for Large Language Models*, NeurIPS 2025,\n"
            f"[arXiv 2510.19506](https://arxiv.org/abs/2510.19506)) on {_code(backbone)}: {foresight},\n"
            f"reading at most {network.get('max_prompt_tokens'):d} tokens of a prompt. Saved by lookahead-router "
            f"{to_markdown(self.config.library_version)}, format {self.config.format_version}."
        )

    @property
    def _is_open(self) -> bool:
        """Whether it decides among any candidates, by profiles."""
        return self.config.network.get("kind") == "demands"

    def _open_introduction(self) -> str:
        network = self.config.network
        backbone = self.recipe.get("backbone") or network.get("backbone_config", {}).get("model_type")
        foresight = (
            f"{network['n_slots']:d} lookahead slots for each of {network['n_references']:d} reference candidates"
            if network.get("n_references")
            else "no lookahead slots"
        )
        return (
            "Says of a prompt what it demands of whoever answers it, and by their profiles how well candidates meet\n"
            "that: a chance of a good answer with its error, and the expected length, for any pool.\n"
            f"{_code(backbone)} with {foresight} (after Huang et al., *Lookahead Routing for\n"
            "Large Language Models*, NeurIPS 2025, [arXiv 2510.19506](https://arxiv.org/abs/2510.19506)), "
            f"{network['n_demands']:d} demands, reading at most "
            f"{network['max_prompt_tokens']:d} tokens of a prompt.\nSaved by lookahead-router "
            f"{to_markdown(self.config.library_version)}, format {self.config.format_version}."
        )

    def _candidates(self) -> str:
        """The pool, and where any may be named, that these are only the ones it decides among unasked."""
        if not self._is_open:
            return self._pool()
        return (
            f"Any may be named, `Router.from_pretrained(…, candidates=[…])`; {self.n_profiles:,} are known by name. "
            f"Where none is named, it decides among these:\n\n{self._pool()}"
        )

    def _pool(self) -> str:
        columns = {
            "input, USD per 1M tokens": "input_usd_per_million_tokens",
            "output, USD per 1M tokens": "output_usd_per_million_tokens",
            "context window, tokens": "context_window_tokens",
        }
        known = {
            title: field for title, field in columns.items() if any(getattr(c, field) is not None for c in self.pool)
        }
        lines = [" | ".join(["candidate", *known]), "|".join(["---", *["--:"] * len(known)])]
        for candidate in self.pool:
            values = (getattr(candidate, field) for field in known.values())
            lines.append(" | ".join([to_markdown(candidate.name), *("–" if v is None else f"{v:g}" for v in values)]))
        return "\n".join(f"| {line} |" for line in lines) if known else _items(map(to_markdown, self.pool.names))

    def _training(self) -> str:
        if not self.training:
            return ""
        if self._is_open:
            return (
                f"Recipe {_code(self.recipe.get('name'))}, seed {self.recipe.get('seed', 0):d}, "
                f"{self.training.get('step', 0):,} steps on {self.training.get('n_prompts', 0):,} prompts and "
                f"{self.training.get('n_answers', 0):,} scored answers; all of it is in `training.json`."
            )
        sources = self.training.get("train_sources") or {}
        drawn = ", ".join(f"{to_markdown(source) or 'unnamed'} {n:,}" for source, n in sources.items())
        best = self.training.get("best", {})
        lines = [
            f"Recipe {_code(self.recipe.get('name'))}, seed {self.recipe.get('seed', 0):d}; all of it is in "
            "`training.json`.",
            f"{self.training.get('n_train', 0):,} prompts{self._material()}" + (f": {drawn}." if drawn else "."),
            f"The weights of step {best.get('step', 0):,} were the best on {self.training.get('n_validation', 0):,} "
            "validation prompts.",
        ]
        refit = self.training.get("refit")
        if refit:
            kept = "was kept" if refit["after"] > refit["before"] else "was not kept, being no better there"
            lines.append(f"A score head trained anew on the frozen states {kept}.")
        excluded = self.recipe.get("data", {}).get("exclude_sources")
        if excluded:
            lines.append(f"Left out of training and selection: {', '.join(map(to_markdown, excluded))}.")
        return "\n".join(lines)

    def _material(self) -> str:
        """How much of what could be known of the prompts was known, where the run recorded it."""
        n_pairs = self.training.get("n_train", 0) * len(self.pool)
        counts = [(self.training.get(f"n_{name}"), words) for name, words in _MATERIAL.items()]
        if not n_pairs or any(n is None for n, _ in counts):
            return ""
        return ", with " + " and ".join(f"{_share(n / n_pairs)} of {words}" for n, words in counts)

    def _results(self) -> str:
        parts = []
        for name, result in self.evaluated.items():
            average = result["average"]
            parts.append(
                f"{_code(name)}, {average['n_prompts']:,} prompts: average normalised score "
                f"**{_interval(average['normalized'])}**, where 0 is a random candidate and 100 the best one of every "
                f"prompt. {_references(result)}\n\n"
                "| benchmark | prompts | normalised score [95 %] |\n|---|--:|--:|\n"
                + "\n".join(
                    f"| {to_markdown(row['source']) or '–'} | {row['n_prompts']:,} | {_interval(row['normalized'])} |"
                    for row in result["sources"]
                )
            )
        if parity := self.results.get(PARITY):
            bits = parity.get("weight_bits", 8)
            plain = (
                f" and on {parity['same_plain_decisions']:.2%} of {parity['n_plain_prompts']} plain ones"
                if "same_plain_decisions" in parity
                else ""
            )
            left_out = "" if parity.get("is_int8_kept", True) else ", too few, and was left out"
            parts.append(
                f"The fp32 graph gives the scores of the torch weights within {parity['max_score_difference']:.1e}; "
                f"the int8 graph ({bits}-bit weights) decides as it does on {parity['same_decisions']:.2%} of "
                f"{parity['n_prompts']:,} prompts{plain}{left_out}."
            )
        return "\n\n".join([*parts, *map(to_markdown_prose, self.settings.notes)])

    def _calibration(self) -> str:
        if self.calibration is None:
            return ""
        return (
            "`predict` gives the probability that a candidate's answer is good. On held-out folds of "
            f"{self.calibration['n_prompts']:,} validation prompts its expected calibration error is "
            f"{self.calibration['expected_calibration_error']:.3f} (mean over candidates)."
        )


def _references(result: Mapping[str, Any]) -> str:
    average = result["average"]
    sentences = []
    if average.get("best_single_normalized") is not None:
        single = f"{average['best_single_normalized']:.1f}"
        sentences.append(
            f"The best single candidate of the training data, {to_markdown(result['best_single'])}, has {single}."
        )
    if average.get("hindsight_normalized") is not None:
        hindsight = f"{average['hindsight_normalized']:.1f}"
        sentences.append(f"The best candidate of each benchmark, chosen in hindsight, has {hindsight}.")
    return " ".join(sentences)


def _interval(record: Mapping[str, float | None]) -> str:
    value, low, high = (record[key] for key in ("value", "low", "high"))
    return "–" if value is None else f"{value:.1f} [{low:.1f}, {high:.1f}]"


def _items(texts: Iterable[str]) -> str:
    return "\n".join(f"- {text}" for text in texts)


def _code(text: Any) -> str:
    """A name as code; as plain text where it would not stay within."""
    return f"`{text}`" if re.fullmatch(r"[\w./:@+ -]+", str(text)) else to_markdown(str(text))


def _share(share: float) -> str:
    return "all" if share == 1 else "none" if share == 0 else f"{100 * share:.1f} %"


def _hub_results(results: dict[str, Any], settings: CardSettings) -> str:
    """What the Hub's benchmark pages read, in YAML; empty where there is nothing to say."""
    known = [b for b in settings.benchmarks if b.result in results]
    if not known:
        return ""
    import yaml
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    entries = [
        EvalResultEntry(
            dataset_id=benchmark.dataset_id,
            task_id=benchmark.task_id,
            value=round(results[benchmark.result]["average"]["normalized"]["value"], 1),
        )
        for benchmark in known
    ]
    return yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False)


_NEAR_THE_BEST = "A score is the predicted chance that the candidate is near the best *of these* on the prompt."
_RELATIVE = "A score is 0.5 plus what the candidate's answer is expected to score above the mean *of these*."

_CHANCES = "A score is the chance that the candidate's answer is good, averaged over what is not known of it."

_MATERIAL = {"scores": "the candidates' scores", "answers": "their answers"}
"""What `training.json` counts."""
