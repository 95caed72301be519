"""What a cascade looks at in an answer: checks that pass or fail it, and how reliable they are."""

import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Protocol, runtime_checkable

from lookahead_router.errors import ConfigurationError

logger = logging.getLogger(__name__)


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


@dataclass(frozen=True)
class Reply:
    """One candidate's answer, as a check sees it."""

    text: str
    is_cut: bool | None = None
    """Whether it ended for want of tokens; `None` where the API does not say."""
    mean_logprob: float | None = None
    """Mean natural log-probability of its tokens, <= 0; `None` where the API gives none."""
    input_tokens: int | None = None
    output_tokens: int | None = None


_CUT = frozenset({"length", "max_tokens", "max_output_tokens", "model_length"})
_REASONS = ("finish_reason", "stop_reason", "done_reason", "finishReason", "stopReason")


def read_reply(text: str, told: Any, *, input_tokens: int | None = None, output_tokens: int | None = None) -> Reply:
    """An answer, with what its API tells of it.

    Args:
        text: what was said.
        told: the API's own fields, a mapping: why it ended, and log-probabilities as OpenAI gives them, where there.
        input_tokens: of the call, as its provider counted them.
        output_tokens: of the answer, likewise.
    """
    told = told if isinstance(told, Mapping) else {}
    reason = next((told[name] for name in _REASONS if isinstance(told.get(name), str)), None)
    content = told["logprobs"].get("content") if isinstance(told.get("logprobs"), Mapping) else None
    each = [token.get("logprob") for token in content or () if isinstance(token, Mapping)]
    mean = sum(each) / len(each) if each and all(_is_number(value) for value in each) else None
    return Reply(text, None if reason is None else reason.casefold() in _CUT, mean, input_tokens, output_tokens)


@dataclass(frozen=True)
class Reliability:
    """How often a check passes right answers and wrong ones, and what it says of the other candidates' chances."""

    passes_right: float
    """Share of right answers that pass, in (0, 1); of pairs that are both right, where the check compares."""
    passes_wrong: float
    """Share of wrong answers that pass, in (0, 1); of pairs that are both wrong, where the check compares."""
    passes_mixed: float | None = None
    """Share of pairs with one right answer that pass, in (0, 1); `None` of a check that does not compare."""
    correlation: float = 0.0
    """How far two candidates are right and wrong together, beyond what was foreseen of each, in [0, 1); of a check that
    compares."""
    others_passed: float = 0.0
    """Added to the log-odds of whoever was not asked yet, where an answer passes."""
    others_failed: float = 0.0
    """Added to them where it fails: a prompt that somebody stumbled over is harder than it looked."""

    def __post_init__(self) -> None:
        shares = ("passes_right", "passes_wrong", *(("passes_mixed",) if self.passes_mixed is not None else ()))
        for name in shares:
            value = getattr(self, name)
            if not _is_number(value) or not 0 < value < 1:
                raise ConfigurationError(f"Reliability: {name} must be a share between 0 and 1, got {value!r}")
        least = shares[-1]
        if getattr(self, least) > self.passes_right:
            raise ConfigurationError(
                "Reliability: a check passes right answers at least as often as others; got passes_right="
                f"{self.passes_right:g} and {least}={getattr(self, least):g}"
            )
        if not _is_number(self.correlation) or not 0 <= self.correlation < 1:
            raise ConfigurationError(f"Reliability: correlation must lie in [0, 1), got {self.correlation!r}")
        for name in ("others_passed", "others_failed"):
            value = getattr(self, name)
            if not _is_number(value) or not math.isfinite(value):
                raise ConfigurationError(f"Reliability: {name} must be a finite number, got {value!r}")

    def shares(self, passes: bool) -> tuple[float, float, float | None]:
        """How often the check says this of right answers, of wrong ones, and of mixed pairs."""
        shares = (self.passes_right, self.passes_wrong, self.passes_mixed)
        return shares if passes else tuple(None if share is None else 1 - share for share in shares)


