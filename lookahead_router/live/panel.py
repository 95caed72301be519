"""LLM judges on answers: which verdicts are asked for, what they add up to, and how far a judge can be trusted."""

import hashlib
import itertools
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lookahead_router.live.agreement import HumanAgreement, human_agreement
from lookahead_router.live.answers import Answer
from lookahead_router.live.calls import Call
from lookahead_router.live.engine import Lane, Outcome, Task
from lookahead_router.live.judges import JudgeConfig
from lookahead_router.live.verdicts import (
    FIRST,
    SECOND,
    TIE,
    conversation_text,
    pairwise_messages,
    prompt_version,
    rating_messages,
    read_rating,
    read_verdict,
    score_of_rating,
)

_LEAST_VERDICTS = 10
"""That are all the same before a judge is said to say always the same."""


@dataclass(frozen=True)
class JudgeSummary:
    """How a judge did, in all the runs on an output."""

    name: str
    n_verdicts: int
    """Readable ones, without those asked for again."""
    n_unreadable: int
    """Replies that hold no verdict; they are kept raw and count for nothing."""
    n_missing: int
    """Verdicts that were not asked for, or whose calls failed."""
    cost_usd: float | None
    """`None` without a price."""
    self_agreement: float | None
    """Share of the verdicts asked for twice that came out the same; `None` where there are none."""
    n_again: int
    """Verdicts asked for twice, and readable both times."""
    order_agreement: float | None
    """Share of pairs that had the same winner in both orders; `None` for ratings."""
    position_bias: float | None
    """Share of pairwise verdicts for the first answer less that for the second, in [-1, 1]; `None` for ratings."""
    human: HumanAgreement | None
    """Agreement of its scores with those of people, where there are some."""
    is_constant: bool
    """Whether it said the same every time."""
    aside: str | None
    """Why it was set aside in this run."""


@dataclass(frozen=True)
class _Item:
    """A verdict to be asked for."""

    id: str
    rows: tuple[int, ...]
    """Places of the answers, in the order in which they are shown."""
    again: bool


