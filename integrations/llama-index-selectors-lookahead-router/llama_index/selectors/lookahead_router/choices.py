"""Which candidate each choice stands for."""

from collections.abc import Mapping, Sequence

from llama_index.core.tools.types import ToolMetadata

from lookahead_router.errors import ConfigurationError, UnknownCandidateError


def contenders(
    choices: Sequence[ToolMetadata], candidates: Mapping[str, str], pool: Sequence[str], default: str | None
) -> dict[str, int]:
    """Index of the choice by the candidate that it stands for.

    A choice is recognised by its name or, failing that, by its description. If none has a name and none is
    recognised, they stand for candidates in order.

    Args:
        choices: tools, with or without names.
        candidates: `{name or description: candidate's name}`.
        pool: names of all candidates.
        default: label of the one choice that need not stand for a candidate.

    Raises:
        ConfigurationError: no choices, one that stands for no candidate, two that stand for the same, or a
            default that is not among them.
    """
    if not choices:
        raise ConfigurationError("there is nothing to select from; give at least one tool")
    labels = [label_of(choice) for choice in choices]
    if default is not None and default not in labels:
        raise ConfigurationError(f"the default tool {default!r} is not among the choices: {', '.join(labels)}")
    names = [_recognise(choice, candidates, pool) for choice in choices]
    if not any(names) and all(choice.name is None for choice in choices):
        names = _in_order(len(choices), list(candidates.values()) or list(pool))
    found: dict[str, int] = {}
    for index, (label, name) in enumerate(zip(labels, names, strict=True)):
        if name is None and label == default:
            continue
        if name is None:
            raise _stands_for_nothing(label, candidates, pool)
        if name in found:
            raise ConfigurationError(
                f"choices {found[name]} and {index} both stand for the candidate {name!r}; "
                "the router cannot tell them apart, so tie each to its own"
            )
        found[name] = index
    if not found:
        raise ConfigurationError("no choice but the default tool; give at least one that stands for a candidate")
    return found


def label_of(choice: ToolMetadata) -> str:
    """What a choice is called: its name, or its description where it has none."""
    return choice.description if choice.name is None else choice.name


def _recognise(choice: ToolMetadata, candidates: Mapping[str, str], pool: Sequence[str]) -> str | None:
    for label in (choice.name, choice.description):
        if label in candidates:
            return candidates[label]
        if label in pool:
            return label
    return None


def _in_order(n_choices: int, names: list[str]) -> list[str]:
    if len(names) != n_choices:
        raise ConfigurationError(
            f"{n_choices} choices without names cannot stand for {len(names)} candidates in order; "
            "name the tools, or tie their descriptions to candidates with candidates={description: candidate}"
        )
    return names


def _stands_for_nothing(label: str, candidates: Mapping[str, str], pool: Sequence[str]) -> ConfigurationError:
    nearest = UnknownCandidateError(label, (*candidates, *pool)).nearest
    hint = f" Did you mean {nearest!r}?" if nearest else ""
    return ConfigurationError(
        f"the tool {label!r} stands for no candidate; tie it to one of {', '.join(pool)} "
        f"with candidates={{{label!r}: ...}}.{hint}"
    )
