"""The layout of a saved predictor, described once.

    config.json              what it is: format version, network, backbone, hashes of the files below
    pool.json                the candidates, in column order
    tokenizer.json           the backbone's tokenizer
    model.safetensors        torch weights; a folder without them routes only
    onnx/model.onnx          the routing graph in fp32
    onnx/model_int8.onnx     the same, dynamically quantised; the default for routing
    onnx/static.onnx         word vectors that foresee what the network does, without a transformer; for any pool
    calibration.json         maps scores to probabilities, once calibrated
    profiles.npz             population and profiles, of a predictor for any pool
    catalogue.json           whose profiles they are, of the same
    README.md                the model card
    training.json            resolved recipe, data fingerprint, seed and validation figures
    evaluation.json          parity, and results on data that trained nothing, for the card
    card.json                what else the card says: licence, terms, limits
    .eval_results/lookahead-router.yaml   some of them, as the benchmark pages of the Hub read them

A folder holds at least one of the four weight files. There is no pickle and no code in it.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from lookahead_router.checks import mapping, one_of, settle, strict, text, whole
from lookahead_router.errors import CheckpointError, ConfigurationError
from lookahead_router.files import read_json, replacing_folder, write_text
from lookahead_router.types import CandidatePool

FORMAT_VERSION = 1
"""Raised when a folder of the new layout cannot be read by the code before it."""
PRETRAINED = Path(__file__).parent.parent / "pretrained"
"""The embedded predictors."""
WEIGHTS = {
    "onnx-int8": "onnx/model_int8.onnx",
    "onnx": "onnx/model.onnx",
    "torch": "model.safetensors",
    "static": "onnx/static.onnx",
}
"""The file that each backend runs, in the order of preference."""
BACKENDS = ("auto", *WEIGHTS)
_SHA256 = re.compile("[0-9a-f]{64}")


def _sha256(value: object) -> str:
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise ValueError("expected 64 hex digits")
    return value


@strict
@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """Size and hash of a file, checked before it is loaded."""

    size_bytes: int
    sha256: str

    def __post_init__(self) -> None:
        settle(self, size_bytes=whole(0), sha256=_sha256)


def _files(value: object) -> dict[str, FileRecord]:
    """Only names that stay within the folder."""
    found = {}
    for name, record in mapping(value).items():
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ValueError("a name that leaves the folder")
        try:
            found[name] = record if isinstance(record, FileRecord) else FileRecord(**mapping(record))
        except ConfigurationError as error:
            place = str(error).removeprefix("FileRecord: ")
            raise ConfigurationError(f"PredictorConfig: files.{name}.{place}") from None
    return found


@strict
@dataclass(frozen=True, kw_only=True)
class PredictorConfig:
    """What `config.json` holds."""

    format_version: int
    predictor: Literal["lookahead", "open-pool"] = "lookahead"
    name: str
    library_version: str
    network: dict[str, Any]
    """The network's configuration; `networks/configuration.py` knows its fields."""
    files: dict[str, FileRecord] = field(default_factory=dict)

    def __post_init__(self) -> None:
        settle(
            self,
            format_version=whole(1),
            predictor=one_of("lookahead", "open-pool"),
            name=text,
            library_version=text,
            network=mapping,
            files=_files,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {**vars(self), "files": {name: dict(vars(record)) for name, record in self.files.items()}}


@dataclass(frozen=True)
class PredictorFolder:
    """Where the parts of a saved predictor lie."""

    path: Path
    root: Path | None = None
    """What links may point into; the folder itself when absent."""
    commit: str | None = None
    """The commit of the repository that it came from, where it did."""
    name: str | None = None
    """What messages call it; the path when absent."""

    @property
    def location(self) -> str:
        return self.name or str(self.path)

    @property
    def is_installed(self) -> bool:
        """Whether it is in the package, whose files the installer has checked: a start need not do so again."""
        return self.path.parent == PRETRAINED

    @property
    def config(self) -> Path:
        return self.path / "config.json"

    @property
    def pool(self) -> Path:
        return self.path / "pool.json"

    @property
    def tokenizer(self) -> Path:
        return self.path / "tokenizer.json"

    @property
    def weights(self) -> Path:
        return self.path / "model.safetensors"

    @property
    def onnx(self) -> Path:
        return self.path / "onnx" / "model.onnx"

    @property
    def onnx_int8(self) -> Path:
        return self.path / "onnx" / "model_int8.onnx"

    @property
    def static(self) -> Path:
        return self.path / "onnx" / "static.onnx"

    @property
    def calibration(self) -> Path:
        return self.path / "calibration.json"

    @property
    def profiles(self) -> Path:
        return self.path / "profiles.npz"

    @property
    def catalogue(self) -> Path:
        return self.path / "catalogue.json"

    @property
    def card(self) -> Path:
        return self.path / "README.md"

    @property
    def training(self) -> Path:
        return self.path / "training.json"

    @property
    def evaluation(self) -> Path:
        return self.path / "evaluation.json"

    @property
    def card_settings(self) -> Path:
        return self.path / "card.json"

    @property
    def hub_results(self) -> Path:
        return self.path / ".eval_results" / "lookahead-router.yaml"

    @contextmanager
    def named_in_errors(self) -> Iterator[None]:
        """Errors of the block call the folder by its name, where it has one, instead of a path in some cache."""
        try:
            yield
        except CheckpointError as error:
            place = error.location or ""
            if self.name is None or not place.startswith(str(self.path)):
                raise
            message = str(error).removeprefix(f"{place}: ")
            raise CheckpointError(message, location=self.name, missing=error.missing) from error

    def names(self) -> tuple[str, ...]:
        """The names of all files of the layout, there or not."""
        parts = (
            self.config, self.pool, self.tokenizer, self.weights, self.onnx, self.onnx_int8, self.static,
            self.calibration, self.profiles, self.catalogue, self.card, self.training, self.evaluation,
            self.card_settings, self.hub_results,
        )  # fmt: skip
        return tuple(path.relative_to(self.path).as_posix() for path in parts)

    def files(self) -> list[Path]:
        """The layout's files that are there."""
        return [path for name in self.names() if (path := self.path / name).is_file()]

    def check(self, *, needs_weights: bool = True) -> None:
        """Raises `CheckpointError` with what is missing, unless the folder can be loaded."""
        if not self.path.is_dir():
            what = "it is a file, and no folder" if self.path.is_file() else "no such folder"
            raise CheckpointError(
                f"{what}; pass the folder of a saved predictor, or nothing for the embedded one",
                location=self.location,
            )
        root = (self.root or self.path).resolve()
        parents = (self.onnx.parent, self.hub_results.parent)  # which are written into
        dangling = [path for path in parents if path.is_symlink() and not path.exists()]
        links = [path for path in (*self.files(), *parents) if not path.resolve().is_relative_to(root)]
        strays = [path.name for path in dict.fromkeys((*links, *dangling))]
        if strays:
            raise CheckpointError(
                f"{', '.join(strays)}: a link that leaves the folder or leads nowhere; copy the file itself",
                location=self.location,
            )
        missing = [path.name for path in (self.config, self.pool, self.tokenizer) if not path.is_file()]
        if needs_weights and not any((self.path / name).is_file() for name in WEIGHTS.values()):
            missing.append("model.safetensors or onnx/model.onnx or onnx/model_int8.onnx")
        if missing:
            raise CheckpointError(
                f"not a saved predictor: missing {', '.join(missing)}", location=self.location, missing=missing
            )

    def choose_weights(self, backend: str) -> tuple[Path, str]:
        """The file of weights that a backend runs, and its name; for `auto`, the first that is there.

        Raises:
            CheckpointError: it is not there.
        """
        if backend == "auto":
            backend = next(name for name, file in WEIGHTS.items() if (self.path / file).is_file())
        name = WEIGHTS[backend]
        if not (self.path / name).is_file():
            raise CheckpointError(
                f"no {name}, which the {backend} backend needs", location=self.location, missing=[name]
            )
        return self.path / name, backend

    def kind(self) -> str | None:
        """What `config.json` says the predictor is; `None` where it says nothing that can be read."""
        try:
            kind = self.read_json(self.config).get("predictor")
        except CheckpointError:
            return None
        return kind if isinstance(kind, str) else None

    def checked(self, backend: str) -> tuple[PredictorConfig, Path, str]:
        """`config.json`, the weights that a backend runs, and its name, where all that routing reads is as recorded.

        Raises:
            CheckpointError: something is missing, damaged, swapped, or of a newer format.
        """
        self.check(needs_weights=backend == "auto")  # a named backend says itself what it lacks
        config = self.read_config()
        weights, backend = self.choose_weights(backend)
        parts = (self.pool, self.tokenizer, weights, self.calibration, self.profiles, self.catalogue)
        self.verify(config, parts, needs_hashes=not self.is_installed)
        return config, weights, backend

    @contextmanager
    def copied(self, folder: str | Path, names: Iterable[str]) -> Iterator["PredictorFolder"]:
        """A copy of some files, to be completed in the block, after which it is there whole, or not at all.

        Args:
            folder: new, or that of a saved predictor, which is replaced.
            names: of files of the layout; those that are not there are passed over.

        Raises:
            ConfigurationError: the folder holds something else.
            CheckpointError: a file of this one was damaged or swapped.
        """
        target = PredictorFolder(Path(folder))
        if target.path.exists() and not target.holds_nothing_else():
            raise ConfigurationError(f"{folder} exists and holds more than a saved predictor; choose another folder")
        names = [name for name in names if (self.path / name).is_file()]
        self.verify(self.read_config(), [self.path / name for name in names])
        with replacing_folder(target.path) as temporary:
            for name in names:
                (temporary / name).parent.mkdir(exist_ok=True)
                shutil.copyfile(self.path / name, temporary / name)
            yield PredictorFolder(temporary)

    def is_whole(self, weights: str) -> bool:
        """Whether all is there that routing with these weights, if any, reads: false after an interrupted download."""
        try:
            config = self.read_config()
        except CheckpointError:
            return False
        others = (self.calibration, self.profiles, self.catalogue)
        recorded = [path for path in others if path.name in config.files]
        needed = [self.pool, self.tokenizer, *recorded, *([self.path / weights] if weights else [])]
        return all(path.is_file() for path in needed)

    def read_config(self) -> PredictorConfig:
        """The checked `config.json`.

        Raises:
            CheckpointError: unreadable, of another kind of model, or of a newer format.
        """
        record = self.read_json(self.config)
        version = record.get("format_version")
        if type(version) is not int or version < 1:
            raise CheckpointError(
                "config.json has no format_version: not a lookahead-router predictor", location=self.location
            )
        if version > FORMAT_VERSION:
            raise CheckpointError(
                f"saved in format {version}, this version reads up to {FORMAT_VERSION}; upgrade lookahead-router",
                location=self.location,
            )
        try:
            return PredictorConfig(**record)
        except ConfigurationError as error:
            message = str(error).removeprefix("PredictorConfig: ")
            raise CheckpointError(f"config.json: {message}", location=self.location) from error

    def holds_nothing_else(self) -> bool:
        """Whether this is a saved predictor, or an empty folder, without files that are not of the layout."""
        files = [path.relative_to(self.path).as_posix() for path in self.path.rglob("*") if not path.is_dir()]
        return self.path.is_dir() and set(files) <= set(self.names()) and (self.config.is_file() or not files)

    def forget_absent_files(self) -> None:
        """Takes files that are not there out of what `config.json` records, and leaves the rest of it alone."""
        record = self.read_json(self.config)
        record["files"] = {name: entry for name, entry in record["files"].items() if (self.path / name).is_file()}
        write_json(self.config, record)

    def read_pool(self) -> CandidatePool:
        """The checked `pool.json`.

        Raises:
            CheckpointError: unreadable or malformed.
        """
        record = self.read_json(self.pool)
        candidates = record.get("candidates")
        if not isinstance(candidates, list):
            raise CheckpointError("pool.json holds no list of candidates", location=self.location)
        try:
            return CandidatePool(candidates)
        except (ConfigurationError, TypeError) as error:
            raise CheckpointError(f"pool.json: {error}", location=self.location) from error

    def write(self, config: PredictorConfig, pool: CandidatePool) -> None:
        """Writes `pool.json`, and `config.json` with the hashes of every file that makes the predictor."""
        write_json(self.pool, pool.to_dict())
        about = (self.config, self.card, self.evaluation, self.card_settings, self.hub_results)
        hashed = [path for path in self.files() if path not in about]
        records = {path.relative_to(self.path).as_posix(): record_file(path) for path in hashed}
        write_json(self.config, replace(config, files=records).to_dict())

    def verify(self, config: PredictorConfig, paths: Iterable[Path], *, needs_hashes: bool = True) -> None:
        """Compares files with the size and hash that the config recorded, where it did; or with the size alone.

        Raises:
            CheckpointError: a file was damaged or swapped, or is gone.
        """
        names = [path.relative_to(self.path).as_posix() for path in paths]
        gone = [name for name in names if name in config.files and not (self.path / name).is_file()]
        if gone:
            raise CheckpointError(
                f"config.json records {', '.join(gone)}, which is gone; copy or fetch the folder again, or export or "
                "save the predictor again",
                location=self.location,
                missing=gone,
            )
        advice = "fetch the folder again, or export it again if you changed it"
        for name in names:
            if not self._is_as_recorded(name, config.files, needs_hash=needs_hashes):
                raise CheckpointError(
                    f"{name} differs from what config.json recorded: damaged or swapped"
                    + ("" if self.commit else f"; {advice}"),
                    location=self.location,
                )

    def differing(self, names: Iterable[str]) -> list[str]:
        """Those of some files that are there, and are not as `config.json` recorded.

        Raises:
            CheckpointError: `config.json` cannot be read.
        """
        recorded = self.read_config().files
        return [name for name in names if (self.path / name).is_file() and not self._is_as_recorded(name, recorded)]

    def _is_as_recorded(self, name: str, recorded: Mapping[str, FileRecord], *, needs_hash: bool = True) -> bool:
        """Whether a file has the size and hash that were recorded, if any were."""
        record, path = recorded.get(name), self.path / name
        if record is None:
            return True
        return path.stat().st_size == record.size_bytes and (not needs_hash or record_file(path) == record)

    def revision(self, config: PredictorConfig) -> str:
        """The commit of its repository, or else 12 hex digits of config, pool, tokenizer and weights as recorded."""
        if self.commit:
            return self.commit
        record = json.dumps(config.to_dict(), separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(record.encode()).hexdigest()[:12]

    def read_json(self, path: Path) -> dict[str, Any]:
        """The JSON object in one of the files.

        Raises:
            CheckpointError: unreadable, or no object.
        """
        return read_json(path, location=self.location)


def record_file(path: Path) -> FileRecord:
    """Size and SHA-256 of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileRecord(size_bytes=path.stat().st_size, sha256=digest)


def write_json(path: Path, record: Any) -> None:
    """Writes indented JSON, whole or not at all."""
    write_text(path, json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
