"""`lookahead-router fit`: from scored answers to a router, with what it would have saved."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lookahead_router.cli._options import CandidatesOption, JsonOption, parse_candidates, split_names
from lookahead_router.cli._output import UNKNOWN, note, progress, show, show_json, show_table
from lookahead_router.cli._scored import SCORED_HELP, read_scored
from lookahead_router.errors import ConfigurationError
from lookahead_router.extras import require
from lookahead_router.files import check_folder

if TYPE_CHECKING:
    from lookahead_router.data.dataset import RoutingDataset
    from lookahead_router.evaluation.fit import FitResult
    from lookahead_router.evaluation.fit_choice import Measured, Setting
    from lookahead_router.training.recipe import Recipe

_EXAMPLE = "What can I cook with rice, eggs and spinach?"


def fit(
    scored: Annotated[list[str], typer.Argument(help=f"{SCORED_HELP} Several are taken together.")],
    output: Annotated[Path, typer.Option(help="Folder that the router is written to.")],
    pool: Annotated[Path | None, typer.Option(help="pool.yaml with the candidates' prices and profiles.")] = None,
    candidates: CandidatesOption = None,
    quality: Annotated[
        float | None,
        typer.Option(
            help="Share of the best single candidate's mean score to keep, as cheaply as it allows; the best if absent."
        ),
    ] = None,
    predictors: Annotated[
        str | None,
        typer.Option(
            help="Kinds to try, with commas between; profiles, knn, classifier, rule, and documents where "
            "prompts were answered with passages and without, if absent."
        ),
    ] = None,
    router: Annotated[
        str | None, typer.Option(help="Predictor for any pool to start from; the embedded one if absent.")
    ] = None,
    folds: Annotated[int, typer.Option(min=2, help="Folds of the cross-validation.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of folds, intervals and fits.")] = 0,
    report: Annotated[
        Path | None, typer.Option(help="Folder for report.html, report.md and report.json; OUTPUT-report if absent.")
    ] = None,
    train: Annotated[
        Path | None,
        typer.Option(help="Recipe of a Lookahead network to train as well and compare; for thousands of prompts."),
    ] = None,
    backbone: Annotated[str | None, typer.Option(help="Folder to load the recipe's backbone from.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a router from scored answers, if routing beats the best single candidate on prompts it was not fitted on.

    Profiles of the embedded predictor are fitted, and others beside them; what foresees best by cross-validation is
    fitted on all prompts and written. Where nothing beats the best single candidate, the router sends all to that one.
    """
    report = report or Path(f"{output}-report")
    _check(output, report)
    recipe = None if train is None else _recipe(train)
    from lookahead_router.evaluation import fit as fitting

    with progress("reading answers") as update:
        answers = read_scored(scored)
        names, profiles = _candidates(pool, candidates, answers)
        result = fitting.fit(
            answers, candidates=names, profiles=profiles, quality=quality, n_folds=folds, seed=seed,
            predictors=None if predictors is None else split_names(predictors),
            start=_start(router), on_progress=update,
        )  # fmt: skip
        update("writing", None)
        result.save(output)
        result.write_report(report)
    record = {"output": str(output), "report": str(report), **result.to_dict()}
    if not as_json:
        _show(result, output, report)
    if recipe is not None:
        record |= _network(answers, recipe, Path(f"{output}-network"), backbone, _start(router), not as_json)
    if as_json:
        show_json(record)


def _recipe(path: Path) -> "Recipe":
    from lookahead_router.cli._training import read_training

    return read_training(path)


def _network(answers, recipe: "Recipe", folder: Path, backbone: str | None, start, is_shown: bool) -> dict:
    """Trains a network beside the router, shows how it does, and gives the facts."""
    from lookahead_router.cli._tables import print_comparison
    from lookahead_router.cli._training import train_beside

    found = train_beside(answers, recipe, folder, backbone, start)
    if is_shown:
        print_comparison(found)
        show(f"Next: lookahead-router export {shlex.quote(str(folder / 'predictor'))} --data ANSWERS")
    return {"network": str(folder / "predictor"), "network_comparison": found.to_dict()}


