"""Files of settings that people write: pools, servers, recipes."""

from pathlib import Path
from typing import Any

from lookahead_router.errors import ConfigurationError
from lookahead_router.extras import require
from lookahead_router.files import parse_json


def read_settings(path: Path, example: str, extra: str) -> dict[str, Any]:
    """The mapping in a file of settings: JSON by its suffix, else YAML.

    Args:
        path: the file, in UTF-8.
        example: of what was expected, for the error.
        extra: the one that brings PyYAML.

    Raises:
        ConfigurationError: no such file, not readable as that, or no mapping by names.
        MissingDependencyError: YAML without PyYAML.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path} is not UTF-8; write it again in this encoding") from None
    settings = _parsed_json(text, path) if path.suffix.lower() == ".json" else _parsed_yaml(text, path, extra)
    if not isinstance(settings, dict) or not all(isinstance(key, str) for key in settings):
        raise ConfigurationError(f"{path}: expected settings such as {example}, got {type(settings).__name__}")
    return settings


def _parsed_json(text: str, path: Path) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        raise ConfigurationError(f"{path} is no JSON: {error}") from error


def _parsed_yaml(text: str, path: Path, extra: str) -> Any:
    yaml = require("yaml", extra)
    try:
        return yaml.load(text, _strict_loader(yaml))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = "" if mark is None else f", line {mark.line + 1}"
        # Without YAML's snippet of the file, which may hold what should not be there.
        raise ConfigurationError(f"{path}{place}: no YAML: {getattr(error, 'problem', None) or 'malformed'}") from None


def _strict_loader(yaml: Any) -> type:
    """YAML's safe loader, which lets no key stand twice."""

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> dict:
            keys = [key.value for key, _ in node.value if isinstance(key.value, str)]
            repeated = sorted({key for key in keys if keys.count(key) > 1})
            if repeated:
                problem = f"{repeated[0]} stands there twice"
                raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
            return super().construct_mapping(node, deep=deep)

    return Loader
