"""The test sets of the Lookahead authors, each in the layout of the tool that made it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lookahead_router.data.examples import Outcome, RoutingExample
from lookahead_router.data.importers.alpaca_eval import DEFAULT_ANNOTATOR, keyed, preferences
from lookahead_router.data.importers.joining import Answer, join
from lookahead_router.data.importers.records import Record, read_json, read_jsonl

Examples = Iterator[RoutingExample]


@dataclass(frozen=True)
class Benchmark:
    """How the results of a benchmark lie in its folder."""

    results: str
    """The file with the scores of the model `{}`."""
    read: Callable[[Path, list[str]], Examples]
    """From the folder and the names of models with results to examples without a split."""


def _alpaca_eval(folder: Path, names: list[str]) -> Examples:
    instructions = keyed(list(read_jsonl(folder / "instructions.jsonl")))
    numbers = {key: str(number) for number, key in enumerate(instructions)}
    answers = {}
    for name in names:
        judged = preferences(folder / _ALPACA_EVAL.format(name), instructions)
        answers[name] = {numbers[key]: Answer(key[0], judged[key]) for key in instructions if key in judged}
    return join(folder.name, answers, folder)


def _arena_hard(folder: Path, names: list[str]) -> Examples:
    prompts = _by_question(folder / "question.jsonl")
    answers = {}
    for name in names:
        responses = _by_question(folder / "model_answer" / f"{name}.jsonl")
        judged = _by_question(folder / _ARENA_HARD.format(name))
        answers[name] = {
            key: Answer(question.text("turns", 0, "content"), _arena_outcome(responses[key], judged[key]))
            for key, question in prompts.items()
            if key in responses and key in judged
        }
    return join(folder.name, answers, folder)


def _arena_outcome(response: Record, judgment: Record) -> Outcome:
    turn = response.at("choices", 0, "turns", 0)
    length = turn if "token_len" in turn else response.at("conv_metadata")
    return Outcome(turn.text("content"), _arena_score(judgment), output_tokens=length.number("token_len"))


def _arena_score(judgment: Record) -> float:
    """Two games with changed sides, from lost clearly (0) to won clearly (1); without a verdict, lost as there."""
    verdicts = [judgment.get("games", game, "score") for game in (0, 1)]
    if None in verdicts:
        return 0.0
    for game, verdict in enumerate(verdicts):
        if verdict not in _VERDICTS:
            raise judgment.error(f"expected one of {', '.join(_VERDICTS)}", "games", game, "score")
    return (_VERDICTS[verdicts[1]] - _VERDICTS[verdicts[0]] + 6) / 12


def _mt_bench(folder: Path, names: list[str]) -> Examples:
    questions = _by_question(folder / "question.jsonl")
    answers = {}
    for name in names:
        turns = {
            (str(record.get("question_id")), record.get("turn")): record
            for record in read_jsonl(folder / _MT_BENCH.format(name))
        }
        answers[name] = {
            key: Answer(question.text("turns", 0), _mt_outcome(turns[key, 1], turns[key, 2]))
            for key, question in questions.items()
            if (key, 1) in turns and (key, 2) in turns
        }
    return join(folder.name, answers, folder)


def _mt_outcome(first: Record, second: Record) -> Outcome:
    """The answer of the first turn; the mean rating of both over 10, missing where the judge failed (-1)."""
    ratings = [first.number("score"), second.number("score")]
    is_judged = None not in ratings and -1 not in ratings
    _, start, rest = first.text("user_prompt").partition("[The Start of Assistant's Answer]\n")
    response, end, _ = rest.rpartition("\n[The End of Assistant's Answer]")
    if not start or not end:
        raise first.error("expected the marks around the assistant's answer", "user_prompt")
    return Outcome(response=response, score=sum(ratings) / 20 if is_judged else None)


def _open_compass(folder: Path, names: list[str]) -> Examples:
    answers = {
        name: {
            key: Answer(
                record.text("prompt", 0, "prompt"),
                Outcome(response=record.text("origin_prediction"), score=record.number("correct")),
            )
            for key, record in read_json(folder / _OPEN_COMPASS.format(name)).entries("details").items()
        }
        for name in names
    }
    return join(folder.name, answers, folder)


def _code(folder: Path, names: list[str]) -> Examples:
    answers = {}
    for name in names:
        results = read_json(folder / _CODE.format(name)).entries("details")
        answers[name] = {
            key: Answer(
                record.text("origin_prompt", 0, "prompt"),
                Outcome(
                    response=record.text("prediction"),
                    score=results[key].number("is_correct") if key in results else None,
                ),
            )
            for key, record in read_json(folder / "predictions" / f"{name}.json").entries().items()
        }
    return join(folder.name, answers, folder)


def _by_question(path: Path) -> dict[str, Record]:
    """Records by question; of several the last, which is the repeated one."""
    return {str(record.get("question_id")): record for record in read_jsonl(path)}


_ALPACA_EVAL = f"{{}}/{DEFAULT_ANNOTATOR}/annotations.json"
_ARENA_HARD = "model_judgment/{}.jsonl"
_MT_BENCH = "judgments/gpt-4-0125-preview_judge_{}_single.jsonl"
_OPEN_COMPASS = "{}.json"
_CODE = "results/{}.json"
_VERDICTS = {"A>>B": 3, "A>B": 1, "A=B": 0, "B>A": -1, "B>>A": -3}

BENCHMARKS = {
    "AlpacaEval": Benchmark(_ALPACA_EVAL, _alpaca_eval),
    "ArenaHard": Benchmark(_ARENA_HARD, _arena_hard),
    "MT-Bench": Benchmark(_MT_BENCH, _mt_bench),
    "GSM8k": Benchmark(_OPEN_COMPASS, _open_compass),
    "MATH": Benchmark(_OPEN_COMPASS, _open_compass),
    "HumanEval": Benchmark(_CODE, _code),
    "MBPP": Benchmark(_CODE, _code),
}
