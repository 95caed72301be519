"""Everyday prompts of our own, where the scale of difficulty begins and ends."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lookahead_router.errors import SchemaError

EVERYDAY = {"easy": 0.98, "textbook": 0.95, "open": 0.03, "plain": np.nan}
"""Chance that a current candidate answers an everyday prompt of each kind well; none of `plain` is told."""


@dataclass(frozen=True)
class EverydayPrompt:
    """One line of the file."""

    prompt: str
    kind: str
    """Of `EVERYDAY`."""
    about: str = ""
    """`code` where code is asked for or about; empty elsewhere."""


def read_everyday(path: Path) -> list[EverydayPrompt]:
    """The lines of a JSONL of everyday prompts.

    Raises:
        SchemaError: no such file, or a malformed line.
    """
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise SchemaError("no such file of everyday prompts", path=str(path)) from error
    found = []
    for row, line in enumerate(lines):
        try:
            record = json.loads(line)
            prompt, kind, about = record["prompt"], record["kind"], record.get("about", "")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise SchemaError("expected an object with prompt and kind", path=str(path), row=row) from error
        if not isinstance(prompt, str) or kind not in EVERYDAY or about not in ("", "code"):
            known = ", ".join(EVERYDAY)
            raise SchemaError(f"expected text, a kind of {known}, and about code or nothing", path=str(path), row=row)
        found.append(EverydayPrompt(prompt, kind, about))
    return found
