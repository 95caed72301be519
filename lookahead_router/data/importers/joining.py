"""From one file a candidate to one example a prompt."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lookahead_router.data.examples import Outcome, RoutingExample
from lookahead_router.errors import DataError, SchemaError, UnknownCandidateError
from lookahead_router.prompts import Prompt


@dataclass(frozen=True)
class Answer:
    """A candidate's outcome, with the prompt that its file claims to answer."""

    prompt: Prompt
    """Empty where the file does not say."""
    outcome: Outcome


def choose(models: Sequence[str] | None, found: Sequence[str], expected: str, path: Path) -> list[str]:
    """The asked-for candidates in their order, or all that were found.

    Args:
        models: asked for, if any.
        found: those with results.
        expected: the files that were looked for, in words.
        path: where.

    Raises:
        DataError: nothing was found.
        UnknownCandidateError: an asked-for candidate was not.
    """
    if not found:
        raise DataError(f"{path}: expected {expected}, found none")
    for name in models or ():
        if name not in found:
            raise UnknownCandidateError(name, found)
    return list(models or found)


def join(source: str, answers: Mapping[str, Mapping[str, Answer]], path: Path) -> Iterator[RoutingExample]:
    """One example for each key, in the order of first appearance.

    Args:
        source: of all examples, and the first part of their ids.
        answers: by candidate, then by key. A candidate that lacks a key lacks the outcome.
        path: named in errors.

    Raises:
        SchemaError: candidates that answer different prompts under one key.
    """
    for key in dict.fromkeys(key for found in answers.values() for key in found):
        present = {name: found[key] for name, found in answers.items() if key in found}
        prompts = {name: answer.prompt for name, answer in present.items() if answer.prompt}
        first = next(iter(prompts), None)
        for name, prompt in prompts.items():
            if prompt != prompts[first]:
                raise SchemaError(
                    f"the results of {name!r} and {first!r} have different prompts under {key!r} of {source}; "
                    "take both from the same version of the benchmark",
                    path=str(path),
                )
        outcomes = {name: answer.outcome for name, answer in present.items()}
        yield RoutingExample(prompts.get(first, ""), outcomes, id=f"{source}/{key}", source=source)
