"""Answers of many candidates as a demand network is trained on them: prompts, groups, judged answers, references."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import numpy as np
import torch

from lookahead_router.data.outcomes import OutcomeTable
from lookahead_router.errors import DataError
from lookahead_router.predictors.tokenization import PromptTokenizer
from lookahead_router.training.demand_objectives import Answers
from lookahead_router.training.demand_recipe import PopulationSettings
from lookahead_router.training.everyday import EVERYDAY, read_everyday

BAG_TOKENS = 32
"""Words of an answer that a slot stands for."""
REST_TOKENS = 128
"""Where the part of an answer ends that the later slots stand for."""
MIN_ANSWERS = 100
"""Candidates with fewer answers are not asked about everyday prompts, nor about consistency."""


@dataclass(frozen=True, eq=False)
class Population:
    """`m` prompts to draw from, and `n` judged answers, sorted by prompt."""

    texts: tuple[str, ...]
    groups: np.ndarray
    """`(m,)` int: which group of sources a prompt is drawn with."""
    labels: np.ndarray
    """`(m,)` chance of a good answer of an everyday prompt; NaN elsewhere."""
    starts: np.ndarray
    """`(m + 1,)` int: the answers to prompt `i` are rows `starts[i]` to `starts[i + 1]` of those below."""
    candidates: np.ndarray
    """`(n,)` int, of `names`."""
    sources: np.ndarray
    """`(n,)` int: 0 of graded answers, which need no offset, else 1 + a source whose judge may be lenient."""
    scores: np.ndarray
    """`(n,)` in [0, 1]."""
    log_tokens: np.ndarray
    """`(n,)` natural logarithm of the answer's tokens, NaN where unknown."""
    responses: tuple[dict[int, str], ...]
    """Answers of the reference candidates, by candidate, one mapping a prompt."""
    names: tuple[str, ...]
    n_offsets: int

    @property
    def n_prompts(self) -> int:
        return len(self.texts)

    @property
    def often_asked(self) -> np.ndarray:
        """Candidates with enough answers to be asked about everyday prompts."""
        return np.flatnonzero(np.bincount(self.candidates, minlength=len(self.names)) >= MIN_ANSWERS)

    def draw_weights(self, settings: PopulationSettings) -> np.ndarray:
        """`(m,)` chances to be drawn, by the size of the prompt's group."""
        sizes = np.bincount(self.groups).astype(float)
        weights = (sizes**settings.group_exponent / np.maximum(sizes, 1))[self.groups]
        if settings.everyday is not None:
            weights = np.where(self.groups == self.groups.max(), settings.everyday_factor * weights, weights)
        return weights / weights.sum()


def select_answers(table: OutcomeTable, settings: PopulationSettings) -> OutcomeTable:
    """The answers that the settings let train or select, under the settings' names and kinds.

    Raises:
        DataError: a pattern that fits nothing, or no answer is left.
    """
    names = tuple(settings.aliases.get(name, name) for name in table.candidates)
    kinds = table.kinds.copy()
    for pattern, kind in settings.kinds.items():
        kinds[_fits(table.sources, [pattern])] = kind
    keep = _fits(table.sources, settings.sources) & ~_fits(table.sources, settings.exclude_sources)
    held_out = _fits(np.array(names), settings.exclude_candidates)
    keep &= ~held_out[table.candidate_index]
    if not keep.any():
        raise DataError("data.sources, exclude_sources and exclude_candidates leave no answer")
    ordered = sorted(set(names))
    index = np.array([ordered.index(name) for name in names])[table.candidate_index]
    return replace(table, candidates=tuple(ordered), candidate_index=index, kinds=kinds).select(keep)


