"""From the words of `lookahead-router evaluate` to a comparison, with its progress on the screen."""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import cache as once
from pathlib import Path
from tempfile import TemporaryDirectory

from lookahead_router.cli._output import progress
from lookahead_router.cli._scored import read_dataset
from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.errors import ConfigurationError, DataError
from lookahead_router.evaluation.compare import Material, compare
from lookahead_router.evaluation.entries import Ask, Entry, ask_here
from lookahead_router.evaluation.results import ComparisonReport
from lookahead_router.hub import is_repo_id
from lookahead_router.policies import Policy
from lookahead_router.predictors.embedder import DEFAULT_EMBEDDER, Embedder
from lookahead_router.predictors.fitted import FITTED


def run_comparison(
    data: Sequence[str],
    entries: Sequence[Entry],
    *,
    split: str,
    sources: Sequence[str] | None,
    fit_data: str | None,
    embedder: str | None,
    cache: Path | None,
    policy: Policy,
    n_seeds: int,
    n_resamples: int,
    check_leakage: bool,
    keep_going: bool,
    ask: Ask = ask_here,
) -> ComparisonReport:
    """Reads what is named, compares, and shows how far it is.

    Raises:
        ConfigurationError: an option that does not fit the others.
        DataError: a dataset that cannot be read or used.
    """
    names = [Path(location).stem for location in data]
    if len(set(names)) < len(names):
        names = list(data)
    with ExitStack() as stack:
        on_progress = stack.enter_context(progress("reading"))
        fit = None if fit_data is None else read_dataset(fit_data, has_splits=False)
        materials = [material(*each, split, sources, fit) for each in zip(names, data, strict=True)]
        # Every baseline asks for the same embeddings, so they are kept for this run at least.
        kept = Path(stack.enter_context(TemporaryDirectory())) if cache is None else cache
        return compare(
            entries,
            materials,
            policy=policy,
            embedder=once(lambda: Embedder.load(embedder or DEFAULT_EMBEDDER, cache=kept / "embeddings")),
            cache=cache,
            n_seeds=n_seeds,
            n_resamples=n_resamples,
            check_leakage=check_leakage,
            keep_going=keep_going,
            ask=ask,
            on_progress=on_progress,
        )


def all_failed(report: ComparisonReport) -> bool:
    """Whether no predictor has a result on any dataset."""
    return all(one.error is not None for result in report.datasets for one in result.predictors)


def parse_entries(names: str, backend: str = "auto") -> list[Entry]:
    """The predictors that are named, in order, the locations of one label together.

    Args:
        names: with commas between.
        backend: backend of the saved ones.

    Raises:
        ConfigurationError: an empty name, one that is nothing known, or a baseline's for a saved predictor.
    """
    locations: dict[str, list[str | None]] = {}
    for name in (part.strip() for part in names.split(",")):
        label, equals, location = name.partition("=")
        if equals and label and location and label not in FITTED:
            locations.setdefault(label, []).append(location)
        elif name in FITTED:
            locations[name] = []
        elif name == "lookahead":
            locations.setdefault(name, []).append(None)
        elif name and not equals and (Path(name).is_dir() or is_repo_id(name)):
            locations.setdefault(name, []).append(name)
        else:
            raise ConfigurationError(
                f"--predictors: {name!r} is none of lookahead, {', '.join(FITTED)}, a folder here, org/name, or "
                "LABEL=LOCATION with a label that is no baseline"
            )
    return [
        Entry(label, locations=tuple(places), backend=backend) if places else Entry(label, baseline=label)
        for label, places in locations.items()
    ]


def choose_rows(dataset: RoutingDataset, split: str, sources: Sequence[str] | None) -> RoutingDataset:
    """The rows of a split, or all of them, and of the named benchmarks, or all.

    Raises:
        DataError: none is left; says which there are.
    """
    rows = dataset if split == "all" else dataset.filter(split=split)
    return (
        RoutingDataset.concatenate([rows.filter(source=name) for name in dict.fromkeys(sources)]) if sources else rows
    )


def material(
    name: str, location: str, split: str, sources: Sequence[str] | None, fit: RoutingDataset | None
) -> Material:
    """A file's rows to evaluate on, and those to learn from.

    Raises:
        DataError: a file that cannot be read, or that lacks what is asked for.
    """
    dataset = read_dataset(location, has_splits=fit is None and split != "all")
    evaluation = choose_rows(dataset, split, sources)
    if fit is not None and not any(fit.splits):
        return Material(name, split, evaluation, fit)
    learnt_from = dataset if fit is None else fit
    # Nothing is learnt from a split that is evaluated, be it in another file: it may be the same one.
    splits = {each for each in ("train", "validation") if each in learnt_from.splits and split not in (each, "all")}
    if fit is not None and "train" not in splits:
        raise DataError("--fit-data: it names splits, and none is a train split beside the one that is evaluated")
    train, validation = (learnt_from.filter(split=each) if each in splits else None for each in ("train", "validation"))
    return Material(name, split, evaluation, train, validation)