@runtime_checkable
class Check(Protocol):
    """Looks at an answer. One that compares says so in `compares`, and is asked once there is another answer."""

    name: str
    compares: bool
    reliability: Reliability

    def look(self, question: str, reply: Reply, other: Reply | None) -> bool | None:
        """Whether the answer passes; `None` where nothing can be said.

        Args:
            question: the text that was routed.
            reply: the answer.
            other: an earlier answer, for a check that compares.
        """
        ...


@dataclass(frozen=True)
class Refusal:
    """Passes what is no refusal: an apology, "as an AI", "I cannot", in eight languages, or an empty answer."""

    reliability: Reliability = Reliability(0.997, 0.989, others_failed=-1.0)
    """Reliability as measured on MMLU-Pro (docs/results/cascades.md)."""
    name = "refusal"
    compares = False

    def look(self, question: str, reply: Reply, other: Reply | None) -> bool | None:
        """Whether the beginning of the answer refuses nothing."""
        return bool(reply.text.strip()) and _REFUSES.search(reply.text[:300]) is None


@dataclass(frozen=True)
class CutOff:
    """Passes an answer that came to its end; says nothing where the API gives no reason for the end."""

    reliability: Reliability
    """Yours: it depends on your limits."""
    name = "cut-off"
    compares = False

    def look(self, question: str, reply: Reply, other: Reply | None) -> bool | None:
        """Whether the answer is whole."""
        return None if reply.is_cut is None else not reply.is_cut


@dataclass(frozen=True)
class Confidence:
    """Passes an answer whose tokens its candidate found probable; says nothing without log-probabilities."""

    minimum: float
    """Geometric mean of the tokens' probabilities that passes, in (0, 1)."""
    reliability: Reliability
    """Yours: it depends on your candidates."""
    name = "confidence"
    compares = False

    def __post_init__(self) -> None:
        if not _is_number(self.minimum) or not 0 < self.minimum < 1:
            raise ConfigurationError(f"Confidence: minimum must lie between 0 and 1, got {self.minimum!r}")

    def look(self, question: str, reply: Reply, other: Reply | None) -> bool | None:
        """Whether the tokens are probable enough."""
        return None if reply.mean_logprob is None else reply.mean_logprob >= math.log(self.minimum)


@dataclass(frozen=True)
class Agreement:
    """Passes an answer with the same outcome as another candidate's: the letter of a choice, a boxed or last number,
    a few words. Says nothing of programs and of free text, where agreement told nothing when it was measured."""

    reliability: Reliability = Reliability(0.974, 0.332, 0.012, 0.35, others_passed=0.41, others_failed=-0.44)
    """Reliability as measured on MMLU-Pro (docs/results/cascades.md)."""
    name = "agreement"
    compares = True

    def look(self, question: str, reply: Reply, other: Reply | None) -> bool | None:
        """Whether both come to the same; `None` where one of them comes to nothing that could be compared."""
        if other is None:
            return None
        outcomes = outcome_of(reply.text), outcome_of(other.text)
        return None if None in outcomes else outcomes[0] == outcomes[1]


@dataclass(frozen=True)
class OwnCheck:
    """A function of question and answer that says whether the answer passes, or `None` where it cannot tell.

    One that raises or says anything else is taken to have said nothing, with a line in the log: the answers are paid
    for by then.
    """

    function: Callable[[str, str], bool | None]
    reliability: Reliability
    """Measure it: nobody else can know."""
    name: str = "own"
    compares = False

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise ConfigurationError(f"OwnCheck: expected a function, got {type(self.function).__name__}")
        if not isinstance(self.reliability, Reliability):
            raise ConfigurationError("OwnCheck: reliability must be Reliability(passes_right, passes_wrong)")
        if not isinstance(self.name, str) or not self.name.strip():
            raise ConfigurationError(f"OwnCheck: expected a name, got {self.name!r}")

    def look(self, question: str, reply: Reply, other: Reply | None) -> bool | None:
        """What the function says."""
        return self.function(question, reply.text)


