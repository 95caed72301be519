"""`Privacy`: which requests only local candidates may see."""

import logging
from collections.abc import Callable, Iterable
from typing import Any

from pydantic import field_validator

from lookahead_router.errors import ConfigurationError
from lookahead_router.privacy.kinds import ALL_KINDS, KINDS
from lookahead_router.prompts import Request
from lookahead_router.types import CandidatePool
from lookahead_router.values import Value

ATTACHMENT = "attachment"
"""What nobody has read."""
_ATTACHMENTS = frozenset({"images", "audio", "video", "files"})

logger = logging.getLogger(__name__)
Detector = Callable[[str], Iterable[Any]]
"""From a text to what is private in it: kinds as text, or objects with `kind` or, as Presidio's, `entity_type`."""


class Privacy(Value):
    """Requests with personal data or secrets go to local candidates alone, or are refused where there is none.

    All that is sent counts: earlier turns, system messages, what tools gave, passages. A detector that fails counts as
    a finding.
    """

    local: tuple[str, ...] = ()
    """Names of local candidates, besides those that say so of themselves."""
    kinds: tuple[str, ...] = KINDS
    """What the rules look for, out of `ALL_KINDS`; none for detectors alone."""
    detectors: tuple[Callable[..., Any], ...] = ()
    """Functions from a text to findings, besides the rules; safe under threads."""
    refuse: bool = False
    """Whether such requests are refused even where a local candidate could answer."""
    attachments: bool = False
    """Whether images, audio, video and files count as private: no rule reads them."""

    @field_validator("local", "kinds", mode="before")
    @classmethod
    def _check_list(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise ValueError("is a list; wrap the single name in one")
        return value

    @field_validator("kinds")
    @classmethod
    def _check_kinds(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [kind for kind in kinds if kind not in ALL_KINDS]:
            raise ValueError(f"unknown kinds {', '.join(unknown)}; choose of {', '.join(ALL_KINDS)}")
        return kinds

    def found_in(self, request: Request) -> tuple[str, ...]:
        """The kinds of what is private in all that a request sends, sorted; nothing of the text."""
        from lookahead_router.privacy.rules import has_private, plain

        found: set[str] = set()
        for text in dict.fromkeys(text for _, text in request.sent) or (request.text, *request.passages):
            ours = plain(text)
            found.update(kind for kind in self.kinds if kind not in found and has_private(ours, kind))
            for detector in self.detectors:
                found.update(_kinds_of(detector, text))
        if self.attachments and request.needs & _ATTACHMENTS:
            found.add(ATTACHMENT)
        return tuple(sorted(found))

    def check(self, pool: CandidatePool) -> None:
        """Nothing, if the pool holds every name in `local`.

        Raises:
            UnknownCandidateError: it does not.
        """
        for name in self.local:
            pool.index(name)


def presidio(
    analyzer: Any, *, language: str = "en", entities: Iterable[str] | None = None, minimum_score: float = 0.5
) -> Detector:
    """A detector by Presidio, which finds names and places as well.

    Args:
        analyzer: a `presidio_analyzer.AnalyzerEngine`, with the models that it takes.
        language: of the texts.
        entities: what it looks for, such as `PERSON`; all that it knows when absent, dates and addresses of sites
            among it.
        minimum_score: of a finding, in [0, 1].

    Raises:
        ConfigurationError: no analyzer; or one that finds nothing in this language, or does not know an entity; or a
            score out of its range.
    """
    if isinstance(analyzer, type) or not callable(getattr(analyzer, "analyze", None)):
        raise ConfigurationError(f"an analyzer has analyze(text, language), got {type(analyzer).__name__}")
    if isinstance(minimum_score, bool) or not isinstance(minimum_score, int | float) or not 0 <= minimum_score <= 1:
        raise ConfigurationError(f"minimum_score must be in [0, 1], got {minimum_score!r}")
    if isinstance(entities, str):
        raise ConfigurationError("entities is a list; wrap the single name in one")
    wanted = None if entities is None else list(entities)
    _check_entities(analyzer, language, wanted)

    def detect(text: str) -> list[str]:
        found = analyzer.analyze(text=text, language=language, entities=wanted, score_threshold=minimum_score)
        return [each.entity_type for each in found]

    detect.__name__ = "presidio"
    return detect


def _check_entities(analyzer: Any, language: str, wanted: list[str] | None) -> None:
    """Raises `ConfigurationError` for what an analyzer that tells what it knows would refuse with every text."""
    if not callable(getattr(analyzer, "get_supported_entities", None)):
        return
    try:
        known = set(analyzer.get_supported_entities(language=language))
    except ValueError:  # no recognizer at all
        known = set()
    if not known:
        raise ConfigurationError(f"the analyzer finds nothing in the language {language!r}; give it a model for that")
    if unknown := [name for name in wanted or () if name not in known]:
        raise ConfigurationError(
            f"the analyzer does not know {', '.join(unknown)}; choose of {', '.join(sorted(known))}"
        )


def _kinds_of(detector: Detector, text: str) -> set[str]:
    try:
        return {_kind(finding) for finding in detector(text)}
    except Exception as error:
        kind = type(error).__name__  # not its message, which may quote the text
        logger.warning("a detector failed with %s; what it was to read counts as private", kind)
        return {f"unknown, since a detector failed with {kind}"}


def _kind(finding: Any) -> str:
    for kind in (finding, getattr(finding, "kind", None), getattr(finding, "entity_type", None)):
        if isinstance(kind, str):
            return kind
    raise TypeError("a finding is a text, or has kind or entity_type")
