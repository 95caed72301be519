"""Prompts to token arrays: one tokenizer configuration, in routing and in training."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from lookahead_router.errors import CheckpointError
from lookahead_router.networks.configuration import NetworkConfig

_WORD_BREAK = re.compile(r"(?<![ \t\n\r])[ \t\n\r]")
"""The start of a run of whitespace that every tokenizer takes for such."""
_CHARACTERS_PER_TOKEN = 16
"""Generous guess of how much text fills the window; a wrong guess costs time, never tokens."""


class PromptTokenizer:
    """Cuts prompts to the window, keeping their tail, and frames them as the network reads them.

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
    ) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        # "[SEP]" typed by a user is text: no prompt may place separators or MID tokens.
        tokenizer.encode_special_tokens = True
        self._tokenizer = tokenizer
        self.max_prompt_tokens = max_prompt_tokens
        self.pad_token_id = pad_token_id
        self.prefix, self.suffix = tuple(prefix), tuple(suffix)

    @classmethod
    def of(cls, network: NetworkConfig, tokenizer: Tokenizer) -> "PromptTokenizer":
        """The one that feeds a network."""
        return cls(
            tokenizer,
            max_prompt_tokens=network.max_prompt_tokens,
            pad_token_id=network.pad_token_id,
            prefix=network.prompt_prefix,
            suffix=network.prompt_suffix,
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
        """Framed token ids of each text, int64, and a `(n,)` bool array: which lost their head.

        A long prompt keeps its tail (as the paper's scripts do): the question tends to stand at the end.
        """
        framed, is_truncated = [], np.zeros(len(texts), dtype=bool)
        for row, text in enumerate(texts):
            ids, is_truncated[row] = self._tail(text)
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