def look(check: Check, question: str, reply: Reply, other: Reply | None) -> bool | None:
    """What a check says; nothing where it fails or says anything else than `True`, `False` or `None`."""
    try:
        found = check.look(question, reply, other)
    except Exception as error:
        logger.warning("the check %s failed with %s and says nothing", check.name, type(error).__name__)
        return None
    if found is None or isinstance(found, bool):
        return found
    logger.warning("the check %s gave %s in place of True, False or None", check.name, type(found).__name__)
    return None


CHECKS: dict[str, Callable[[], Check]] = {
    "agreement": Agreement,
    "refusal": Refusal,
}
"""The checks whose reliability was measured, as options and the command line call them."""


def read_checks(checks: Sequence[Any]) -> tuple[Check, ...]:
    """The checks, those that are named with the reliability that they have by default.

    Raises:
        ConfigurationError: no list, none at all, an unknown name, one twice, or something that is no check.
    """
    if isinstance(checks, str) or not isinstance(checks, Sequence):
        raise ConfigurationError(f"checks must be a list of names and checks, got {checks!r}")
    found: list[Check] = []
    for check in checks:
        if isinstance(check, str):
            if check not in CHECKS:
                raise ConfigurationError(
                    f"unknown check {check!r}; choose among {', '.join(CHECKS)}, or pass an object"
                )
            check = CHECKS[check]()
        if isinstance(check, type) or not isinstance(check, Check):
            raise ConfigurationError(f"a check is a name or an object such as Agreement(), got {check!r}")
        if not isinstance(check.reliability, Reliability):
            raise ConfigurationError(f"the check {check.name!r} needs a Reliability, got {check.reliability!r}")
        if check.compares != (check.reliability.passes_mixed is not None):
            needs = (
                "compares answers, and needs passes_mixed" if check.compares else "compares nothing, so no passes_mixed"
            )
            raise ConfigurationError(f"the check {check.name!r} {needs} in its reliability")
        if check.name in (each.name for each in found):
            raise ConfigurationError(f"the check {check.name!r} stands there twice")
        found.append(check)
    if not found:
        raise ConfigurationError("a cascade needs at least one check; without any, nothing speaks for a second call")
    return tuple(found)


def outcome_of(text: str) -> str | None:
    """What an answer comes to, in a form that can be compared; `None` of programs and of free text."""
    text = text.strip()
    if not text or "```" in text:
        return None
    for pattern in (_BOXED, _ANSWER_IS, _CHOICE):
        found = pattern.findall(text)
        if found:
            return _plain(found[-1])
    if len(text) <= _SHORT:
        return _plain(text)
    numbers = _NUMBER.findall(text)
    return _plain(numbers[-1]) if numbers else None


def _plain(text: str) -> str:
    text = re.sub(r"(?<=\d),(?=\d{3})", "", text.casefold())
    return re.sub(r"[\s$%*\\(){}\"']+|[.,:](?!\d)", " ", text).strip()


_SHORT = 60
"""Characters up to which an answer as a whole is its outcome."""
_BOXED = re.compile(r"\\boxed\{([^{}]{1,80})\}")
_ANSWER_IS = re.compile(r"(?i)\banswer(?: is|:)\**:?\s*\**\(?([A-J]|-?\$?\d[\d,]*(?:\.\d+)?)\b")
_CHOICE = re.compile(r"^\W{0,3}([A-J])(?:[).:\s]|$)(?![a-z])")
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_REFUSES = re.compile(
    r"(?i)\b(i['’]?m sorry|i am sorry|i apologi[sz]e|"
    r"(?:i|we) (?:can ?not|can['’]t|am unable to|am not able to|won['’]t)|"
    r"as an ai\b|as a language model|"
    r"es tut mir leid|ich kann (?:dir|ihnen)? ?(?:dabei )?nicht|als ki\b|"
    r"je suis désolée?|je ne peux pas|en tant qu['’]ia\b|"
    r"lo siento|no puedo (?:ayudar|responder|proporcionar)|como (?:una )?ia\b|"
    r"mi dispiace|non posso (?:aiutar|risponder|fornir)|"
    r"desculpe|não posso (?:ajudar|responder|fornecer))|申し訳|お答えできません|抱歉|对不起|我无法"
)
