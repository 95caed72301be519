"""The folder of an `OpenPoolPredictor`: that of any saved predictor, with population, catalogue and profiles.

profiles.npz     the population; mean, covariance and lengths of every entry, and of the pool where they are its own
catalogue.json   the entries, the pool's matches, the date of the prices, and the weights that the profiles belong to
"""

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from lookahead_router.errors import CheckpointError, ConfigurationError, PredictionError
from lookahead_router.predictors.catalogue import (
    FACTS,
    Catalogue,
    CatalogueEntry,
    Match,
    entries_from_json,
    entries_to_json,
)
from lookahead_router.predictors.code_reading import CodeReading
from lookahead_router.predictors.network import open_network
from lookahead_router.predictors.open_pool import Foreseer, Member, OpenPoolPredictor
from lookahead_router.predictors.profiles import Population, Profile
from lookahead_router.saved.find import Found
from lookahead_router.saved.folder import WEIGHTS, FileRecord, PredictorFolder, record_file
from lookahead_router.types import CandidatePool

_ARRAYS = tuple(field.name for field in fields(Population))
ORDINARY = "ordinary"
"""Of these the one that a folder may lack."""


def from_found(found: Found) -> OpenPoolPredictor:
    """The predictor of a folder that was found; see `OpenPoolPredictor.load`."""
    folder = found.folder
    with folder.named_in_errors():
        network = open_network(found, "open-pool")
        record = folder.read_json(folder.catalogue)
        if network.weights_sha256 not in (record.get("weights") or ()):
            raise CheckpointError(
                f"the profiles belong to another network than the weights of {network.backend.name}; fit them on its "
                "demands, or fetch the folder again",
                location=folder.location,
            )
        arrays = read_arrays(folder)
        population, catalogue, members = read_profiles(folder, record, arrays)
        code = _code_reading(arrays)
        if code is not None and len(code.tokens) != network.tokenizer.n_tokens:
            raise CheckpointError(
                f"profiles.npz weighs {len(code.tokens):,} tokens, the tokenizer has {network.tokenizer.n_tokens:,}: "
                "they belong to another network",
                location=folder.location,
            )
        foresee = Foreseer(network.tokenizer, network.backend, code)
        if not folder.is_installed:
            _try(foresee, population, folder)
    return OpenPoolPredictor(
        foresee=foresee,
        population=population,
        catalogue=catalogue,
        members=members,
        name=network.name,
        base_revision=network.revision,
        found=found,
    )


def _try(foresee: Foreseer, population: Population, folder: PredictorFolder) -> None:
    """Raises `CheckpointError` for weights that give nothing which the population reads: now, not at a prompt."""
    try:
        foreseen, _ = foresee(["a"])
    except PredictionError as error:
        raise CheckpointError(str(error), location=folder.location) from error
    widths = foreseen.demands.shape[1], foreseen.embedding.shape[1]
    expected = population.n_abilities - 1, len(population.center)
    if widths != expected:
        raise CheckpointError(
            f"the network gives {widths[0]} demands and embeddings of {widths[1]} numbers, the profiles read "
            f"{expected[0]} and {expected[1]}: they belong to another network",
            location=folder.location,
        )


def read_profiles(
    folder: PredictorFolder,
    record: Mapping[str, Any] | None = None,
    arrays: Mapping[str, np.ndarray] | None = None,
) -> tuple[Population, Catalogue, list[Member]]:
    """What `profiles.npz` and `catalogue.json` hold; no network is loaded.

    Args:
        folder: of the predictor.
        record: what `catalogue.json` holds, where that is known.
        arrays: what `profiles.npz` holds, where that is known.

    Raises:
        CheckpointError: a file is damaged, or they do not belong together.
    """
    record = folder.read_json(folder.catalogue) if record is None else record
    arrays = read_arrays(folder) if arrays is None else arrays
    try:
        return _parts(record, arrays, folder.read_pool())
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise CheckpointError(
            f"catalogue.json and profiles.npz do not belong together ({error}); fetch them again",
            location=folder.location,
        ) from error


def read_arrays(folder: PredictorFolder) -> dict[str, np.ndarray]:
    """What `profiles.npz` holds.

    Raises:
        CheckpointError: the file is damaged.
    """
    try:
        with folder.profiles.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            found = {name: array.astype(np.float64) for name, array in arrays.items()}
    except (OSError, ValueError, EOFError, BadZipFile, KeyError) as error:
        raise CheckpointError(f"profiles.npz cannot be read: {error}", location=folder.location) from error
    broken = [name for name, array in found.items() if not np.isfinite(array).all()]
    if broken:
        raise CheckpointError(f"profiles.npz: {', '.join(broken)} not finite", location=folder.location)
    return found