class Panel:
    """The verdicts on some answers by all judges, and what they add up to."""

    def __init__(
        self,
        config: JudgeConfig,
        answers: Sequence[Answer],
        rows: Sequence[int],
        records: Iterable[Mapping[str, Any]],
    ) -> None:
        """Works out which verdicts are needed.

        Args:
            config: the judges and their method.
            answers: all answers.
            rows: places of those to be judged by the judges.
            records: verdicts that are there.
        """
        self.config, self.answers, self.rows = config, answers, rows
        self.identity = json.dumps([config.method, config.rubric, prompt_version(config.method)])
        """What verdicts depend on beside the judge."""
        self.costs: dict[Call, float | None] = {}
        """Dollars of the verdicts that are there, by call."""
        self._verdicts: dict[Call, Any] = {}
        self._items: dict[str, _Item] = {}
        self._ids: dict[tuple[int, ...], str] = {}
        self._by_prompt: dict[str, list[int]] = defaultdict(list)
        for row in rows:
            self._by_prompt[answers[row].prompt_id].append(row)
        if config.judges:
            for item in self._wanted():
                self._items.setdefault(item.id, item)
        for record in records:
            if "verdict" in record:
                self._take(record)

    @property
    def n_tasks(self) -> int:
        """Verdicts that every judge is asked for."""
        return len(self._items)

    def tasks(self, judge: str) -> list[Task]:
        """The verdicts that a judge has still to give."""
        return [
            Task(item.id, self._messages(item), item)
            for item in self._items.values()
            if (item.id, judge) not in self._verdicts
        ]

    def record(self, lane: Lane, outcome: Outcome) -> dict[str, Any]:
        """What is kept of a reply, whether it can be read or not."""
        reply = "" if outcome.completion is None else outcome.completion.text
        read = read_rating if self.config.method == "rating" else read_verdict
        record = {
            "task": outcome.task.id,
            "judge": lane.name,
            "prompt_id": self.answers[outcome.task.about.rows[0]].prompt_id,
            "candidates": [self.answers[row].candidate for row in outcome.task.about.rows],
            "again": outcome.task.about.again,
            "verdict": read(reply),
            "reply": reply,
            "input_tokens": outcome.input_tokens,
            "output_tokens": outcome.output_tokens,
            "cost_usd": outcome.usd,
        }
        if outcome.error is not None:
            record["error"] = outcome.error.value
        self._take(record)
        return record

    def score(self, row: int, judges: Sequence[str] | None = None) -> float | None:
        """The mean of the judges' scores of an answer; `None` where no judge gave one that can be read."""
        names = [judge.name for judge in self.config.judges] if judges is None else judges
        of_one = self._rated if self.config.method == "rating" else self._preferred
        return _mean([score for name in names if (score := of_one(row, name)) is not None])

    def summaries(self, lanes: Sequence[Lane]) -> tuple[JudgeSummary, ...]:
        """How every judge did."""
        asides = {lane.name: lane.aside for lane in lanes}
        return tuple(self._summary(judge.name, asides.get(judge.name)) for judge in self.config.judges)

    def _take(self, record: Mapping[str, Any]) -> None:
        call = (str(record["task"]), str(record["judge"]))
        self._verdicts[call] = record["verdict"]
        self.costs[call] = record.get("cost_usd")

    def _wanted(self) -> Iterable[_Item]:
        """Every verdict once: answers of the same words are one."""
        if self.config.method == "rating":
            for row in self.rows:
                yield from self._twice((row,))
            return
        for rows in self._by_prompt.values():
            for one, other in itertools.combinations(rows, 2):
                if self._is_compared(one, other):
                    yield from self._twice((one, other))
                    yield from self._twice((other, one))

    def _twice(self, rows: tuple[int, ...]) -> Iterable[_Item]:
        id = self._id(rows)
        yield _Item(id, rows, again=False)
        if int(id[:8], 16) < self.config.again * 2**32:
            yield _Item(f"{id}+", rows, again=True)

    def _is_compared(self, one: int, other: int) -> bool:
        first, second = self.answers[one], self.answers[other]
        is_wanted = self.config.against in (None, first.candidate, second.candidate)
        return is_wanted and first.response != second.response

    def _id(self, rows: tuple[int, ...]) -> str:
        if rows not in self._ids:
            shown = [self.answers[row] for row in rows]
            about = [self.config.method, shown[0].prompt_id, shown[0].reference, *(answer.response for answer in shown)]
            self._ids[rows] = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:24]
        return self._ids[rows]

    def _messages(self, item: _Item) -> Sequence[Mapping[str, Any]]:
        shown = [self.answers[row] for row in item.rows]
        question = conversation_text(shown[0].prompt, shown[0].messages)
        ask = rating_messages if self.config.method == "rating" else pairwise_messages
        texts = (answer.response or "" for answer in shown)
        return ask(question, *texts, reference=shown[0].reference, rubric=self.config.rubric)

    def _rated(self, row: int, judge: str) -> float | None:
        rating = self._verdicts.get((self._id((row,)), judge))
        return None if rating is None else score_of_rating(rating)

    def _preferred(self, row: int, judge: str) -> float | None:
        """How often an answer is preferred to the others to its prompt; ties count half."""
        own = self.answers[row]
        if own.candidate == self.config.against:
            return 0.5
        others = [other for other in self._by_prompt[own.prompt_id] if other != row]
        if self.config.against is not None:
            others = [other for other in others if self.answers[other].candidate == self.config.against]
        return _mean([won for other in others if (won := self._won(row, other, judge)) is not None])

    def _won(self, row: int, other: int, judge: str) -> float | None:
        """1 where an answer wins in both orders, 0 where it loses; `None` where an order has no readable verdict."""
        if self.answers[row].response == self.answers[other].response:
            return 0.5
        there = self._verdicts.get((self._id((row, other)), judge))
        back = self._verdicts.get((self._id((other, row)), judge))
        if there is None or back is None:
            return None
        return (_SHARE[there] + 1 - _SHARE[back]) / 2

    def _summary(self, name: str, aside: str | None) -> JudgeSummary:
        there = {id: self._verdicts[id, name] for id in self._items if (id, name) in self._verdicts}
        once = {id: verdict for id, verdict in there.items() if verdict is not None and not self._items[id].again}
        twice = [(once[id[:-1]], verdict) for id, verdict in there.items() if id.endswith("+") and id[:-1] in once]
        twice = [(first, second) for first, second in twice if second is not None]
        costs = [cost for (_, judge), cost in self.costs.items() if judge == name and cost is not None]
        both = [
            (row, score)
            for row in self.rows
            if self.answers[row].score_human is not None and (score := self.score(row, [name])) is not None
        ]
        is_pairs = self.config.method == "pairwise"
        return JudgeSummary(
            name,
            len(once),
            sum(verdict is None for verdict in there.values()),
            len(self._items) - len(there),
            math.fsum(costs) if costs else None,
            _mean([float(first == second) for first, second in twice]),
            len(twice),
            self._order_agreement(name) if is_pairs else None,
            _mean([2 * _SHARE[verdict] - 1 for verdict in once.values()]) if is_pairs else None,
            human_agreement(
                [score for _, score in both],
                [self.answers[row].score_human for row, _ in both],
                [self.answers[row].prompt_id for row, _ in both],
            ),
            len(once) >= _LEAST_VERDICTS and len(set(once.values())) == 1,
            aside,
        )

    def _order_agreement(self, judge: str) -> float | None:
        agreed = []
        for item in self._items.values():
            if not item.again:
                there = self._verdicts.get((item.id, judge))
                back = self._verdicts.get((self._id(item.rows[::-1]), judge))
                if there is not None and back is not None:
                    agreed.append(float(_SHARE[there] == 1 - _SHARE[back]))
        return _mean(agreed)


_SHARE = {FIRST: 1.0, TIE: 0.5, SECOND: 0.0}
"""Share of a win that a verdict gives the answer that stood first."""


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
