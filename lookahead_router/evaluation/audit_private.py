"""Personal data and secrets in an audit: how many prompts that hold some reach a candidate that is not local.

The prompts come with the package, in six languages, each with one thing in it that somebody made up. What has a check
digit is drawn until it is right, so that the file holds no number of anybody, and no key that a scanner would report.
"""

import random
import re
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lookahead_router import metrics
from lookahead_router.errors import PrivacyError
from lookahead_router.evaluation.audit_suite import read_suite
from lookahead_router.files import parse_json
from lookahead_router.metrics import Interval
from lookahead_router.privacy import checksums
from lookahead_router.privacy.guard import Privacy
from lookahead_router.prompts import read_request
from lookahead_router.router import Router

PROMPTS = Path(__file__).with_name("audit_private.jsonl")
RULES = "rules"
"""What stands for the rules among the detectors."""
SHAPELESS = ("name", "postal address")
"""Kinds that no rule can tell by their shape; it takes a detector with a model."""
_CHECKS: dict[str, Callable[[str], bool]] = {
    "card": checksums.is_card,
    "luhn": checksums.is_luhn,
    "iban": checksums.is_iban,
    "ssn": checksums.is_us_ssn,
    "steuer": checksums.is_german_tax_id,
    "nir": checksums.is_french_nir,
    "dni": checksums.is_spanish_dni,
    "cn": checksums.is_chinese_id,
    "my-number": checksums.is_japanese_my_number,
}
_DRAWN = {"#": string.digits, "%": "23456789", "^": string.ascii_uppercase, "~": string.ascii_letters + string.digits}
"""Characters of a value that stand for one of several."""


@dataclass(frozen=True)
class Planted:
    """A prompt with something private in it, or a clean one."""

    kind: str
    """Empty where nothing is."""
    language: str
    prompt: str


@dataclass(frozen=True)
class Leaks:
    """What becomes of prompts with one kind of personal data or secrets, or with all of them that have a shape."""

    kind: str
    """Empty for all but `SHAPELESS`."""
    n: int
    leaks: Interval
    """Share that goes to a candidate that is not local."""
    unguarded: Interval
    """Share that would go there without `privacy`."""
    refused: Interval
    """Share that goes nowhere."""
    found: dict[str, float]
    """Share in which each detector finds anything, by its name."""


@dataclass(frozen=True)
class PrivateData:
    """What an audit found of personal data and secrets."""

    local: tuple[str, ...]
    kinds: tuple[Leaks, ...]
    """All that have a shape first, then each."""
    n_clean: int
    alarms: dict[str, Interval]
    """Share of clean prompts in which each detector finds anything; empty for a router without `privacy`."""
    alarmed: Interval | None
    """The same, of all detectors together."""


def planted(path: Path = PROMPTS, seed: int = 0) -> list[Planted]:
    """The package's prompts with something private in them, and clean ones that look a little like it.

    Args:
        path: JSONL with `kind`, `language` and `prompt`, and perhaps `value` and the `check` that it passes.
        seed: of the values; the same seed, the same prompts.
    """
    draw, found = random.Random(seed), []
    for line in path.read_text(encoding="utf-8").splitlines():
        record = parse_json(line)
        prompt = record["prompt"]
        if "value" in record:
            prompt = prompt.replace("{}", _value(record["value"], record.get("check"), draw))
        found.append(Planted(record["kind"], record["language"], prompt))
    return found


def _value(pattern: str, check: str | None, draw: random.Random) -> str:
    while True:
        value = "".join(draw.choice(_DRAWN.get(character, character)) for character in pattern)
        if check is None or _CHECKS[check](re.sub(r"[ -]", "", value)):
            return value


def has_guard(router: Router) -> bool:
    """Whether there is anything to measure: `privacy`, or a candidate that says that it is local."""
    return router.privacy is not None or any(candidate.local for candidate in router.pool)


