"""Every error and warning that the library raises on purpose.

Errors of LLM clients are sorted by `failure_of` into classes of `Failure`.

    LookaheadRouterError
    ├── ConfigurationError (ValueError)        options contradict each other or leave their domain
    │   └── UnknownCandidateError (KeyError)   a name that the pool does not hold
    ├── PromptError (ValueError)               a prompt that cannot be routed
    ├── PrivacyError (ValueError)              a request that only local candidates may see, and none can answer
    ├── DataError (ValueError)                 a dataset that cannot be used
    │   ├── SchemaError                        one row or column of it is malformed
    │   └── PoolMismatchError                  its candidates are not the expected ones
    ├── NotFittedError (RuntimeError)
    ├── NoAnswerError (RuntimeError)           a candidate answered with nothing
    ├── PredictionError (RuntimeError)         a predictor's output that is no prediction: NaN, or of another shape
    ├── TrainingError (RuntimeError)           a run that had to stop, and can be resumed
    ├── CheckpointError (OSError)              a saved predictor that does not follow the layout
    ├── FileError (OSError)                    a file or folder that cannot be written
    ├── HubError (OSError)                     a repository of the Hugging Face Hub that cannot be read or written
    └── MissingDependencyError (ImportError)   an extra is not installed

    LookaheadRouterWarning (UserWarning)
    ├── TruncatedPromptWarning                 a prompt lost its middle to the window
    ├── UncalibratedScoresWarning              predicted scores stand in for probabilities
    └── UnknownProfileWarning                  a candidate of which little is known

Messages say what was expected, what came and what to do; the facts are attributes too. No message
holds a prompt's or a response's text. Every error survives pickling.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lookahead_router.failures import Failure as Failure
    from lookahead_router.failures import failure_of as failure_of
    from lookahead_router.failures import is_transient as is_transient


def __getattr__(name: str) -> Any:
    """What is public here of `failures`, whose patterns only those wait for who ask why a call failed."""
    if name not in ("Failure", "failure_of", "is_transient"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from lookahead_router import failures

    return getattr(failures, name)


class LookaheadRouterError(Exception):
    """Base of every error raised on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        # BaseException rebuilds from `args` alone, which breaks keyword-only constructors.
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(cls: type, args: tuple, state: dict) -> LookaheadRouterError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class ConfigurationError(LookaheadRouterError, ValueError):
    """Options contradict each other or leave their domain."""


def describe(error: Any) -> str:
    """What pydantic found, in one line: where, and what is wrong there; without the values, which may be keys."""
    findings = (
        (".".join(str(part) for part in finding["loc"]), finding["msg"].removeprefix("Value error, "))
        for finding in error.errors(include_url=False, include_input=False)
    )
    return "; ".join(f"{place}: {message}" if place else message for place, message in findings)


@contextmanager
def describing(what: str = "") -> Iterator[None]:
    """Raises `ConfigurationError` for what pydantic finds wrong with options.

    Args:
        what: goes before the findings.
    """
    try:
        yield
    except ValueError as error:
        if type(error).__name__ != "ValidationError":
            raise
        raise ConfigurationError(f"{what}{describe(error)}") from None


MAX_NAMES = 20
"""Names of a pool that an error lists, at most."""


class UnknownCandidateError(ConfigurationError, KeyError):
    """A candidate name that is not in the pool."""

    def __init__(self, name: str, known: Iterable[str], *, hint: str = "") -> None:
        self.name = name
        self.known: tuple[str, ...] = tuple(known)
        import difflib

        nearest = difflib.get_close_matches(str(name), self.known, n=1)
        self.nearest: str | None = nearest[0] if nearest else None
        meant = f" Did you mean {self.nearest!r}?" if self.nearest else ""
        hint = hint and f" {hint}"
        held = ", ".join(self.known[:MAX_NAMES])
        if len(self.known) > MAX_NAMES:
            held += f" and {len(self.known) - MAX_NAMES} more"
        super().__init__(f"unknown candidate {name!r}; the pool holds {held}.{meant}{hint}")

    def __str__(self) -> str:
        return Exception.__str__(self)  # KeyError would show the repr, quotes and all


class PromptError(LookaheadRouterError, ValueError):
    """A prompt that cannot be routed: empty, without a user message, or of the wrong type."""

    def __init__(self, message: str, *, index: int | None = None) -> None:
        self.index = index
        """Position in the batch, where there is one."""
        super().__init__(message if index is None else f"prompt {index}: {message}")


