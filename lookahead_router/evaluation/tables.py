"""A comparison as sections of plain text and figures in words, for any renderer."""

from dataclasses import dataclass

from lookahead_router.escaping import to_terminal
from lookahead_router.evaluation.results import ComparisonReport, DatasetResult, PredictorResult, Reference
from lookahead_router.metrics import Interval

UNKNOWN = "–"


@dataclass(frozen=True)
class Section:
    """A piece of a report. All text is unescaped; renderers escape it."""

    title: str
    text: str = ""
    figure: str | None = None
    """Name in `figures.FIGURES`."""
    head: tuple[str, ...] = ()
    """Heads of the table's columns; empty without a table."""
    rows: tuple[tuple[str, ...], ...] = ()
    is_text: bool = False
    """Whether all columns are text, not the first alone."""


def sections(result: DatasetResult) -> tuple[Section, ...]:
    """All that there is to say about one dataset; tables without a row are left out."""
    found = (
        predictors(result),
        benchmarks(result),
        references(result),
        dollars(result),
        candidates(result),
        shares(result),
        against_best_single(result),
        choices(result),
        Section("Leakage", leakage(result)),
        failures(result),
    )
    return tuple(section for section in found if section.rows or not section.head)


def about(report: ComparisonReport) -> str:
    """How the comparison was made."""
    return (
        f"Policy {label(report.policy)}. Intervals are 95 % percentile bootstrap of {report.n_resamples:,} resamples, "
        f"the same ones for every predictor. lookahead-router {report.library_version}, {report.seconds:.0f} s."
    )


def about_dataset(result: DatasetResult) -> str:
    """What was compared on."""
    left_out = f", {result.n_unscored:,} more left out for want of a score" if result.n_unscored else ""
    single = f" Best single candidate: {label(result.best_single)}." if result.best_single is not None else ""
    compared = f" Differences are to {label(result.reference)}." if len(measured(result)) > 1 else ""
    return (
        f"Split {label(result.split)}, fingerprint {result.fingerprint}: {sum(result.n_prompts.values()):,} prompts of "
        f"{len(result.n_prompts)} benchmarks{left_out}.{compared}{single}"
    )


def predictors(result: DatasetResult) -> Section:
    """Quality of every predictor, and where there are several, paired differences."""
    is_compared = len(measured(result)) > 1
    rows = [
        (
            one.predictor,
            interval(one.average),
            *((interval(one.minus_reference),) if is_compared else ()),
            number(one.score, 3),
            number(one.hit_rate, 3),
            number(one.regret, 3),
            number(one.gap_recovered, 2),
        )
        for one in measured(result)
    ]
    head = ["predictor", "average [95 %]"]
    if is_compared:
        head.append(f"minus {result.reference} [95 %, paired]")
    return Section(
        "Predictors",
        "Average normalised score: 0 is a random candidate, 100 the best one of every prompt.",
        figure="average",
        head=(*head, "score", "hit rate", "regret", "gap recovered"),
        rows=tuple(rows),
    )


def benchmarks(result: DatasetResult) -> Section:
    """Normalised score of every predictor and reference on each benchmark."""
    rows = [(one.predictor, one.by_source) for one in measured(result)]
    ends = (Reference.RANDOM, Reference.ORACLE)  # 0 and 100 everywhere
    rows += [(one.reference, one.by_source) for one in result.references if one.reference not in ends]
    return Section(
        "Benchmarks",
        "Normalised score [95 %].",
        figure="benchmarks",
        head=("predictor", *(f"{label(source)} ({n:,})" for source, n in result.n_prompts.items())),
        rows=tuple((name, *(interval(found.get(source)) for source in result.n_prompts)) for name, found in rows),
    )


def references(result: DatasetResult) -> Section:
    """Reference lines: random, best single, best per benchmark in hindsight, oracle."""
    rows = [
        (one.reference, interval(one.average), number(one.score, 3), thousand(one.mean_usd))
        for one in result.references
    ]
    return Section(
        "References", head=("reference line", "average [95 %]", "score", "USD per 1,000 prompts"), rows=tuple(rows)
    )


def candidates(result: DatasetResult) -> Section:
    """Each candidate for all prompts."""
    rows = [
        (one.candidate, number(one.average), number(one.score, 3), thousand(one.mean_usd)) for one in result.candidates
    ]
    head = ("candidate", "average", "score", "USD per 1,000 prompts")
    return Section("Candidates", "Each of them for all prompts.", head=head, rows=tuple(rows))


