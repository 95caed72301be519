"""Prompts from arguments, files and standard input: the same bytes are the same prompts, whichever way they come."""

import codecs
import re
import sys
import warnings
from pathlib import Path

from lookahead_router.cli._output import note
from lookahead_router.errors import ConfigurationError, LookaheadRouterWarning, PromptError
from lookahead_router.prompts import clean_text

_MARKS = {  # the longer first: the mark of UTF-16 begins that of UTF-32
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_SAMPLE_BYTES = 1000


def read_prompts(arguments: list[str] | None, file: Path | None) -> list[str]:
    """The prompts of a command: its arguments as they are, or the lines of a file or of standard input.

    Args:
        arguments: none, or a single `-`, means standard input.
        file: `-` means standard input too.

    Raises:
        ConfigurationError: both are given, or what is named cannot be read.
        PromptError: there is no prompt.
    """
    if file is not None and arguments:
        raise ConfigurationError("give prompts or --file, not both")
    if file is None and arguments and arguments != ["-"]:
        return [_decode(_bytes(argument), "an argument") for argument in arguments]
    is_piped = file is None or str(file) == "-"
    where = "standard input" if is_piped else str(file)
    try:
        data = _standard_input() if is_piped else file.read_bytes()
    except (OSError, ValueError) as error:  # of a name with a NUL
        raise ConfigurationError(f"cannot read {where}: {getattr(error, 'strerror', None) or error}") from error
    prompts = [line for line in re.split("\r\n|\n|\r", _decode(data, where)) if line.strip()]
    if not prompts:
        raise PromptError("there is no prompt to route; give one a line")
    return prompts


def _bytes(argument: str) -> bytes:
    try:
        return argument.encode("utf-8", "surrogateescape")  # as they were typed
    except UnicodeEncodeError:  # halves of characters, which Windows lets pass
        return clean_text(argument).encode("utf-8")


def _standard_input() -> bytes:
    stream = sys.stdin
    if stream is None:  # closed, as services and cron have it
        return b""
    if stream.isatty():
        note("reading prompts from the terminal, one a line; route them with an end of file (Ctrl-D)")
    return stream.buffer.read()


def _decode(data: bytes, where: str) -> str:
    """Text in UTF-8, or in what its byte order mark says; what is neither is replaced, and a warning says so."""
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), None) or _unmarked(data)
    text = data.decode(encoding, "replace")
    n_replaced = text.count("\ufffd") - data.decode(encoding, "ignore").count("\ufffd")
    if n_replaced:
        warnings.warn(
            f"{where} is no {encoding.removesuffix('-sig').upper()}: {n_replaced} characters could not be read and "
            "are replaced; convert it, such as with iconv -t utf-8",
            LookaheadRouterWarning,
            stacklevel=2,
        )
    return text


def _unmarked(data: bytes) -> str:
    """UTF-16 without its mark shows by a zero in every other byte, as long as it is mostly Latin."""
    sample = data[:_SAMPLE_BYTES]
    if sample[1::2].count(0) > len(sample) // 4 and not sample[::2].count(0):
        return "utf-16-le"
    if sample[::2].count(0) > len(sample) // 4 and not sample[1::2].count(0):
        return "utf-16-be"
    return "utf-8"
