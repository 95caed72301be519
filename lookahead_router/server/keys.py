"""The clients' keys: hashed in a file, compared in constant time, each with its rate and its budget."""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, field_validator

from lookahead_router.errors import ConfigurationError, describe
from lookahead_router.files import parse_json, write_text
from lookahead_router.server.refusals import Refusal
from lookahead_router.threads import ProcessLock
from lookahead_router.values import Value

PREFIX = "lr-"
RESERVED_SECONDS = 3600.0
"""Time for which a call counts with its expected cost, if its replica is lost and never says what it did cost."""
_PERIODS = {"day": "%Y-%m-%d", "month": "%Y-%m", "total": "total"}


class Key(Value):
    """A client's key and its limits."""

    name: str = Field(min_length=1, max_length=200)
    """What the key is called in logs; never the key."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Hash of the key. Keys are 256 random bits, so that a fast hash is enough."""
    requests_per_minute: int | None = Field(default=None, ge=1)
    budget_usd: float | None = Field(default=None, ge=0)
    """Dollars that its requests may cost in a period."""
    period: Literal["day", "month", "total"] = "month"
    """Period of the budget, in UTC."""


class KeyFile(Value):
    """What the file of keys holds."""

    keys: tuple[Key, ...] = ()

    @field_validator("keys")
    @classmethod
    def _check_names(cls, keys: Sequence[Key]) -> Sequence[Key]:
        for what in ("name", "sha256"):
            values = [getattr(key, what) for key in keys]
            if len(set(values)) < len(values):
                raise ValueError(f"two keys have the same {what}")
        return keys

    @classmethod
    def load(cls, path: Path) -> "KeyFile":
        """Reads the file.

        Raises:
            ConfigurationError: no such file, or not what `--new-key` writes; says where.
        """
        try:
            return cls(**parse_json(path.read_bytes()))
        except OSError as error:
            raise ConfigurationError(f"cannot read {path}: {error.strerror or error}") from error
        except ConfigurationError as error:
            raise ConfigurationError(f"{path}: {error}") from error
        except (ValueError, TypeError):
            raise ConfigurationError(f"{path}: expected what --new-key writes, a JSON object with `keys`") from None

    def save(self, path: Path) -> None:
        """Writes the file, whole or not at all."""
        write_text(path, self.model_dump_json(indent=2, exclude_none=True) + "\n")
        path.chmod(0o600)


def new_key(path: Path, name: str, **limits: object) -> str:
    """A new key, whose hash is added to the file; it is nowhere but in what is returned.

    Args:
        path: the file, which is made where there is none.
        name: what the key is called.
        limits: `requests_per_minute`, `budget_usd`, `period`.

    Raises:
        ConfigurationError: the name is taken, a limit is out of range, or the file is another one.
    """
    there = KeyFile.load(path).keys if path.exists() else ()
    key = PREFIX + secrets.token_urlsafe(32)
    given = {limit: value for limit, value in limits.items() if value is not None}
    try:
        KeyFile(keys=(*there, Key(name=name, sha256=_hash(key), **given))).save(path)
    except ValidationError as error:
        raise ConfigurationError(describe(error)) from error
    return key


class Spending:
    """What every key has spent in its period; kept in a file, so that a restart forgets nothing."""

    def __init__(
        self,
        path: Path | None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Reads what was spent before.

        Raises:
            ConfigurationError: the file is another one.
            FileError: it cannot be written.
        """
        self._path, self._now, self._clock = path, now, clock
        self._lock = ProcessLock()
        self._spent: dict[str, dict[str, float]] = {}
        self._reserved: dict[str, tuple[str, float, float]] = {}
        """Expected dollars by call: whose key, dollars, and when."""
        self._is_saved = True
        if path is not None and path.exists():
            try:
                self._spent = {
                    str(name): {str(period): float(usd) for period, usd in spent.items()}
                    for name, spent in parse_json(path.read_bytes()).items()
                }
            except (ValueError, TypeError, AttributeError) as error:
                raise ConfigurationError(f"{path} does not hold what keys have spent; move it away") from error
        if path is not None:
            self._is_saved = False
            self.save()

    def spent(self, key: Key) -> float:
        """Dollars in the present period, those of requests under way included."""
        since = self._clock() - RESERVED_SECONDS
        under_way = sum(usd for name, usd, at in self._reserved.values() if name == key.name and at >= since)
        return self._spent.get(key.name, {}).get(self._period(key), 0.0) + under_way

    def reserve(self, call_id: str, key: Key, usd: float) -> None:
        """Counts dollars as spent until the call is settled, in place of those that were reserved for it before.

        Nothing where the key has no budget.

        Raises:
            Refusal: 429, the budget does not allow them.
        """
        if key.budget_usd is None:
            return
        with self._lock:
            before = self._reserved.pop(call_id, None)
            if self.spent(key) + usd > key.budget_usd:
                if before is not None:
                    self._reserved[call_id] = before
                raise Refusal(
                    429,
                    f"the budget of ${key.budget_usd:g} per {key.period} is used up".replace("per total", "in all"),
                    kind="insufficient_quota",
                    code="insufficient_quota",
                )
            self._reserved[call_id] = key.name, usd, self._clock()

    def settle(self, call_id: str, key: Key, usd: float) -> None:
        """Counts the dollars of a call that is over, in place of those reserved."""
        if key.budget_usd is None:
            return
        with self._lock:
            self._reserved.pop(call_id, None)
            if not usd:
                return
            period = self._period(key)
            before = self._spent.get(key.name, {}).get(period, 0.0)
            self._spent[key.name] = {period: before + usd}  # earlier periods are over
            self._is_saved = False

    def save(self) -> None:
        """Writes what changed."""
        with self._lock:
            if self._is_saved or self._path is None:
                return
            import json

            write_text(self._path, json.dumps(self._spent, indent=2) + "\n")
            self._is_saved = True

    def _period(self, key: Key) -> str:
        return self._now().strftime(_PERIODS[key.period])


class Rates:
    """How many requests each key had of late."""

    def __init__(self) -> None:
        self._left: dict[str, tuple[float, float]] = {}

    def check(self, key: Key, now: float) -> None:
        """Counts a request at a time in seconds.

        Raises:
            Refusal: 429, too many in the last minute.
        """
        if key.requests_per_minute is None:
            return
        full = float(key.requests_per_minute)
        left, at = self._left.get(key.name, (full, now))
        left = min(full, left + (now - at) * full / 60.0)
        if left < 1.0:
            raise Refusal(
                429,
                f"more than {key.requests_per_minute} requests a minute",
                kind="rate_limit_error",
                code="rate_limit_exceeded",
                retry_after=(1.0 - left) * 60.0 / full,
            )
        self._left[key.name] = left - 1.0, now


class Keys:
    """Who may ask."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self._keys = tuple(keys)

    def admit(self, given: str | None) -> Key:
        """The key of a request, by what its client gives as one.

        Raises:
            Refusal: 401, no key or a wrong one.
        """
        if not given:
            raise Refusal(
                401, "a key is needed: Authorization: Bearer KEY", kind="authentication_error", code="missing_api_key"
            )
        digest, found = _hash(given), None
        for key in self._keys:  # all of them, so that the time tells nothing
            if hmac.compare_digest(key.sha256, digest):
                found = key
        if found is None:
            raise Refusal(401, "the key is not known here", kind="authentication_error", code="invalid_api_key")
        return found

    @property
    def has_budget(self) -> bool:
        """Whether any key has one, so that every candidate needs a price."""
        return any(key.budget_usd is not None for key in self._keys)


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
