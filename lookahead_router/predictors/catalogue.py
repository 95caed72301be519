"""The catalogue: candidates that the public has measured, found by the names that people use for them."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np

from lookahead_router.predictors.profiles import Population, Profile
from lookahead_router.types import Candidate

FACTS = (
    "one", "size", "size is known", "release", "release is known", "price", "price is known", "reasoning", "open",
    "coder",
)  # fmt: skip
"""What is known of a candidate before it answered, in the order of `facts_of`; new ones come last."""


@dataclass(frozen=True)
class CatalogueEntry:
    """A candidate that the public has measured: who it is, and on what its profile rests."""

    name: str
    family: str = ""
    release: str = ""
    """`2025-03-01`, or a part of it from the left; empty where it is not known."""
    parameters_billion: float | None = None
    is_open: bool | None = None
    setting: str | None = None
    """Reasoning effort or the like, where one name has several: `thinking`, `high`, ..."""
    input_usd_per_million_tokens: float | None = None
    output_usd_per_million_tokens: float | None = None
    sources: tuple[tuple[str, int], ...] = ()
    """Scored public answers by source."""
    context_window_tokens: int | None = None
    """The maker's, or the largest that a host offers; `None` where it is not known."""

    @property
    def n_answers(self) -> int:
        """Scored public answers."""
        return sum(count for _, count in self.sources)


@dataclass(frozen=True)
class Match:
    """What a name was taken for."""

    name: str
    """The name as the user wrote it."""
    entry: CatalogueEntry | None
    """`None` where nothing is known of the name."""
    how: str
    """`exact`, `same` (written otherwise), `newest` of several dates, `family` (a relative stands in), `given` by the
    user, or `unknown`."""

    def __str__(self) -> str:
        return f"{self.name}: {self.words}"

    @property
    def words(self) -> str:
        """What the name was taken for."""
        if self.entry is None:
            return "not known; starts from the population"
        says = {
            "exact": "known",
            "same": f"known as {self.entry.name}",
            "newest": f"taken for {self.entry.name}, the newest of its versions here",
            "given": f"starts from the profile of {self.entry.name}",
            "family": f"not known; starts from its relative {self.entry.name}, with more doubt",
        }
        return f"{says[self.how]} ({self.entry.n_answers:,} public answers)"


PUBLIC = ("exact", "same", "newest")
"""How a name matches an entry that is itself, with the entry's own profile."""


class Catalogue:
    """Entries with their profiles, in the same order."""

    def __init__(
        self, entries: Sequence[CatalogueEntry], profiles: Sequence[Profile], *, prices_as_of: str = ""
    ) -> None:
        self.entries: tuple[CatalogueEntry, ...] = tuple(entries)
        self.profiles: tuple[Profile, ...] = tuple(profiles)
        self.prices_as_of = prices_as_of
        """Date or origin of the list prices; empty where it is not known."""
        self._by_name = {entry.name: entry for entry in self.entries}
        self._places = {entry.name: place for place, entry in enumerate(self.entries)}
        self._spellings: dict[str, Spelling] = {}

    def __len__(self) -> int:
        return len(self.entries)

    def profile(self, entry: CatalogueEntry) -> Profile:
        """The profile of an entry."""
        return self.profiles[self._places[entry.name]]

    def search(self, text: str = "") -> list[CatalogueEntry]:
        """The entries whose name or family holds every word of the text, most answers first."""
        words = text.lower().split()
        found = [entry for entry in self.entries if all(w in f"{entry.name} {entry.family}".lower() for w in words)]
        return sorted(found, key=lambda entry: -entry.n_answers)

    def match(self, name: str) -> Match:
        """What a name stands for, leniently: see `Spelling` for what does not count.

        An undated name is the newest dated one; one of several reasoning settings, the plainest. A name that is not
        known and whose relatives are (`gpt-5.5` beside `gpt-5`) is taken for the newest of these.
        """
        if name in self._by_name:
            return Match(name, self._by_name[name], "exact")
        if (tuned := _FINE_TUNE.match(name.strip())) is not None:  # OpenAI's ft:BASE:organisation::id
            base = self.match(tuned[1])
            return Match(name, base.entry, "unknown" if base.entry is None else "family")
        product = name.strip().lower().rsplit("/", 1)[-1].removesuffix(":latest")
        wanted = Spelling.of(PRODUCTS.get(product, name))
        if not wanted.words:
            return Match(name, None, "unknown")
        spelt = self._alike(wanted)
        same = [pair for pair in spelt if pair[1].words == wanted.words] if wanted.words != wanted.bare else []
        same = same or _largest([pair for pair in spelt if pair[1].bare == wanted.bare])
        same = same or [pair for pair in spelt if pair[1].is_version_of(wanted)]
        # A date that is not given is any; one that is given may not be written in the catalogue.
        dated = [pair for pair in same if pair[1].date == wanted.date] or [
            pair for pair in same if not (wanted.date and pair[1].date)
        ]
        dated = [pair for pair in dated if not wanted.setting or pair[1].setting == wanted.setting]
        if dated:
            entry, spelling = min(dated, key=lambda pair: (_SETTINGS.get(pair[1].setting, 9), _age(*pair)))
            is_any_date = bool(spelling.date) and not wanted.date
            return Match(name, entry, "newest" if is_any_date else "same")
        relatives = [(entry, s) for entry, s in spelt if s.is_relative(wanted) and _is_near(entry, s, wanted)]
        if not relatives:
            return Match(name, None, "unknown")
        nearest = min(
            relatives,
            key=lambda pair: (
                pair[1].setting != wanted.setting,
                _SETTINGS.get(pair[1].setting, 9),
                _distance(pair[1].version, wanted.version),
                _age(*pair),
            ),
        )
        return Match(name, nearest[0], "family")

    def _alike(self, wanted: "Spelling") -> "list[tuple[CatalogueEntry, Spelling]]":
        """The entries whose name holds the first word of a wanted one, and their spellings: no other can be meant."""
        word = next((word for word in wanted.bare if not word.isdigit()), "")
        found = [entry for entry in self.entries if word in entry.name.lower()]
        for entry in found:
            if entry.name not in self._spellings:
                self._spellings[entry.name] = Spelling.of(entry.name)
        return [(entry, self._spellings[entry.name]) for entry in found]


