"""The beginning of a stream, as long as it shows nothing."""

from typing import Any


class Holdback:
    """The chunks of a stream, held back until one of them shows something.

    Streams often begin with a chunk that holds a role alone. As long as nothing was shown, another candidate may
    begin anew.

    Example:
        ```python
        held = Holdback()
        for chunk in stream:
            yield from held.add(chunk, shows=bool(chunk.text))
        # here `held.has_begun` is false where the whole answer was empty; `held.rest()` are its chunks
        ```
    """

    def __init__(self) -> None:
        self.has_begun: bool = False
        """Whether something was shown; then the stream cannot be taken back."""
        self._held: list[Any] = []

    def add(self, chunk: Any, *, shows: bool) -> list[Any]:
        """What is to be passed on now.

        Args:
            chunk: the next one.
            shows: whether it holds anything that a user sees: text, reasoning, a tool call, an image.
        """
        if self.has_begun:
            return [chunk]
        self._held.append(chunk)
        if not shows:
            return []
        self.has_begun = True
        return self.rest()

    def rest(self) -> list[Any]:
        """The chunks that are still held back; none after that."""
        held, self._held = self._held, []
        return held