def _code_reading(arrays: Mapping[str, np.ndarray]) -> CodeReading | None:
    """What tells whether code is asked for; `None` where the population knows no such demand."""
    if "code.bias" not in arrays:
        return None
    return CodeReading(arrays["code.embedding"], arrays["code.tokens"], float(arrays["code.bias"]))


def _parts(
    record: Mapping[str, Any], arrays: Mapping[str, np.ndarray], pool: CandidatePool
) -> tuple[Population, Catalogue, list[Member]]:
    given = {
        name: arrays[f"population.{name}"] for name in _ARRAYS if name != ORDINARY or f"population.{name}" in arrays
    }
    given = {name: float(value) if value.ndim == 0 else value for name, value in given.items()}
    pairs = {name: tuple(given[name].tolist()) for name in ("reach", "verbosities")}
    population = Population(**{**given, **pairs})
    entries = entries_from_json(record["entries"])
    _check_shapes(population, arrays, len(entries))
    covariances = _unpacked(arrays["covariances"])
    profiles = [
        Profile(arrays["means"][k], covariances[k], arrays["lengths"][k], entry.n_answers, is_known=True)
        for k, entry in enumerate(entries)
    ]
    catalogue = Catalogue(entries, profiles, prices_as_of=record.get("prices_as_of", ""))
    by_name = {entry.name: entry for entry in entries}
    members = [
        _member(candidate, about, k, by_name, catalogue, arrays)
        for k, (candidate, about) in enumerate(zip(pool, record["pool"], strict=True))
    ]
    return population, catalogue, members