def find_leaks(router: Router, *, n_resamples: int = 1000, seed: int = 0) -> PrivateData:
    """How many prompts with personal data or secrets reach a candidate that is not local.

    Args:
        router: with `privacy`, or with candidates that say that they are local.
        n_resamples: bootstrap samples behind the 95 % intervals, which draw prompts.
        seed: of values and bootstrap.
    """
    everything = planted(seed=seed)
    private = [each for each in everything if each.kind]
    clean = [each.prompt for each in everything if not each.kind]
    clean += [text for question in read_suite() for text in question.prompts.values()]
    detectors = _detectors(router.privacy)
    open_router = router.with_privacy(None)
    went = [decision.name for decision in open_router.route_batch([each.prompt for each in private])]
    guarded = [
        _goes_to(router, each.prompt, name) if router.privacy is not None else name
        for each, name in zip(private, went, strict=True)
    ]
    columns = {name: np.array([finds(each.prompt) for each in private]) for name, finds in detectors.items()}
    leaks = np.array([name is not None and not router.pool[name].local for name in guarded])
    unguarded = np.array([not router.pool[name].local for name in went])
    refused = np.array([name is None for name in guarded])
    of_kind = np.array([each.kind for each in private])

    def share(values: np.ndarray) -> Interval:
        counts = metrics.resample_counts(np.zeros(len(values)), n_resamples=n_resamples, seed=seed)
        return metrics.sample_interval(counts @ values / len(values))

    def leaks_of(kind: str, rows: np.ndarray) -> Leaks:
        found = {name: float(column[rows].mean()) for name, column in columns.items()}
        return Leaks(kind, int(rows.sum()), share(leaks[rows]), share(unguarded[rows]), share(refused[rows]), found)

    flagged = {name: np.array([finds(text) for text in clean]) for name, finds in detectors.items()}
    return PrivateData(
        local=tuple(candidate.name for candidate in router.pool if candidate.local),
        kinds=(
            leaks_of("", ~np.isin(of_kind, SHAPELESS)),
            *(leaks_of(kind, of_kind == kind) for kind in dict.fromkeys(of_kind.tolist())),
        ),
        n_clean=len(clean),
        alarms={name: share(column) for name, column in flagged.items()},
        alarmed=share(np.any(list(flagged.values()), axis=0)) if flagged else None,
    )


def _goes_to(router: Router, prompt: str, unguarded: str) -> str | None:
    """Who gets the prompt; `None` where it is refused."""
    if not router.private_in(read_request(prompt)):
        return unguarded  # nothing is found, so nothing is decided otherwise
    try:
        return router.route(prompt).name
    except PrivacyError:
        return None


def _detectors(privacy: Privacy | None) -> dict[str, Callable[[str], bool]]:
    """What says of a text whether there is anything in it, by name: the rules, and each detector beside them."""
    if privacy is None:
        return {}
    alone = {RULES: Privacy(kinds=privacy.kinds)} if privacy.kinds else {}
    for place, detector in enumerate(privacy.detectors, 1):
        name = getattr(detector, "__name__", type(detector).__name__)
        alone[name if name not in alone else f"{name} {place}"] = Privacy(kinds=(), detectors=(detector,))
    return {name: _finder(each) for name, each in alone.items()}


def _finder(privacy: Privacy) -> Callable[[str], bool]:
    return lambda text: bool(privacy.found_in(read_request(text)))


def leaks_of(data: PrivateData | None, kinds: Sequence[str]) -> Interval | None:
    """Figure of a gate: the share that leaks of all that has a shape, or the mean of some kinds', with their range."""
    if data is None:
        return None
    chosen = [each for each in data.kinds if each.kind in kinds]
    if len(chosen) == 1:
        return chosen[0].leaks
    total = sum(each.n for each in chosen)
    return Interval(*(sum(each.n * getattr(each.leaks, part) for each in chosen) / total for part in Interval._fields))
