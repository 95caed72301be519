"""What an import leaves out: stray rows and files, counted and named."""

import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lookahead_router.errors import LookaheadRouterWarning, SchemaError

MAX_SHARE = 0.1
"""Share of the rows of one place up to which malformed ones are left out."""
SHOWN = 3


class Skipped:
    """Counts what is read, and keeps the complaints about what is left out."""

    def __init__(self) -> None:
        self._n_read: Counter[Path] = Counter()
        self._left_out: list[tuple[Path, SchemaError]] = []

    @contextmanager
    def row_of(self, place: Path) -> Iterator[None]:
        """Takes a malformed row in the block for one to leave out.

        Args:
            place: the file that it stands in; for a file as a whole, the folder of all.
        """
        self._n_read[place] += 1
        try:
            yield
        except SchemaError as error:
            self._left_out.append((place, error))

    def report(self) -> None:
        """Warns of what was left out, if anything.

        Raises:
            SchemaError: the first complaint of a place that has too many for strays.
        """
        if not self._left_out:
            return
        n_left_out = Counter(place for place, _ in self._left_out)
        for place, error in self._left_out:
            if n_left_out[place] > MAX_SHARE * self._n_read[place]:
                raise error
        n, named = len(self._left_out), "; ".join(str(error) for _, error in self._left_out[:SHOWN])
        warnings.warn(
            f"left out {n} of {self._n_read.total()} rows and files: {named}{' ...' * (n > SHOWN)}",
            LookaheadRouterWarning,
            stacklevel=3,
        )
