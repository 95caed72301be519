"""How well routes can be told apart: their overlaps, and what became of labelled requests."""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lookahead_router.errors import SchemaError
from lookahead_router.files import parse_json
from lookahead_router.predictors.base import read_requests
from lookahead_router.routes.matching import EmbeddedRoutes, Labelled, RouteMatcher

OVERLAP = 0.8
"""Cosine of the mean embeddings of two routes from which on they are said to overlap."""


@dataclass(frozen=True)
class RouteFacts:
    """What is known of one route."""

    name: str
    candidates: tuple[str, ...]
    n_examples: int
    hit_rate: float | None
    """Share of its examples that are most similar to it in a fit without them; `None` where no embedding tells."""
    below: float | None
    """Share of them that would belong to no route, for want of similarity."""
    nearest: str | None
    """The route most like it."""
    cosine: float | None
    """To that route."""


@dataclass(frozen=True)
class LabelledFacts:
    """What became of labelled requests."""

    n: int
    hit_rate: float
    """Share of the requests with the right route, none included."""
    span_hit_rate: float
    """Share of the spans, runs of requests of one route within a conversation, whose requests are all right."""
    conversation_hit_rate: float
    """Share of the conversations whose requests are all right; a request by itself is one."""
    unmatched: float
    """Share that was matched to no route."""
    confusion: dict[str, dict[str, int]]
    """`{labelled: {matched: requests}}`, none as the empty name."""


@dataclass(frozen=True)
class RoutesCheck:
    """What a look at routes found."""

    threshold: float | None
    is_fitted: bool
    """Whether the threshold is, or stands in the file."""
    routes: tuple[RouteFacts, ...]
    overlaps: tuple[tuple[str, str, float], ...]
    """Pairs of routes with the cosine of their mean embeddings, at least `OVERLAP`."""
    labelled: LabelledFacts | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


def check_matcher(matcher: RouteMatcher, conversations: Sequence[Sequence[Labelled]] = ()) -> RoutesCheck:
    """What can be said of routes without asking anybody, and how labelled requests fare.

    Args:
        matcher: what `Routes.fit` or `Routes.using` gave.
        conversations: of `read_labelled`.
    """
    routes, names = matcher.routes.routes, matcher.routes.names
    is_embedded = isinstance(matcher, EmbeddedRoutes)
    cosines = matcher.discriminant.cosines if is_embedded else None
    facts = []
    for row, route in enumerate(routes):
        hit_rate = below = nearest = cosine = None
        if is_embedded:
            held_out = matcher.held_out[matcher.owner == row]
            hit_rate = float((held_out.argmax(axis=1) == row).mean())
            below = float((held_out.max(axis=1) < matcher.threshold).mean())
            others = [other for other in range(len(routes)) if other != row]
            if others:
                other = max(others, key=cosines[row].__getitem__)
                nearest, cosine = names[other], float(cosines[row, other])
        facts.append(RouteFacts(route.name, route.candidates, len(route.examples), hit_rate, below, nearest, cosine))
    pairs = [(a, b) for a in range(len(routes)) for b in range(a)] if is_embedded else []
    overlaps = [(names[b], names[a], float(cosines[a, b])) for a, b in pairs if cosines[a, b] >= OVERLAP]
    return RoutesCheck(
        threshold=matcher.threshold if is_embedded else None,
        is_fitted=matcher.routes.threshold is None,
        routes=tuple(facts),
        overlaps=tuple(sorted(overlaps, key=lambda pair: -pair[2])),
        labelled=_labelled_facts(matcher, conversations) if conversations else None,
    )