_PROVIDERS = re.compile(
    r"^(?:(?:us|eu|apac|global|us-gov)\.)?(?:anthropic|meta|amazon|mistral|cohere|ai21|deepseek|qwen|openai|google)\.(?=[a-z])"
)
_ROUTES = re.compile(r":(?:free|beta|nitro|floor|online|extended|exacto)$|^databricks-")
_SPEEDS = re.compile(r"(?<=-instruct)-(?:turbo|lite|reference|fast|maas)$|(?<=b)-(?:versatile|instant)$")
"""What hosts of open weights add: Together's, Cloudflare's, Vertex's, Groq's."""
_POINTS = re.compile(r"-v(\d)p(\d)(?=-)")
"""Fireworks' `v3p1`."""
_REVISION = re.compile(r"-v\d+:\d+$")
_QUANTISED = re.compile(
    r"[-_.:](?:i?q\d(?:_[0-9a-z]+)*|awq|gptq|gguf|ggml|exl2|mlx|bnb|fp8|fp16|bf16|int4|int8|w\da\d+|[48][-_]?bit|nvfp4|mxfp4|dynamic|marlin)(?=$|[-_.:])"
)
_DATE = re.compile(r"[-@](20\d\d)-?(\d\d)-?(\d\d)(?=$|[-:])|[-@](\d\d)-?(\d\d)(?=$|:)|-(\d{4})(?=$|:)")
_MONTH_YEAR = re.compile(r"-(\d\d)-(20\d\d)(?=$|:)")
_SERIAL = re.compile(r"-(00\d)(?=$|:)")
_FINE_TUNE = re.compile(r"ft:([^:]+)(:|$)", re.IGNORECASE)
_SETTING = re.compile(r":([a-z0-9-]+)$")
_SIZE = re.compile(r"(?<![a-z0-9.])(?:(\d{1,2})x)?(\d{1,4}(?:\.\d{1,3})?)b(?![a-z0-9])")
_CODER = re.compile(
    r"(?<![a-z])(?:code|coder|codex|codestral|devstral|codellama|codegemma|codeqwen|codechat)(?![a-z])|starcoder|wizardcoder"
)
_ROLES = frozenset({"instruct", "chat", "it", "latest", "hf", "preview"})
PRODUCTS = {
    "deepseek-chat": "deepseek-v3",
    "deepseek-reasoner": "deepseek-r1",
    "llama3": "llama-3-8b-instruct",
    "llama3.1": "llama-3.1-8b-instruct",
    "llama3.2": "llama-3.2-3b-instruct",
    "llama3.3": "llama-3.3-70b-instruct",
    "llama4": "llama-4-scout",
    "gemma2": "gemma-2-9b-it",
    "gpt-oss": "gpt-oss-20b",
    "mistral": "mistral-7b-instruct-v0.3",
    "mixtral": "mixtral-8x7b-instruct-v0.1",
    "phi3": "phi-3-mini-4k-instruct",
    "phi3.5": "phi-3.5-mini-instruct",
    "qwen2.5": "qwen2.5-7b-instruct",
    "qwen2.5-coder": "qwen2.5-coder-7b-instruct",
    "qwen3": "qwen3-8b",
    "qwq": "qwq-32b",
}
"""What vendors call whatever is newest, and the size that Ollama serves where the name says none."""
_SETTINGS = {"": 0, "none": 1, "medium": 2, "thinking": 3, "high": 4, "low": 5}