def dollars(result: DatasetResult) -> Section:
    """What routing costs, and saves at the quality of the best single candidate; empty where no costs are known."""
    priced = [one for one in measured(result) if one.cost is not None]
    qualities = list(priced[0].cost.saved) if priced else []
    is_compared = len(priced) > 1
    head = ["predictor", "USD per 1,000 prompts", "score at the best single candidate's USD", "area under frontier"]
    for quality in qualities:
        head.append(f"saved at {100 * float(quality):g} % quality [95 %]")
        if is_compared:
            head.append(f"minus {result.reference} [95 %, paired]")
    rows = []
    for one in priced:
        row = [one.predictor, thousand(one.cost.mean_usd)]
        row += [number(100 * one.cost.score_at_best_single_usd), number(one.cost.area, 3)]
        for quality in qualities:
            gaps = one.cost.saved_minus_reference or {}
            saved = percent(one.cost.saved[quality]) if one.cost.is_reached[quality] else "not reached"
            row += [saved, percent(gaps.get(quality))] if is_compared else [saved]
        rows.append(tuple(row))
    text = (
        "Under the policy; then the share of the best single candidate's dollars that is saved where score per dollar "
        "is weighed so that its quality, or nearly, is kept. Not reached counts as nothing saved. "
        "In the figure, dots are predictors under the policy, and squares are candidates."
    )
    return Section("Dollars", text, figure="cost-quality", head=tuple(head), rows=tuple(rows))


def shares(result: DatasetResult) -> Section:
    """Where every predictor sends all prompts."""
    names = [one.candidate for one in result.candidates]
    rows = [(one.predictor, *(number(100 * one.shares[name]) for name in names)) for one in measured(result)]
    return Section("Shares", "Prompts in %.", figure="shares", head=("predictor", *names), rows=tuple(rows))


def against_best_single(result: DatasetResult) -> Section:
    """On how many prompts a choice is better than, as good as, or worse than the best single candidate."""
    rows = []
    for one in measured(result):
        n_prompts = sum(n for _, n, *_ in one.against_best_single)
        if n_prompts:
            columns = list(zip(*one.against_best_single, strict=True))
            won_tied_lost = (
                sum(n * part for n, part in zip(columns[1], column, strict=True)) for column in columns[2:]
            )
            rows.append((one.predictor, *(number(100 * total / n_prompts) for total in won_tied_lost)))
    return Section(
        "Against the best single candidate",
        "Prompts in %. The figure tells them apart by how many candidates are right.",
        figure="win-tie-loss",
        head=("predictor", "won", "tied", "lost"),
        rows=tuple(rows),
    )


def choices(result: DatasetResult) -> Section:
    """How predictors choose, how well they are calibrated, and how long they take."""
    rows = [
        (
            one.predictor,
            number(one.model_recall, 3),
            number(one.collapse_index, 3),
            number(one.calibration and one.calibration.error, 3),
            number(one.fit_seconds, 2),
            number(one.predict_seconds, 2),
            " / ".join(number(seed) for seed in one.seeds),
        )
        for one in measured(result)
    ]
    head = ("model recall", "collapse index", "calibration error", "fit, s", "predict, s", "average of each seed")
    return Section(
        "Choices",
        "Calibration and seconds are of the first seed; seconds without embeddings that are kept.",
        figure="calibration",
        head=("predictor", *head),
        rows=tuple(rows),
    )


def failures(result: DatasetResult) -> Section:
    """Predictors without a result, and why."""
    rows = [(one.predictor, one.error) for one in result.predictors if one.error is not None]
    return Section("Failed", head=("predictor", "error"), rows=tuple(rows), is_text=True)


def leakage(result: DatasetResult) -> str:
    """How many evaluation prompts stand in the training split."""
    found = result.leakage
    if found is None:
        return "Not looked for."
    exact = f"Of {sum(result.n_prompts.values()):,} prompts, {found.n_exact:,} stand in the training split too"
    if found.n_near is None:
        return f"{exact}; for those that nearly do, install lookahead-router[eval]."
    return f"{exact}, and {found.n_near:,} more nearly so (cosine of word three-grams of at least {found.threshold:g})."


def measured(result: DatasetResult) -> list[PredictorResult]:
    """The predictors that have a result."""
    return [one for one in result.predictors if one.average is not None]


def label(text: str | None) -> str:
    """One printable line, or a dash; names are the users' own."""
    return to_terminal(text or "") or UNKNOWN


def number(value: float | None, digits: int = 1) -> str:
    """Rounded, never to -0.0; a dash where it is unknown."""
    return UNKNOWN if value is None or value != value else f"{round(value, digits) + 0.0:.{digits}f}"


def interval(value: Interval | None, unit: str = "") -> str:
    """`63.4 [54.3, 72.0]`; a dash where it is unknown."""
    if value is None or value.value != value.value:
        return UNKNOWN
    return f"{number(value.value)}{unit} [{number(value.low)}, {number(value.high)}]"


def percent(share: Interval | None) -> str:
    """`63.4 % [54.3, 72.0]`; a dash where it is unknown."""
    return interval(None if share is None else Interval(*(100 * part for part in share)), " %")


def thousand(usd: float | None) -> str:
    """Dollars of 1,000 prompts from those of one, to three digits; a dash where they are unknown."""
    if usd is None or usd != usd:
        return UNKNOWN
    return f"{1000 * usd:,.0f}" if usd >= 0.1 else f"{1000 * usd:#.3g}"
