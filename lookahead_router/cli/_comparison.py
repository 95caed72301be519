"""From the words of `lookahead-router evaluate` to a comparison, with its progress on the screen."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache as once
from pathlib import Path
from tempfile import TemporaryDirectory

from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.errors import ConfigurationError
from lookahead_router.evaluation.compare import Material, compare
from lookahead_router.evaluation.predictions import Entry
from lookahead_router.evaluation.results import ComparisonReport
from lookahead_router.hub.download import is_repo_id
from lookahead_router.policies import Policy
from lookahead_router.predictors.baselines.registry import BASELINES
from lookahead_router.predictors.embedder import Embedder


def run_comparison(
    data: Sequence[str],
    predictors: str,
    *,
    split: str,
    sources: Sequence[str] | None,
    fit_data: str | None,
    embedder: str,
    cache: Path | None,
    policy: Policy,
    n_seeds: int,
    n_resamples: int,
    check_leakage: bool,
) -> ComparisonReport:
    """Reads what is named, compares, and shows how far it is.

    Raises:
        ConfigurationError: a name that is no predictor.
        DataError: a dataset that cannot be read or used.
    """
    entries = parse_entries(predictors)
    fit = None if fit_data is None else RoutingDataset.from_file(fit_data)
    names = [Path(location).stem for location in data]
    if len(set(names)) < len(names):
        names = list(data)
    materials = [_material(*each, split, sources, fit) for each in zip(names, data, strict=True)]
    with ExitStack() as stack:
        on_progress = stack.enter_context(_progress())
        # Every baseline asks for the same embeddings, so they are kept for this run at least.
        kept = Path(stack.enter_context(TemporaryDirectory())) if cache is None else cache
        return compare(
            entries,
            materials,
            policy=policy,
            embedder=once(lambda: Embedder.load(embedder, cache=kept / "embeddings")),
            cache=cache,
            n_seeds=n_seeds,
            n_resamples=n_resamples,
            check_leakage=check_leakage,
            on_progress=on_progress,
        )


def parse_entries(names: str) -> list[Entry]:
    """The predictors that are named, in order, the locations of one label together.

    Raises:
        ConfigurationError: an empty name, one that is nothing known, or a baseline's for a saved predictor.
    """
    locations: dict[str, list[str | None]] = {}
    for name in (part.strip() for part in names.split(",")):
        label, equals, location = name.partition("=")
        if equals and label and location and label not in BASELINES:
            locations.setdefault(label, []).append(location)
        elif name in BASELINES:
            locations[name] = []
        elif name == "lookahead":
            locations.setdefault(name, []).append(None)
        elif name and not equals and (Path(name).is_dir() or is_repo_id(name)):
            locations.setdefault(Path(name).name, []).append(name)
        else:
            raise ConfigurationError(
                f"--predictors: {name!r} is none of lookahead, {', '.join(BASELINES)}, a folder here, org/name, or "
                "LABEL=LOCATION with a label that is no baseline"
            )
    return [
        Entry(label, baseline=label) if not places else Entry(label, locations=tuple(places))
        for label, places in locations.items()
    ]


def choose_rows(dataset: RoutingDataset, split: str, sources: Sequence[str] | None) -> RoutingDataset:
    """The rows of a split, or all of them, and of the named benchmarks, or all.

    Raises:
        DataError: none is left; says which there are.
    """
    rows = dataset if split == "all" else dataset.filter(split=split)
    return RoutingDataset.concatenate([rows.filter(source=name) for name in sources]) if sources else rows


def _material(
    name: str, location: str, split: str, sources: Sequence[str] | None, fit: RoutingDataset | None
) -> Material:
    dataset = RoutingDataset.from_file(location)
    learnt_from = dataset if fit is None else fit

    def part(name: str) -> RoutingDataset | None:
        return learnt_from.filter(split=name) if name in learnt_from.splits and (fit or split != name) else None

    train = part("train")
    if fit is not None and train is None:
        train = fit  # a file of nothing but training rows names no split
    return Material(name, split, choose_rows(dataset, split, sources), train, part("validation"))


@contextmanager
def _progress() -> Iterator[Callable[[str, float], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("reading", total=1.0)
        yield lambda step, share: progress.update(task, description=step, completed=share)