def _check(output: Path, report: Path) -> None:
    """Raises, before all the work, where a folder is taken or cannot be written, or a package is missing."""
    for module in ("matplotlib", "sklearn"):
        require(module, "eval")
    from lookahead_router.predictors.fitted.base import holds_nothing_else
    from lookahead_router.saved.folder import PredictorFolder

    if output.exists() and not (PredictorFolder(output).holds_nothing_else() or holds_nothing_else(output)):
        raise ConfigurationError(f"{output} exists and holds more than a saved predictor; choose another folder")
    for folder in (output, report):
        check_folder(folder)


def _candidates(pool: Path | None, candidates: str | None, answers: "RoutingDataset"):
    """The candidates and the profiles that they start from, as `fit` takes them.

    Of a pool file those without any answer are left out: they were set aside, or are new.
    """
    if pool is not None and candidates is not None:
        raise ConfigurationError("--pool names the candidates; leave out --candidates")
    if pool is not None:
        from lookahead_router.live.pool import PoolConfig

        config = PoolConfig.load(pool)
        found = [each for each in config.pool() if each.name in answers.pool.names]
        left = [each.name for each in config.pool() if each.name not in answers.pool.names]
        if not found:
            raise ConfigurationError(
                f"no candidate of {pool} is among the answers, which are of {', '.join(answers.pool.names)}"
            )
        if left:
            note(f"warning: no answer of {', '.join(left)} is scored; left out of the router")
        return found, {name: of for name, of in config.profiles().items() if name not in left}
    if candidates is None:
        return None, None
    known = parse_candidates(candidates)
    return list(known), {name: of for name, of in known.items() if of != name}


def _start(location: str | None):
    if location is None:
        return None
    from lookahead_router.router import Router

    return Router.from_pretrained(location)


def _show(result: "FitResult", output: Path, report: Path) -> None:
    rows = [("best single", f"{100 * result.best_single_score:.1f}", _thousand(result.best_single_usd), UNKNOWN)]
    rows += [(_name(each), *_figures(each)) for each in result.settings if _is_shown(each, result)]
    rows.append(("to be expected", *_figures(result.outlook)))
    show_table(("quality to keep", "score", "USD per 1,000", "saved in %"), rows)
    show(result.verdict)
    for each in result.notes:
        show(f"{each}.")
    show(
        f"Figures are of {result.n_compared} prompts, each foreseen by fits on others, with 95 % intervals. Of several "
        "settings the one that looks best had luck as well; what is to be expected is of settings chosen without the "
        f"prompt. Chosen: {result.chosen}. More in {report / 'report.html'}"
    )
    quality = None if result.setting is None else result.setting.quality
    option = "" if quality is None else f" --quality {quality:g}"
    if quality is not None:
        kept = result.outlook.score.value / max(result.best_single_score, 1e-12)
        show(
            f"The router's --quality {quality:g} counts prompt by prompt: the cheapest candidate is taken whose chance "
            f"is {100 * quality:g} % of the best one's or more. Over all prompts that is to keep {100 * kept:.0f} % of "
            f"the score of {result.best_single}."
        )
    show(f"Next: lookahead-router route --router {shlex.quote(str(output))}{option} {shlex.quote(_EXAMPLE)}")


def _is_shown(setting: "Setting", result: "FitResult") -> bool:
    return setting is result.setting or setting.quality in (None, 0.98, 0.95, 0.9, 0.8)


def _name(setting: "Setting") -> str:
    return "the best" if setting.quality is None else f"{100 * setting.quality:g} %"


def _figures(setting: "Measured") -> tuple[str, str, str]:
    score, saved = setting.score, setting.saved
    return (
        f"{100 * score.value:.1f} [{100 * score.low:.1f}, {100 * score.high:.1f}]",
        _thousand(setting.usd_per_prompt),
        UNKNOWN if saved is None else f"{100 * saved.value:.0f} [{100 * saved.low:.0f}, {100 * saved.high:.0f}]",
    )


def _thousand(usd: float | None) -> str:
    return UNKNOWN if usd is None else f"{1000 * usd:.3g}"
