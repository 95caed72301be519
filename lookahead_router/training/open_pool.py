"""From a trained network of demands and public outcomes to a saved predictor for any pool."""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np

from lookahead_router import __version__
from lookahead_router.backends.onnx import OnnxDemandBackend
from lookahead_router.data.outcomes import OutcomeTable
from lookahead_router.errors import ConfigurationError, DataError
from lookahead_router.files import replacing_folder
from lookahead_router.networks.demand_configuration import parse_network_config
from lookahead_router.predictors.catalogue import Catalogue, CatalogueEntry, Spelling, facts_of_entry
from lookahead_router.predictors.code_reading import CodeReading
from lookahead_router.predictors.open_pool import Foreseer, Member
from lookahead_router.predictors.open_pool_folder import write_profiles
from lookahead_router.predictors.profiles import Foreseen
from lookahead_router.predictors.tokenization import PromptTokenizer
from lookahead_router.saved.folder import WEIGHTS, PredictorConfig, PredictorFolder
from lookahead_router.training.code_reading import fit_code_reading
from lookahead_router.training.everyday import EVERYDAY, read_everyday
from lookahead_router.training.population import CODER, PublicAnswers, fit_population, with_code_ability
from lookahead_router.types import Candidate, CandidatePool

UNRELATED = ("other", "other-open", "derived", "japanese", "korean", "llama-derived", "mistral-derived", "")
"""Families in name only."""
CODE_SOURCES = ("SelfOSSInstruct",)
"""Sources of requests for code."""
NOT_TOLD = (*CODE_SOURCES, "zeroeval/crux", "ArenaHard", "routerbench/mbpp")
"""Sources of whose prompts some or all have to do with code; the rest of the fitted ones ask for something else."""
N_PUBLIC_CODE, N_PUBLIC = 100, 600
"""Public prompts of both kinds, beside everyday ones, that tell whether code is asked for."""
N_EVERYDAY = 200
"""Everyday prompts, drawn at random, that say what is expected of every candidate."""
MIN_ANSWERS = 30
"""Public answers below which a candidate gets no profile."""
N_ORDINARY = 256
"""Everyday and public prompts each, drawn at random, that say who is good for the money in general."""


def build_open_pool(
    network: Path,
    table: OutcomeTable,
    output: Path,
    *,
    name: str,
    about: Mapping[str, Mapping[str, Any]],
    pool: Sequence[str],
    prices_as_of: str = "",
    exclude_sources: Sequence[str] = (),
    splits: Sequence[str] = ("train", "validation", "test"),
    everyday: Path | None = None,
    requests: Path | None = None,
    foreseen: Foreseen | None = None,
    on_progress: Callable[[str, float], None] = lambda step, share: None,
) -> None:
    """Fits population and profiles on what the network foresees, and writes the predictor, whole or not at all.

    Args:
        network: folder with `network.json`, `tokenizer.json` and `onnx/model_int8.onnx`, and more weights if there.
        table: public outcomes.
        output: folder of the predictor; new, or one that is replaced.
        name: of the predictor.
        about: facts of candidates by name: `family`, `open`, `release`, `params_b`, `setting`, `usd_per_m_in`,
            `usd_per_m_out` and `context_window_tokens`, each of which may be missing.
        pool: names that the predictor decides among where the user names none.
        prices_as_of: date or origin of the prices.
        exclude_sources: patterns of sources whose scores make no profile.
        splits: whose prompts' answers make profiles; the network must not have been measured on others.
        everyday: JSONL of everyday prompts, as a recipe's: what is expected of every candidate.
        requests: JSONL of more such prompts; those of both files that are `about` code, and the rest, tell how to read
            whether code is asked for. Without it no such demand is added.
        foreseen: what the network says of `table.prompts`, where that is known; computed otherwise.
        on_progress: told before each step what comes, and what share of all is done.

    Raises:
        DataError: no answers are left.
        ConfigurationError: a name of the pool that gets no profile.
    """
    config = parse_network_config(json.loads((network / "network.json").read_bytes()))
    if foreseen is None:
        foreseen = foresee_all(network, table.prompts.tolist(), on_progress)
    code = None
    if requests is not None:
        code = read_code(network, [path for path in (everyday, requests) if path is not None], table)
    names, answers, counts = public_answers(table, exclude_sources, splits, fitted_sources(network, table))
    public_rows = answers.prompts
    if everyday is not None:
        foreseen, answers = _with_everyday(foreseen, answers, network, everyday)
    entries = [_entry(each, about.get(each, {}), counts[each]) for each in names]
    facts = np.stack([facts_of_entry(entry) for entry in entries])
    is_coder = facts[:, CODER] > 0
    facts[:, CODER] = 0.0  # so few tell nothing of others
    population, profiles = fit_population(
        foreseen,
        answers,
        facts,
        names,
        families=[entry.family if entry.family not in UNRELATED else "" for entry in entries],
        models=[" ".join(Spelling.of(entry.name).bare) for entry in entries],
        on_progress=on_progress,
    )
    if code is not None:
        population, profiles = with_code_ability(population, profiles, is_coder)
    if everyday is not None:
        asked = [each.prompt for path in (everyday, requests) if path is not None for each in read_everyday(path)]
        public = table.prompts[np.unique(public_rows)].tolist()
        population = replace(population, ordinary=ordinary_prompts(network, asked, public, code))
    catalogue = Catalogue(entries, profiles)
    members = [_member(catalogue, each) for each in pool]
    with replacing_folder(output) as temporary:
        target = PredictorFolder(temporary)
        for file in ("tokenizer.json", "training.json", *WEIGHTS.values()):
            if (network / file).is_file():
                (temporary / file).parent.mkdir(exist_ok=True)
                shutil.copyfile(network / file, temporary / file)
        write_profiles(temporary, population, catalogue, members, prices_as_of, code)
        settings = config.to_dict()
        head = PredictorConfig(
            format_version=1, predictor="open-pool", name=name, library_version=__version__, network=settings
        )
        target.write(head, CandidatePool(member.candidate for member in members))