class PrivacyError(LookaheadRouterError, ValueError):
    """A request with personal data or secrets that nobody may answer: no candidate that may is local."""

    def __init__(self, kinds: Iterable[str], *, candidate: str | None = None) -> None:
        self.kinds: tuple[str, ...] = tuple(kinds)
        """What was found, e.g. `e-mail address`; nothing of the text."""
        self.candidate = candidate
        """The one that was named to answer, if one was."""
        who = "no local candidate may answer" if candidate is None else f"the candidate {candidate!r} is not local"
        super().__init__(
            f"the request holds private data ({', '.join(self.kinds)}), and {who}; nothing was sent. Remove what is "
            "private, or mark a candidate of your own as local"
        )


class DataError(LookaheadRouterError, ValueError):
    """A dataset that cannot be used."""


class SchemaError(DataError):
    """A malformed row or column, with the place where it stands."""

    def __init__(
        self, message: str, *, path: str | None = None, row: int | None = None, column: str | None = None
    ) -> None:
        self.path: str | None = path
        self.row: int | None = row
        self.column: str | None = column
        place = [p for p in (path, None if row is None else f"row {row}", column and f"column {column!r}") if p]
        super().__init__(f"{', '.join(place)}: {message}" if place else message)


class PoolMismatchError(DataError):
    """A dataset or predictor whose candidates are not the expected ones."""

    def __init__(self, expected: Iterable[str], found: Iterable[str], *, where: str = "the dataset") -> None:
        self.expected: tuple[str, ...] = tuple(expected)
        self.found: tuple[str, ...] = tuple(found)
        self.missing: tuple[str, ...] = tuple(n for n in self.expected if n not in self.found)
        self.unexpected: tuple[str, ...] = tuple(n for n in self.found if n not in self.expected)
        super().__init__(
            f"{where} has other candidates than expected: missing {list(self.missing)}, "
            f"unexpected {list(self.unexpected)}. Rename the candidates, or use a predictor trained on this pool."
        )


class NotFittedError(LookaheadRouterError, RuntimeError):
    """A predictor that was asked to predict before it was fitted."""


class NoAnswerError(LookaheadRouterError, RuntimeError):
    """A candidate answered with nothing: no chunk, or neither text nor a tool call."""

    def __init__(self, candidate: str) -> None:
        self.candidate = candidate
        super().__init__(f"the candidate {candidate!r} sent an answer without content")

    @property
    def failure(self) -> "Failure":
        """Its class."""
        from lookahead_router.failures import Failure

        return Failure.NO_ANSWER

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.candidate,), self.__dict__


class PredictionError(LookaheadRouterError, RuntimeError):
    """A predictor's output that is no prediction: of another shape, not finite, or out of range."""


class TrainingError(LookaheadRouterError, RuntimeError):
    """A training run that had to stop; its last checkpoint is kept and resumed by the next call."""


class CheckpointError(LookaheadRouterError, OSError):
    """A saved predictor that is missing, damaged or of a foreign layout."""

    def __init__(self, message: str, *, location: str | None = None, missing: Iterable[str] = ()) -> None:
        self.location = location
        self.missing: tuple[str, ...] = tuple(missing)
        super().__init__(f"{location}: {message}" if location else message)


class FileError(LookaheadRouterError, OSError):
    """A file or folder that cannot be written: no permission, no space, no such name."""

    def __init__(self, message: str, *, path: str) -> None:
        self.path = path
        shown = path.encode("utf-8", "backslashreplace").decode()
        super().__init__(f"cannot write {shown}: {message}")


class HubError(LookaheadRouterError, OSError):
    """A repository of the Hugging Face Hub that cannot be read or written."""

    def __init__(
        self,
        message: str,
        *,
        repo_id: str,
        revision: str | None = None,
        status_code: int | None = None,
        is_retryable: bool = False,
    ) -> None:
        self.repo_id: str = repo_id
        self.revision: str | None = revision
        self.status_code = status_code
        """What the Hub answered; `None` where it did not."""
        self.is_retryable = is_retryable
        """Whether the same call may succeed later."""
        super().__init__(f"{repo_id if revision is None else f'{repo_id}@{revision}'}: {message}")


class MissingDependencyError(LookaheadRouterError, ImportError):
    """An optional package that the asked-for feature needs."""

    def __init__(self, package: str, extra: str) -> None:
        self.package: str = package
        self.extra: str = extra
        super().__init__(f"{package} is not installed; run: pip install 'lookahead-router[{extra}]'")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.package, self.extra), self.__dict__


class LookaheadRouterWarning(UserWarning):
    """Base of every warning given on purpose."""


class TruncatedPromptWarning(LookaheadRouterWarning):
    """A prompt was longer than the predictor's window; its middle was left out."""


class UnknownProfileWarning(LookaheadRouterWarning):
    """A candidate that the public has not measured: a relative or the population stands in for it."""


class UncalibratedScoresWarning(LookaheadRouterWarning):
    """A policy that reads probabilities got the predicted scores: the predictor is not calibrated."""