@dataclass(frozen=True)
class Spelling:
    """A name taken apart, so that spellings of one model agree.

    Providers and paths (`openai/`, `bedrock/us.anthropic.`), case, punctuation, quantisation, and routes of gateways
    do not count. Dates and reasoning settings stand by themselves.
    """

    words: tuple[str, ...]
    """Runs of letters and of digits."""
    bare: tuple[str, ...]
    """The parts without `instruct`, `chat` and the like."""
    date: str
    """Digits; empty where the name has none."""
    setting: str

    @classmethod
    def of(cls, name: str) -> "Spelling":
        """The parts of a name."""
        text = name.strip().lower().replace("models/", "").rsplit("/", 1)[-1]
        text = _SPEEDS.sub("", _REVISION.sub("", _ROUTES.sub("", _PROVIDERS.sub("", text))))
        text = _POINTS.sub(r"-\1.\2", text)
        for _ in range(3):
            text = _QUANTISED.sub("", text)
        setting = ""
        if (found := _SETTING.search(text)) is not None:
            is_size = re.match(r"^[a-z]?\d+(\.\d+)?[bm](-|$)|^\d|^latest$|^instruct|^chat", found[1])
            if is_size:  # Ollama's tags: llama3.1:8b
                text = text.replace(":", "-")
            else:
                setting, text = found[1], text[: found.start()]
        date = ""
        if (found := _MONTH_YEAR.search(text)) is not None:
            date, text = found[2] + found[1], text[: found.start()] + text[found.end() :]
        elif (found := _SERIAL.search(text)) is not None:
            date, text = f"9{found[1]}", text[: found.start()] + text[found.end() :]
        elif (found := _DATE.search(text)) is not None:
            digits = [part for part in found.groups() if part]
            date = "".join(digits)
            if found[5] is not None or len(digits) == 1 or _is_month_day(digits):
                text = text[: found.start()] + text[found.end() :]
            else:
                date = ""
        words = tuple(word for word in re.findall(r"[a-z]+|\d+", text) if word != "meta")
        return cls(words, tuple(word for word in words if word not in _ROLES), date, setting)

    @property
    def version(self) -> tuple[int, ...]:
        """The digits of the name, in order."""
        return tuple(int(word) for word in self.bare if word.isdigit())

    def is_relative(self, other: "Spelling") -> bool:
        """Whether the letters agree and only numbers differ, of models whose size is not in the name."""
        letters = [word for word in self.bare if not word.isdigit()]
        return (
            bool(letters)
            and letters == [word for word in other.bare if not word.isdigit()]
            and (self._size == other._size)
        )

    def is_version_of(self, other: "Spelling") -> bool:
        """Whether only a version such as `v0.1` follows the other's words."""
        rest = self.bare[len(other.bare) :]
        return self.bare[: len(other.bare)] == other.bare and rest[:1] == ("v",) and all(w.isdigit() for w in rest[1:])

    @property
    def _size(self) -> tuple[str, ...]:
        """Numbers that a `b` follows: parameters in billions."""
        return tuple(a for a, b in zip(self.bare, self.bare[1:], strict=False) if b == "b" and a.isdigit())


def _largest(pairs: list[tuple[CatalogueEntry, Spelling]]) -> list[tuple[CatalogueEntry, Spelling]]:
    """The entry with most answers of those that differ by `instruct` or the like: what people mean who leave it out."""
    counts: dict[tuple[str, ...], int] = {}
    for entry, spelling in pairs:
        counts[spelling.words] = counts.get(spelling.words, 0) + entry.n_answers
    return [pair for pair in pairs if pair[1].words == max(counts, key=counts.__getitem__)]


def _is_month_day(digits: Sequence[str]) -> bool:
    return len(digits) == 3 or (len(digits) == 2 and 1 <= int(digits[0]) <= 12 and 1 <= int(digits[1]) <= 31)


def _age(entry: CatalogueEntry, spelling: Spelling) -> tuple:
    """Sorts the newest first."""
    when = entry.release or spelling.date
    return tuple(-ord(letter) for letter in when.ljust(10, " ")), -entry.n_answers


