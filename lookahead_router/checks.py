"""Checks of what a decision needs: candidates, and what a saved predictor says of itself.

By hand and not by pydantic, whose import takes longer than all that is checked here: a cold command has to be quick.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields
from functools import wraps
from numbers import Integral, Real
from typing import Any, TypeVar

from lookahead_router.errors import ConfigurationError

T = TypeVar("T")


def strict(kind: type[T]) -> type[T]:
    """A dataclass that is built by keywords, which raises `ConfigurationError` for one that it has not, or lacks."""
    known = {field.name for field in fields(kind)}
    needed = [each.name for each in fields(kind) if each.default is MISSING and each.default_factory is MISSING]
    build: Callable[..., None] = kind.__init__

    @wraps(build)
    def __init__(self: Any, **given: Any) -> None:
        strays = sorted(given.keys() - known)
        if strays:
            raise wrong(self, strays[0], f"no such field; there are {', '.join(sorted(known))}")
        for name in needed:
            if name not in given:
                raise wrong(self, name, "is missing")
        build(self, **given)

    kind.__init__ = __init__
    return kind


def wrong(value: object, name: str, message: str) -> ConfigurationError:
    """What is wrong with a field of a value."""
    return ConfigurationError(f"{type(value).__name__}: {name}: {message}")


def settle(value: Any, **checked: Callable[[Any], Any]) -> None:
    """Puts what the checks make of them in the place of fields of a frozen dataclass.

    Raises:
        ConfigurationError: a check found something wrong; says with which field.
    """
    for name, check in checked.items():
        given = getattr(value, name)
        try:
            object.__setattr__(value, name, check(given))
        except ConfigurationError:
            raise  # of a value within this one, which says where by itself
        except ValueError as error:
            raise wrong(value, name, str(error)) from None


def optional(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The check, by which `None` passes."""
    return lambda value: None if value is None else check(value)


def text(value: object) -> str:
    """Text of at least one character, which can be written to a file.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, str) or not value:
        raise ValueError(f"expected text, got {'none' if value == '' else type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("holds half of a character pair, which is no text") from None
    return value


def amount(value: object) -> float:
    """A finite number, 0 or more.

    Raises:
        ValueError: it is none.
    """
    is_number = hasattr(type(value), "__float__") and not isinstance(value, bool)  # of numpy and Decimal too
    try:
        number = float(value) if is_number else math.nan
    except (TypeError, ValueError):  # an array
        number = math.nan
    if not 0 <= number < math.inf:
        raise ValueError(f"expected a number, 0 or more, got {_shown(value)}")
    return number


def share(value: object) -> float:
    """A number from 0 on and below 1.

    Raises:
        ValueError: it is none.
    """
    found = amount(value)
    if found >= 1:
        raise ValueError(f"expected a number from 0 on and below 1, got {_shown(value)}")
    return found


def whole(least: int) -> Callable[[object], int]:
    """Checks that something is a whole number from `least` on, and raises `ValueError` else."""

    def check(value: object) -> int:
        is_whole = isinstance(value, Integral) or (isinstance(value, float) and value.is_integer())
        if isinstance(value, bool) or not is_whole or int(value) < least:
            raise ValueError(f"expected a whole number from {least} on, got {_shown(value)}")
        return int(value)

    return check


def one_of(*known: str) -> Callable[[object], Any]:
    """Checks that something is one of these texts, and raises `ValueError` else."""

    def check(value: object) -> Any:
        if value not in known:
            raise ValueError(f"expected {' or '.join(known)}")
        return value

    return check


def words(value: object) -> frozenset[str]:
    """Several texts.

    Raises:
        ValueError: a single text, or something that holds others.
    """
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise ValueError(f"expected a list of words, got {type(value).__name__}")
    found = list(value)
    for word in found:
        if word != "":
            text(word)
    return frozenset(found)


def mapping(value: object) -> dict[str, Any]:
    """Values by name.

    Raises:
        ValueError: it is no mapping.
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"expected a mapping, got {type(value).__name__}")
    return dict(value)


def boolean(value: object) -> bool:
    """True or false.

    Raises:
        ValueError: it is neither.
    """
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, got {type(value).__name__}")
    return value


def _shown(value: object) -> str:
    """A number as it is; of all else the type, since it may hold what no message should."""
    return f"{value}" if isinstance(value, Real) else type(value).__name__