def _check_shapes(population: Population, arrays: Mapping[str, np.ndarray], n_entries: int) -> None:
    """Raises `ValueError` for an array whose shape does not go with the others'."""
    width, (H, n_components) = population.n_abilities, population.components.shape
    expected = {
        "population.covariance": (width, width),
        "population.regression": (min(len(population.regression), len(FACTS)), width),
        "population.lengths": (2,),
        "population.lengths_covariance": (2, 2),
        "population.center": (H,),
        "population.anchors": (len(population.anchors), H),
        **({} if population.ordinary is None else {"population.ordinary": (len(population.ordinary), width + 3)}),
        "means": (n_entries, width),
        "covariances": (n_entries, width * (width + 1) // 2),
        "lengths": (n_entries, 2),
    }
    if any(name.startswith("code.") for name in arrays):
        expected |= {"code.embedding": (H,), "code.tokens": (arrays["code.tokens"].size,), "code.bias": ()}
    for name, mean in arrays.items():
        if name.startswith("pool.") and name.endswith(".mean"):
            own = width + n_components if len(mean) > width else width
            place = name.removesuffix("mean")
            expected |= {name: (own,), f"{place}covariance": (own, own), f"{place}lengths": (2,)}
    wrong = [name for name, shape in expected.items() if arrays[name].shape != shape]
    if wrong:
        raise ValueError(f"{wrong[0]} has the shape {arrays[wrong[0]].shape}, expected {expected[wrong[0]]}")


def _member(candidate, about: Mapping[str, Any], k: int, by_name: Mapping[str, CatalogueEntry], catalogue, arrays):
    match = Match(candidate.name, by_name[about["entry"]] if about.get("entry") else None, about["how"])
    if about.get("is_public"):
        return Member(candidate, catalogue.profile(match.entry), match)
    profile = Profile(
        arrays[f"pool.{k}.mean"],
        arrays[f"pool.{k}.covariance"],
        arrays[f"pool.{k}.lengths"],
        int(about["n_answers"]),
        is_known=bool(about["is_known"]),
        origin=about["origin"],
    )
    return Member(candidate, profile, match)


def arrays_of(
    population: Population,
    catalogue: Catalogue,
    members: "list[Member] | tuple[Member, ...]",
    code: CodeReading | None = None,
) -> dict:
    """What `profiles.npz` holds: the catalogue in half and single precision, the pool's own profiles in double."""
    known = {name: value for name in _ARRAYS if (value := getattr(population, name)) is not None}
    arrays = {f"population.{name}": np.asarray(value) for name, value in known.items()}
    for name in known.keys() & {"components", "anchors", "center", ORDINARY}:
        arrays[f"population.{name}"] = arrays[f"population.{name}"].astype(np.float16)
    if code is not None:
        parts = {"embedding": code.embedding, "tokens": code.tokens, "bias": np.array(code.bias)}
        arrays |= {f"code.{name}": part.astype(np.float16) for name, part in parts.items()}
    arrays["means"] = np.stack([profile.mean for profile in catalogue.profiles]).astype(np.float32)
    arrays["covariances"] = _packed(np.stack([p.covariance for p in catalogue.profiles])).astype(np.float32)
    arrays["lengths"] = np.stack([profile.lengths for profile in catalogue.profiles]).astype(np.float32)
    for k, member in enumerate(members):
        if not _is_public(member, catalogue):
            for name in ("mean", "covariance", "lengths"):
                arrays[f"pool.{k}.{name}"] = getattr(member.profile, name)
    return arrays


def record_of(catalogue: Catalogue, members, weights: list[str], prices_as_of: str) -> dict[str, Any]:
    """What `catalogue.json` holds."""
    pool = [
        {
            "entry": None if member.match.entry is None else member.match.entry.name,
            "how": member.match.how,
            "is_public": _is_public(member, catalogue),
            "n_answers": member.profile.n_answers,
            "is_known": member.profile.is_known,
            "origin": member.profile.origin,
        }
        for member in members
    ]
    entries = entries_to_json(catalogue.entries)
    return {"weights": weights, "prices_as_of": prices_as_of, "pool": pool, "entries": entries}


def write_profiles(
    folder: Path,
    population: Population,
    catalogue: Catalogue,
    members,
    prices_as_of: str,
    code: CodeReading | None = None,
) -> None:
    """Writes `profiles.npz` and `catalogue.json` for the weights that are in the folder."""
    target = PredictorFolder(folder)
    present = [path for path in map(target.path.joinpath, WEIGHTS.values()) if path.is_file()]
    with target.profiles.open("wb") as file:
        # Noise of half precision is no smaller packed.
        np.savez(file, **arrays_of(population, catalogue, members, code))
    record = record_of(catalogue, members, [record_file(path).sha256 for path in present], prices_as_of)
    target.catalogue.write_text(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def save(predictor: OpenPoolPredictor, folder: Path) -> None:
    """Copies network and catalogue, and writes the pool's profiles; see `OpenPoolPredictor.save`."""
    source = _source(predictor)
    config, catalogue = source.read_config(), predictor.catalogue
    written = {path.name for path in (source.pool, source.profiles, source.catalogue)}
    with source.copied(folder, [name for name in source.names() if name not in written]) as copy:
        as_of, code = catalogue.prices_as_of, predictor.foresee.code
        write_profiles(copy.path, predictor.population, catalogue, predictor.members, as_of, code)
        copy.write(config, predictor.pool)


def network_files(predictor: OpenPoolPredictor) -> dict[str, FileRecord]:
    """Sizes and hashes of tokenizer and weights in the folder that the predictor came from, by name."""
    source = _source(predictor)
    recorded = source.read_config().files
    names = [path.relative_to(source.path).as_posix() for path in (source.tokenizer, source.onnx_int8, source.onnx)]
    return {name: recorded[name] for name in names if name in recorded}


def _source(predictor: OpenPoolPredictor) -> PredictorFolder:
    """The folder that the predictor came from."""
    if predictor.found is None:
        raise ConfigurationError("this predictor was not loaded from a folder, so there is no network to copy")
    source = predictor.found.folder
    source.check()
    return source


def _is_public(member: Member, catalogue: Catalogue) -> bool:
    return member.match.entry is not None and member.profile is catalogue.profile(member.match.entry)


def _packed(matrices: np.ndarray) -> np.ndarray:
    """`(K, D, D)` symmetric -> `(K, D (D + 1) / 2)`."""
    rows, columns = np.triu_indices(matrices.shape[1])
    return matrices[:, rows, columns]


def _unpacked(packed: np.ndarray) -> np.ndarray:
    width = int((np.sqrt(8 * packed.shape[1] + 1) - 1) / 2)
    rows, columns = np.triu_indices(width)
    matrices = np.zeros((len(packed), width, width))
    matrices[:, rows, columns] = packed
    matrices[:, columns, rows] = packed
    return matrices