def _member(catalogue: Catalogue, name: str) -> Member:
    """A candidate of the default pool."""
    match = catalogue.match(name)
    if match.how not in ("exact", "same", "newest"):
        raise ConfigurationError(f"the default pool names {name!r}, of which there is no profile")
    fields = ("input_usd_per_million_tokens", "output_usd_per_million_tokens", "context_window_tokens")
    known = {field: getattr(match.entry, field) for field in fields}
    return Member(Candidate(name=name, **known), catalogue.profile(match.entry), match)


def _with_everyday(
    foreseen: Foreseen, answers: PublicAnswers, network: Path, path: Path
) -> tuple[Foreseen, PublicAnswers]:
    """The prompts with `N_EVERYDAY` of everyday's after them, and what is expected there."""
    prompts, chances = expected_of_everyone(path)
    return join_expected(foreseen, answers, foresee_all(network, prompts), chances)


def expected_of_everyone(path: Path) -> tuple[list[str], np.ndarray]:
    """`N_EVERYDAY` of the everyday prompts with a label, and the chance that any candidate answers each well."""
    told = [(each.prompt, EVERYDAY[each.kind]) for each in read_everyday(path) if np.isfinite(EVERYDAY[each.kind])]
    told = [told[row] for row in np.random.default_rng(0).permutation(len(told))[:N_EVERYDAY]]
    return [prompt for prompt, _ in told], np.array([chance for _, chance in told])


def ordinary_prompts(
    network: Path, everyday: Sequence[str], public: Sequence[str], code: CodeReading | None
) -> np.ndarray:
    """`(2 * N_ORDINARY, R + 4)`, or fewer rows where there are fewer prompts: see `Population.ordinary`."""
    generator = np.random.default_rng(0)
    prompts = [pool[row] for pool in (everyday, public) for row in generator.permutation(len(pool))[:N_ORDINARY]]
    foreseen = foresee_all(network, prompts)
    if code is not None:
        foreseen = with_code(code, foreseen, network, prompts)
    n_tokens = [len(ids) for ids in _token_ids(network, prompts)]
    read = foreseen.difficulty, foreseen.log_tokens, foreseen.verbosity
    return np.column_stack([foreseen.demands, *read, n_tokens])


def join_expected(
    foreseen: Foreseen, answers: PublicAnswers, everyday: Foreseen, chances: np.ndarray
) -> tuple[Foreseen, PublicAnswers]:
    """Everyday prompts put behind the others, and what is expected of every candidate there among the answers."""
    rows = len(foreseen) + np.arange(len(everyday))
    joined = {name: np.concatenate([values, getattr(everyday, name)]) for name, values in vars(foreseen).items()}
    return Foreseen(**joined), replace(answers, expected=np.stack([rows, chances], axis=1))


def foresee_all(
    network: Path, prompts: Sequence[str], on_progress: Callable[[str, float], None] = lambda step, share: None
) -> Foreseen:
    """What the network's int8 graph says of all prompts."""
    config = parse_network_config(json.loads((network / "network.json").read_bytes()))
    tokenizer = PromptTokenizer.of(config, PromptTokenizer.read(network / "tokenizer.json"))
    foresee = Foreseer(tokenizer, OnnxDemandBackend(network / "onnx" / "model_int8.onnx"), has_warned=True)
    parts = []
    for start in range(0, len(prompts), 500):
        on_progress(f"demands of {len(prompts):,} prompts", start / len(prompts))
        parts.append(foresee(prompts[start : start + 500])[0])
    return Foreseen(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])})


