"""Which candidate each choice stands for, and which choices differ by nothing else."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from llama_index.core.tools.types import ToolMetadata

from lookahead_router.errors import ConfigurationError, UnknownCandidateError

_BY_DESCRIPTION = "by_description=EmbeddingSingleSelector.from_defaults()"


@dataclass
class Group:
    """Choices among which a router can decide: they differ by LLM only."""

    indices: dict[str, int] = field(default_factory=dict)
    """Index of the choice by the candidate that it stands for."""
    lone: int | None = None
    """Index of a choice that stands for no candidate, and has no other beside it."""

    @property
    def first(self) -> int:
        """Index of the choice that speaks for the group."""
        return next(iter(self.indices.values())) if self.lone is None else self.lone


class Choices:
    """Tools, with or without names, and the candidates that they stand for.

    A choice is recognised by its name or, failing that, by its description: either a key of `candidates`
    or a candidate's own name.
    """

    def __init__(
        self,
        choices: Sequence[ToolMetadata],
        candidates: Mapping[str, str],
        pool: Sequence[str],
        *,
        default: str | None = None,
        by_description: bool = False,
    ) -> None:
        """Recognises and groups.

        Args:
            choices: tools, with or without names.
            candidates: `{name or description: candidate's name}`.
            pool: names of all candidates.
            default: label of the one choice that need not stand for a candidate.
            by_description: whether another selector chooses among descriptions, so that candidates are
                told apart within a description only.

        Raises:
            ConfigurationError: no choices, choices that nothing tells apart, or a default that is not there.
        """
        if not choices:
            raise ConfigurationError("there is nothing to select from; give at least one tool")
        self.tools = choices
        self.labels = [label_of(choice) for choice in choices]
        if default is not None and default not in self.labels:
            raise ConfigurationError(f"the default tool {default!r} is not among the choices: {_list(self.labels)}")
        known = {**{name: name for name in pool}, **candidates}
        self._by_name = [choice.name in known for choice in choices]
        self.names = [known.get(choice.name, known.get(choice.description)) for choice in choices]
        taking_part = [i for i, label in enumerate(self.labels) if self.names[i] is not None or label != default]
        if not taking_part:
            raise ConfigurationError("no choice but the default tool; give at least one that stands for a candidate")
        described: dict[str | None, list[int]] = {}
        for index in taking_part:
            described.setdefault(choices[index].description if by_description else None, []).append(index)
        self.groups = [self._group(indices, pool, by_description) for indices in described.values()]

    @property
    def have_one_description(self) -> bool:
        """Whether the tools that are recognised by their names are described alike, as those over one index are."""
        named = (tool for tool, by_name in zip(self.tools, self._by_name, strict=True) if by_name)
        return len({tool.description for tool in named}) < 2

    def _group(self, indices: list[int], pool: Sequence[str], by_description: bool) -> Group:
        if by_description and len(indices) == 1 and self.names[indices[0]] is None:
            return Group(lone=indices[0])
        group = Group()
        for index in indices:
            name = self.names[index]
            if name is None:
                raise _stands_for_nothing(self.labels[index], (*self._named(), *pool), pool)
            if name in group.indices:
                other = self.labels[group.indices[name]]
                raise ConfigurationError(
                    f"the tools {other!r} and {self.labels[index]!r} both stand for the candidate {name!r}"
                    f"{' and have one description' if by_description else ''}, so the router cannot tell them apart. "
                    f"If they hold different data, describe it and choose by that: {_BY_DESCRIPTION}"
                )
            group.indices[name] = index
        return group

    def _named(self) -> Iterator[str]:
        return (label for label, name in zip(self.labels, self.names, strict=True) if name is not None)


def label_of(choice: ToolMetadata) -> str:
    """What a choice is called: its name, or its description where it has none."""
    return choice.description if choice.name is None else choice.name


def _stands_for_nothing(label: str, known: Sequence[str], pool: Sequence[str]) -> ConfigurationError:
    nearest = UnknownCandidateError(label, known).nearest
    hint = f" Did you mean {nearest!r}?" if nearest else ""
    return ConfigurationError(
        f"the tool {label!r} stands for no candidate, and the router chooses among LLMs, not among data. "
        f"If it has an LLM of its own, tie it to one of {_list(pool)} with candidates={{{label!r}: ...}}. If the tools "
        f"hold different data, choose by their descriptions: {_BY_DESCRIPTION}, or that selector alone over engines "
        f"whose LLM is a LookaheadRouterLLM.{hint}"
    )


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)