def _is_near(entry: CatalogueEntry, found: Spelling, wanted: Spelling) -> bool:
    """Whether a relative says something: open models two versions apart differ in size too."""
    first = next(iter(_distance(found.version, wanted.version)), 0)
    return first < 2 or not (entry.is_open and entry.parameters_billion)


def _distance(found: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[int, ...]:
    """How far a version is from the wanted one, first by its first number."""
    return tuple(abs(a - b) for a, b in zip_longest(found, wanted, fillvalue=0))


def facts_of(
    *,
    parameters_billion: float | None = None,
    release: str = "",
    output_usd_per_million_tokens: float | None = None,
    is_reasoning: bool = False,
    is_open: bool | None = None,
    is_coder: bool = False,
) -> np.ndarray:
    """`(n_facts,)` numbers of what is known of a candidate; see `FACTS`.

    Args:
        parameters_billion: size, > 0.
        release: `2025-03-01` or a part of it from the left.
        output_usd_per_million_tokens: list price, >= 0.
        is_reasoning: whether it thinks before it answers.
        is_open: whether its weights are public; `None` where that is not known.
        is_coder: whether it was made for code.
    """
    when = _years(release)
    price = output_usd_per_million_tokens
    return np.array(
        [
            1.0,
            0.0 if parameters_billion is None else np.log10(max(parameters_billion, 0.1)) - 1.5,
            float(parameters_billion is not None),
            0.0 if when is None else when - 2024.5,
            float(when is not None),
            0.0 if price is None else np.log10(max(price, 0.01)),
            float(price is not None),
            float(is_reasoning),
            0.0 if is_open is None else 2.0 * is_open - 1.0,
            float(is_coder),
        ]
    )


def facts_of_entry(entry: CatalogueEntry) -> np.ndarray:
    """`(n_facts,)` of a catalogue's entry."""
    return facts_of(
        parameters_billion=entry.parameters_billion,
        release=entry.release,
        output_usd_per_million_tokens=entry.output_usd_per_million_tokens,
        is_reasoning=(entry.setting or "none") != "none",
        is_open=entry.is_open,
        is_coder=is_coder(entry.name),
    )


def facts_of_candidate(candidate: Candidate) -> np.ndarray:
    """`(n_facts,)` of a user's candidate: its price, and `parameters_billion`, `release`, `reasoning`, `open` and
    `coder` of its metadata. Where these hold none, the name tells the size (`gemma3:4b`, `my-8x7b`), as those of open
    weights are written, and whether it was made for code (`my-coder`)."""
    about, told = candidate.metadata, size_in(candidate.name)
    size, release = about.get("parameters_billion", told), about.get("release", "")
    return facts_of(
        parameters_billion=size if isinstance(size, int | float) and size > 0 else None,
        release=release if isinstance(release, str) else "",
        output_usd_per_million_tokens=candidate.output_usd_per_million_tokens,
        is_reasoning=about.get("reasoning") is True,
        is_open=about.get("open") if isinstance(about.get("open"), bool) else True if told else None,
        is_coder=about["coder"] if isinstance(about.get("coder"), bool) else is_coder(candidate.name),
    )


def size_in(name: str) -> float | None:
    """Parameters in billions that a name tells, of all experts together; `None` where it tells none."""
    found = _SIZE.search(name.lower())
    return None if found is None else float(found[1] or 1) * float(found[2]) or None


def is_coder(name: str) -> bool:
    """Whether a name says that the candidate was made for code: `qwen2.5-coder`, `codestral`, `grok-code-fast`."""
    return _CODER.search(name.lower()) is not None


def _years(release: str) -> float | None:
    found = re.match(r"(20\d\d)(?:-(\d\d))?", release)
    return None if found is None else int(found[1]) + (int(found[2]) - 0.5 if found[2] else 6) / 12


def entries_to_json(entries: Iterable[CatalogueEntry]) -> list[dict[str, Any]]:
    """Plain JSON types, without what is not known."""
    return [
        {key: value for key, value in vars(entry).items() if value not in (None, "", ())}
        | {"sources": dict(entry.sources)}
        for entry in entries
    ]


def entries_from_json(records: Iterable[dict[str, Any]]) -> list[CatalogueEntry]:
    """The inverse of `entries_to_json`."""
    return [CatalogueEntry(**{**record, "sources": tuple(record.get("sources", {}).items())}) for record in records]


def widened(profile: Profile, population: Population, share: float, origin: str) -> Profile:
    """A relative's profile with more doubt: its covariance plus a share of the population's."""
    covariance = profile.covariance + share * population.covariance
    return Profile(profile.mean, covariance, profile.lengths, 0, is_known=True, origin=origin)