def build_population(table: OutcomeTable, split: str, settings: PopulationSettings, references: Sequence) -> Population:
    """The prompts of a split with their answers, and for training the everyday prompts after them.

    Args:
        table: as `select_answers` gives it.
        split: of the prompts.
        settings: groups and everyday prompts.
        references: names of the reference candidates, whose responses are kept.

    Raises:
        DataError: the split has no answers.
        SchemaError: the everyday prompts are malformed.
    """
    rows = np.flatnonzero(table.in_split(split))
    if not len(rows):
        raise DataError(f"split {split!r} has no answers to train on or to select by")
    rows = rows[np.argsort(table.prompt_index[rows], kind="stable")]
    prompts, firsts = np.unique(table.prompt_index[rows], return_index=True)
    everyday = read_everyday(settings.everyday) if settings.everyday and split == settings.train_split else []
    labels = [_group(table.sources[rows[first]], settings.groups) for first in firsts]
    ordered = sorted(set(labels))
    groups = [ordered.index(label) for label in labels] + [len(ordered)] * len(everyday)
    judged = sorted(set(table.sources[table.kinds != "correct"].tolist()))
    offsets = {source: 1 + place for place, source in enumerate(judged)}
    wanted = {name for names in references for name in names}
    responses: list[dict[int, str]] = [{} for _ in range(len(prompts) + len(everyday))]
    place = np.searchsorted(prompts, table.prompt_index[rows])
    is_reference = np.isin(np.array(table.candidates), list(wanted))[table.candidate_index[rows]]
    for row, at in zip(rows[is_reference], place[is_reference], strict=True):
        if table.responses[row]:
            responses[at].setdefault(int(table.candidate_index[row]), table.responses[row])
    with np.errstate(divide="ignore", invalid="ignore"):
        log_tokens = np.log(np.where(table.output_tokens[rows] > 0, table.output_tokens[rows], np.nan))
    is_graded = table.kinds[rows] == "correct"
    return Population(
        texts=(*table.prompts[prompts], *(each.prompt for each in everyday)),
        groups=np.array(groups),
        labels=np.array([np.nan] * len(prompts) + [EVERYDAY[each.kind] for each in everyday]),
        starts=np.concatenate([firsts, [len(rows)] * (1 + len(everyday))]),
        candidates=table.candidate_index[rows],
        sources=np.where(is_graded, 0, [offsets.get(source, 0) for source in table.sources[rows]]),
        scores=table.scores[rows],
        log_tokens=log_tokens,
        responses=tuple(responses),
        names=table.candidates,
        n_offsets=1 + len(judged),
    )


def draw_answers(rows: Population, drawn: np.ndarray, limit: int, random: np.random.Generator) -> Answers:
    """At most `limit` answers to each drawn prompt; half of that many weigh full, more no more together."""
    picked, at, weights = [], [], []
    for row, prompt in enumerate(drawn):
        own = np.arange(rows.starts[prompt], rows.starts[prompt + 1])
        if len(own) > limit:
            own = random.choice(own, limit, replace=False)
        picked.append(own)
        at.append(np.full(len(own), row))
        weights.append(np.full(len(own), min(len(own), limit / 2) / max(1, len(own))))
    index = np.concatenate(picked)
    return Answers(
        rows=torch.from_numpy(np.concatenate(at)),
        candidates=torch.from_numpy(rows.candidates[index]),
        sources=torch.from_numpy(rows.sources[index]),
        scores=torch.tensor(rows.scores[index], dtype=torch.float32),
        log_tokens=torch.tensor(rows.log_tokens[index], dtype=torch.float32),
        weights=torch.tensor(np.concatenate(weights), dtype=torch.float32),
    )


def reference_bags(
    population: Population, references: Sequence[Sequence[str]], n_slots: int, tokenizer: PromptTokenizer, seed: int
) -> np.ndarray:
    """`(m, n_references * n_slots, BAG_TOKENS)` int32 token ids that each slot stands for, -1 where there are fewer.

    The first slot of a reference has the answer's first words in order; the others draw theirs from what follows.
    """
    random = np.random.default_rng(seed)
    place = {name: index for index, name in enumerate(population.names)}
    bags = np.full((population.n_prompts, len(references) * n_slots, BAG_TOKENS), -1, dtype=np.int32)
    for row, answers in enumerate(population.responses):
        for reference, names in enumerate(references):
            text = next((answers[place[name]] for name in names if place.get(name) in answers), None)
            if text is None:
                continue
            [ids] = tokenizer.encode_responses([text], REST_TOKENS)
            parts = [ids[:BAG_TOKENS]]
            for _ in range(1, n_slots):
                rest = ids[BAG_TOKENS:]
                parts.append(random.permutation(rest)[:BAG_TOKENS] if rest else [])
            for slot, part in enumerate(parts):
                bags[row, reference * n_slots + slot, : len(part)] = part
    return bags


def _group(source: str, patterns: Sequence[str]) -> str:
    return next((pattern for pattern in patterns if fnmatchcase(source, pattern)), source)


def _fits(values: np.ndarray, patterns: Sequence[str]) -> np.ndarray:
    """`(n,)` whether a value fits any of the patterns.

    Raises:
        DataError: a pattern that fits none.
    """
    known = sorted(set(values.tolist()))
    fitting: set[str] = set()
    for pattern in patterns:
        found = {value for value in known if fnmatchcase(value, pattern)}
        if not found:
            raise DataError(f"the pattern {pattern!r} fits none of {', '.join(known[:20])}, ...")
        fitting |= found
    return np.isin(values, sorted(fitting)) if fitting else np.zeros(len(values), dtype=bool)
