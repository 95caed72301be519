"""A `tokenizer.json`, of whatever origin, and the border to the library that reads it."""

import base64
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from lookahead_router.errors import CheckpointError, LookaheadRouterError

_MAY_GROW = (b"Replace", b"Prepend", b"Precompiled", rb"\u00")
"""The kinds of normalizers that insert text, or a letter of theirs escaped: without one, none need be looked for."""
_MOST_GROWTH = 64
"""Characters that one of a prompt may become; honest normalizers stay below four."""


@contextmanager
def tokenizer_border(complaint: str, location: str) -> Iterator[None]:
    """Translates what the tokenizers library raises: bare Exception, and panics, which are not even that.

    Raises:
        CheckpointError: begins with the complaint.
    """
    try:
        yield
    except LookaheadRouterError:
        raise
    except Exception as error:
        raise CheckpointError(f"{complaint}: {error}", location=location) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        # It may quote the text, and so would a traceback that holds it.
        raise CheckpointError(f"{complaint}: it panicked", location=location) from None


def read_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer in a file, with nothing left to chance.

    Raises:
        CheckpointError: not a tokenizer file, or one that would blow prompts up.
    """
    complaint, location = f"{path.name} is not a tokenizer file", str(path.parent)
    with tokenizer_border(complaint, location):
        content = path.read_bytes()
        specification = json.loads(content) if any(word in content for word in _MAY_GROW) else {}
        if not isinstance(specification, Mapping):
            raise CheckpointError(f"{complaint}: expected a JSON object", location=location)
        if _growth(specification.get("normalizer")) > _MOST_GROWTH:
            raise CheckpointError(
                f"{path.name} makes more than {_MOST_GROWTH} characters of one; use another tokenizer",
                location=location,
            )
        tokenizer = Tokenizer.from_buffer(content)
        if getattr(tokenizer.model, "dropout", None):
            tokenizer.model.dropout = None  # meant for training: the same prompt has the same tokens
    return tokenizer


def _growth(normalizer: Any) -> float:
    """How many characters a normalizer may make of one; infinite for what would not even load.

    Only parts that insert text of the file's own count.
    """
    if not isinstance(normalizer, Mapping):
        return 1
    kind = normalizer.get("type")
    if kind == "Sequence":
        return math.prod(_growth(part) for part in normalizer.get("normalizers") or ())
    if kind == "Replace":
        replaced = (normalizer.get("pattern") or {}).get("String") or "a"
        return max(1, len(normalizer.get("content") or "") / len(replaced))
    if kind == "Prepend":
        return 1 + len(normalizer.get("prepend") or "")
    if kind == "Precompiled":
        # It says how long its table is, and the library reserves that much memory.
        table = base64.b64decode(normalizer.get("precompiled_charsmap") or "")
        return 1 if int.from_bytes(table[:4], "little") <= len(table) - 4 else math.inf
    return 1