def read_code(network: Path, paths: Sequence[Path], table: OutcomeTable) -> CodeReading:
    """How to read whether code is asked for: from the everyday prompts of these files, which say so, and from some of
    the public ones that the network was fitted on, by their source."""
    asked = [(each.prompt, each.about == "code") for path in paths for each in read_everyday(path)]
    fitted = fitted_sources(network, table)
    code, rest = fitted.intersection(CODE_SOURCES), fitted.difference(NOT_TOLD)
    for sources, is_code, n in ((code, True, N_PUBLIC_CODE), (rest, False, N_PUBLIC)):
        rows = np.random.default_rng(0).permutation(np.flatnonzero(seen_prompts(table, sources)))[:n]
        asked += [(prompt, is_code) for prompt in table.prompts[rows].tolist()]
    prompts = [prompt for prompt, _ in asked]
    n_tokens = PromptTokenizer.read(network / "tokenizer.json").get_vocab_size()
    is_code = np.array([about_code for _, about_code in asked])
    return fit_code_reading(foresee_all(network, prompts).embedding, _token_ids(network, prompts), is_code, n_tokens)


def with_code(code: CodeReading, foreseen: Foreseen, network: Path, prompts: Sequence[str]) -> Foreseen:
    """What is foreseen of the prompts, with whether code is asked for as the last of the demands."""
    demands = code.joined(foreseen.demands, foreseen.embedding, code.by_tokens(_token_ids(network, prompts)))
    return replace(foreseen, demands=demands)


def _token_ids(network: Path, prompts: Sequence[str]) -> list[np.ndarray]:
    config = parse_network_config(json.loads((network / "network.json").read_bytes()))
    return PromptTokenizer.of(config, PromptTokenizer.read(network / "tokenizer.json")).encode(prompts)[0]


def fitted_sources(network: Path, table: OutcomeTable) -> set[str]:
    """Sources of the table that the network was fitted on, by `training.json`; all without it."""
    path, sources = network / "training.json", set(table.sources.tolist())
    if not path.is_file():
        return sources
    patterns = json.loads(path.read_bytes())["recipe"]["data"]["sources"]
    return {source for source in sources if any(fnmatch(source, pattern) for pattern in patterns)}


def seen_prompts(table: OutcomeTable, fitted: set[str]) -> np.ndarray:
    """`(n_prompts,)` bool: which prompts of the table the network was fitted on: of these sources, for training."""
    seen = np.zeros(len(table.prompts), dtype=bool)
    seen[table.prompt_index[np.isin(table.sources, list(fitted))]] = True
    return seen & np.isin(table.splits, ("train", ""))


def public_answers(
    table: OutcomeTable, exclude_sources: Sequence[str], splits: Sequence[str], fitted: set[str]
) -> tuple[list[str], PublicAnswers, dict[str, Counter]]:
    """The answers that make profiles: names of their candidates, the answers, and their number by name and source.

    Args:
        table: public outcomes.
        exclude_sources: patterns of sources that count for nothing.
        splits: that count.
        fitted: sources that the network was fitted on. How hard another's prompts are is not known as well, so that a
            severity of its own is fitted, as a judge's.

    Raises:
        DataError: none is left.
    """
    allowed = {s for s in set(table.sources.tolist()) if not any(fnmatch(s, pattern) for pattern in exclude_sources)}
    kept = np.isin(table.sources, list(allowed)) & np.isin(table.splits[table.prompt_index], list(splits))
    n_answers = np.bincount(table.candidate_index[kept], minlength=len(table.candidates))
    known = np.flatnonzero(n_answers >= MIN_ANSWERS)
    kept &= np.isin(table.candidate_index, known)
    if not kept.any():
        raise DataError(f"no candidate has {MIN_ANSWERS} answers; give more outcomes")
    rows = np.flatnonzero(kept)
    names = [table.candidates[k] for k in known]
    sources, source_index = np.unique(table.sources[rows], return_inverse=True)
    kinds = {str(s): str(k) for s, k in zip(table.sources[rows], table.kinds[rows], strict=True)}
    counts: dict[str, Counter] = {name: Counter() for name in names}
    for candidate, source in zip(table.candidate_index[rows], table.sources[rows], strict=True):
        counts[table.candidates[candidate]][str(source)] += 1
    answers = PublicAnswers(
        prompts=table.prompt_index[rows],
        candidates=np.searchsorted(known, table.candidate_index[rows]),
        scores=table.scores[rows].astype(np.float64),
        sources=source_index,
        has_severity=np.array([kinds[str(s)] != "correct" or str(s) not in fitted for s in sources]),
        output_tokens=table.output_tokens[rows].astype(np.float64),
        is_new=~seen_prompts(table, fitted)[table.prompt_index[rows]],
    )
    return names, answers, counts


def _entry(name: str, about: Mapping[str, Any], sources: Counter) -> CatalogueEntry:
    return CatalogueEntry(
        name=name,
        family=about.get("family") or "",
        release=str(about.get("release") or ""),
        parameters_billion=about.get("params_b"),
        is_open=about.get("open"),
        setting=about.get("setting") or Spelling.of(name).setting or None,
        input_usd_per_million_tokens=about.get("usd_per_m_in"),
        output_usd_per_million_tokens=about.get("usd_per_m_out"),
        context_window_tokens=about.get("context_window_tokens"),
        sources=tuple(sorted(_joined(sources).items())),
    )


def _joined(sources: Counter) -> Counter:
    """Counts by the part of a source's name before the first slash."""
    joined: Counter = Counter()
    for source, count in sources.items():
        joined[source.partition("/")[0]] += count
    return joined