def _labelled_facts(matcher: RouteMatcher, conversations: Sequence[Sequence[Labelled]]) -> LabelledFacts:
    lines = [line for lines in conversations for line in lines]
    matched = iter(matcher.match(read_requests([line.prompt for line in lines])))
    truth = [[line.route for line in lines] for lines in conversations]
    found = [[next(matched).route for _ in lines] for lines in conversations]
    counts = Counter((a or "", b or "") for each in zip(truth, found, strict=True) for a, b in zip(*each, strict=True))
    labels = [*matcher.routes.names, ""]
    turn, span, conversation = hit_rates(truth, found)
    return LabelledFacts(
        n=len(lines),
        hit_rate=turn,
        span_hit_rate=span,
        conversation_hit_rate=conversation,
        unmatched=sum(route is None for routes in found for route in routes) / len(lines),
        confusion={
            a: {b: counts[a, b] for b in labels if counts[a, b]}
            for a in labels
            if any((a, b) in counts for b in labels)
        },
    )


def hit_rates(truth: Sequence[Sequence[Hashable]], found: Sequence[Sequence[Hashable]]) -> tuple[float, float, float]:
    """Shares that are right: of the turns, of the spans, of the conversations (arXiv 2506.16655, section 5).

    A span is a longest run of turns of one conversation with the same label.

    Args:
        truth: labels of the turns of each conversation, of which there is one at least.
        found: the same of what was matched.
    """
    turns, spans, conversations = [], [], []
    for labels, matches in zip(truth, found, strict=True):
        rights = [a == b for a, b in zip(labels, matches, strict=True)]
        starts = [at for at in range(len(labels)) if not at or labels[at] != labels[at - 1]]
        spans += [all(rights[at:end]) for at, end in zip(starts, [*starts[1:], len(labels)], strict=True)]
        turns += rights
        conversations.append(all(rights))
    return tuple(sum(each) / len(each) for each in (turns, spans, conversations))


def read_labelled(path: Path, names: Sequence[str]) -> list[list[Labelled]]:
    """Labelled requests: JSONL with `text`, or `messages`, and `route`, which is null for none.

    Lines in a row with the same `conversation` are turns of the user in it, each routed with those before it.

    Args:
        path: the file.
        names: of the routes.

    Returns:
        The lines of each conversation; a line without one is a conversation by itself.

    Raises:
        SchemaError: no such file, a malformed line, or a route that there is not; says where, and nothing of the text.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, ValueError) as error:
        raise SchemaError("no such file, or no UTF-8 in it", path=str(path)) from error
    found: list[list[Labelled]] = []
    said: list[str] = []
    going: Any = None
    for row, line in enumerate(lines):
        if not line.strip():
            continue
        prompt, route, conversation = _line(line, str(path), row, names)
        if conversation is None or conversation != going:
            found.append([])
            said = []
        going = conversation
        if isinstance(prompt, str) and conversation is not None:
            said.append(prompt)
            prompt = [{"role": "user", "content": text} for text in said]
        found[-1].append(Labelled(prompt, route))
    if not found:
        raise SchemaError("there is no line in it", path=str(path))
    return found


def _line(line: str, path: str, row: int, names: Sequence[str]) -> tuple[Any, str | None, Any]:
    """Prompt, route and conversation of a line."""
    try:
        record = parse_json(line)
    except ValueError as error:
        raise SchemaError("not JSON", path=path, row=row) from error
    if not isinstance(record, dict) or ("text" in record) == ("messages" in record) or "route" not in record:
        raise SchemaError("expected an object with text or messages, and with route", path=path, row=row)
    route, column = record["route"], "text" if "text" in record else "messages"
    prompt = record[column]
    if route is not None and route not in names:
        raise SchemaError(f"expected one of {', '.join(names)}, or null", path=path, row=row, column="route")
    if isinstance(prompt, str) and not prompt.strip():
        raise SchemaError("is empty", path=path, row=row, column="text")
    if not isinstance(prompt, str if "text" in record else list):
        raise SchemaError(
            f"got {type(prompt).__name__}", path=path, row=row, column="text" if "text" in record else "messages"
        )
    return prompt, route, record.get("conversation")
