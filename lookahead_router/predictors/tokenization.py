"""Prompts to token arrays: one tokenizer configuration, in routing and in training."""

import re
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from tokenizers import Tokenizer

from lookahead_router.errors import CheckpointError
from lookahead_router.networks.configuration import DemandConfig, NetworkConfig

_WORD_BREAK = re.compile(r"(?<![ \t\n\r])[ \t\n\r]")
"""The start of a run of whitespace that every tokenizer takes for such."""
_CHARACTERS_PER_TOKEN = 16
"""Generous guess of how much text fills the window; a wrong guess costs time, never tokens."""
_QUESTION = re.compile(
    r"^\s*(question|query|task|instruction|user|q|problem|request)\b\s*[:\uff1a]|[?\uff1f]\s*[\"')\]]*\s*$",
    re.IGNORECASE,
)
"""A line that asks something, or says that it will."""
_LONG_HEAD, _LONG_TAIL = 8_000, 16_000
"""Characters of a very long text that are looked at for its ends and the questions near them."""


class PromptTokenizer:
    """Cuts prompts to the window and frames them as the network reads them.

    Of a longer prompt the window `tail` keeps the end; `ends` keeps a quarter from the head, at most as much of the
    lines between that ask something, and the rest from the tail: among passages, the task is found wherever it stands.

    Truncation and padding stay off in the shared tokenizer: changing them per call is what makes
    fast tokenizers wrong under threads.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        max_prompt_tokens: int,
        pad_token_id: int,
        prefix: Sequence[int] = (),
        suffix: Sequence[int] = (),
        window: Literal["tail", "ends"] = "tail",
    ) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        # "[SEP]" typed by a user is text: no prompt may place separators or MID tokens.
        tokenizer.encode_special_tokens = True
        self._tokenizer = tokenizer
        self.max_prompt_tokens = max_prompt_tokens
        self.pad_token_id = pad_token_id
        self.prefix, self.suffix = tuple(prefix), tuple(suffix)
        self.window = window

    @classmethod
    def of(cls, network: NetworkConfig | DemandConfig, tokenizer: Tokenizer) -> "PromptTokenizer":
        """The one that feeds a network."""
        return cls(
            tokenizer,
            max_prompt_tokens=network.max_prompt_tokens,
            pad_token_id=network.pad_token_id,
            prefix=network.prompt_prefix,
            suffix=network.prompt_suffix,
            window=network.window if isinstance(network, DemandConfig) else "tail",
        )

    @staticmethod
    def read(path: Path) -> Tokenizer:
        """The tokenizer in a `tokenizer.json`.

        Raises:
            CheckpointError: not a tokenizer file.
        """
        try:
            return Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises bare Exception
            raise CheckpointError(f"{path.name} is not a tokenizer file: {error}", location=str(path.parent)) from error

    def encode(self, texts: Sequence[str]) -> tuple[list[np.ndarray], np.ndarray]:
        """Framed token ids of each text, int64, and a `(n,)` bool array: which did not fit.

        By default a long prompt keeps its tail (as the paper's scripts do): the question tends to stand at the end.
        """
        cut = self._ends if self.window == "ends" else self._tail
        framed, is_truncated = [], np.zeros(len(texts), dtype=bool)
        for row, text in enumerate(texts):
            ids, is_truncated[row] = cut(text)
            framed.append(np.array([*self.prefix, *ids, *self.suffix], dtype=np.int64))
        return framed, is_truncated

    def encode_responses(self, texts: Sequence[str], n_tokens: int) -> list[list[int]]:
        """The first `n_tokens` ids of each response, tokenised on its own, without the prompt."""
        length = n_tokens * 64
        heads = self._tokenizer.encode_batch_fast([text[:length] for text in texts], add_special_tokens=False)
        return [
            (head.ids if len(head.ids) > n_tokens or len(text) <= length else self._ids(text))[:n_tokens]
            for head, text in zip(heads, texts, strict=True)
        ]

    def _tail(self, text: str) -> tuple[list[int], bool]:
        """The last ids of a text that fit the window, without tokenising a megabyte for them."""
        limit = self.max_prompt_tokens
        length = limit * _CHARACTERS_PER_TOKEN
        while length < len(text):
            # Words never span whitespace, so a text cut there tokenises as its end does.
            cut = _WORD_BREAK.search(text, len(text) - length)
            if cut is not None:
                ids = self._ids(text[cut.start() :])
                if len(ids) > limit:
                    return ids[-limit:], True
            length *= 4
        ids = self._ids(text)
        return ids[-limit:], len(ids) > limit

    def _ends(self, text: str) -> tuple[list[int], bool]:
        """The ids of a text's ends and of the questions between them, in order."""
        limit = self.max_prompt_tokens
        is_long = len(text) > _LONG_HEAD + _LONG_TAIL
        if is_long:
            text = f"{text[:_LONG_HEAD]} {text[-_LONG_TAIL:]}"
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        ids = encoding.ids
        if len(ids) <= limit:
            return ids, is_long
        quarter = limit // 4
        starts = [start for start, _ in encoding.offsets]
        questions, room, end = [], quarter, 0
        lines = []
        for line in text.splitlines(keepends=True):
            start, end = end, end + len(line)
            if _QUESTION.search(line):
                lines.append((bisect_left(starts, start), bisect_left(starts, end)))
        between = quarter, len(ids) - (limit - 2 * quarter)
        for first, last in reversed(lines):  # the last ones are the likeliest
            first, last = max(first, between[0]), min(last, between[1])
            first = max(first, last - room)
            if last > first:
                questions.insert(0, (first, last))
                room -= last - first
        middle = [token for first, last in questions for token in ids[first:last]]
        tail = limit - quarter - len(middle)
        after = max(len(ids) - tail, questions[-1][1] if questions else quarter)
        return [*ids[:quarter], *middle, *ids[after:]], True

    def _ids(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids


def left_pad(rows: Sequence[np.ndarray], pad_token_id: int) -> tuple[np.ndarray, np.ndarray]:
    """`(B, T)` int64 ids padded on the left, and their `(B, T)` int64 mask."""
    length = max(1, *(len(row) for row in rows))  # some texts have no tokens
    ids = np.full((len(rows), length), pad_token_id, dtype=np.int64)
    mask = np.zeros((len(rows), length), dtype=np.int64)
    for index, row in enumerate(rows):
        ids[index, length - len(row) :] = row
        mask[index, length - len(row) :] = 1
    return ids, mask
