"""Prompts to token arrays: one tokenizer configuration, in routing and in training."""

import re
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from tokenizers import Encoding, Tokenizer

from lookahead_router.networks.demand_configuration import DemandConfig
from lookahead_router.predictors.tokenizer_file import read_tokenizer, tokenizer_border

if TYPE_CHECKING:
    from lookahead_router.networks.configuration import NetworkConfig

WINDOW_RULE = "head and tail"
"""How a long prompt is cut where a network does not say; what is kept of embeddings goes by it."""

_WORD_BREAK = re.compile(r"(?<![ \t\n\r])[ \t\n\r]")
"""The start of a run of whitespace that every tokenizer takes for such."""
_HEAD_BREAK = _WORD_BREAK.pattern + "|(?<=[\u3000-\u30ff\u3400-\u9fff\uac00-\ud7af\uff00-\uffef])"
"""Where a head may end: also after a character of scripts that are written without spaces. Compiled when first used."""
_HEAD_SHARE = 4
"""The head of a long prompt takes up to one in so many of the window's tokens."""
_CHARACTERS_PER_TOKEN = 16
"""Generous guess of how much text fills the window; a wrong guess costs time, never tokens."""
_MOST_CHARACTERS_PER_TOKEN = 64
"""Text beyond is not tokenised for a window's sake: it holds hardly any words."""
_FEW_CHARACTERS = 4096
"""So many are tokenised for the smallest window too."""
_QUESTION = re.compile(
    r"^\s*(question|query|task|instruction|user|q|problem|request)\b\s*[:\uff1a]|[?\uff1f]\s*[\"')\]]*\s*$",
    re.IGNORECASE,
)
"""A line that asks something, or says that it will."""
_LONG_HEAD, _LONG_TAIL = 8_000, 16_000
"""Characters of a very long text that are looked at for its ends and the questions near them."""

_FILE, _FAILS = "tokenizer.json", "the tokenizer fails on a text"


class PromptTokenizer:
    """Cuts prompts to the window and frames them as the network reads them.

    Of a prompt that is longer than the window, up to a quarter of the window is its head, where an instruction may
    stand before a pasted document, and the rest its tail, where the question tends to stand. A beginning that comes
    again further on, as in filler, is no instruction: the tail then has the whole window. How much text is
    tokenised depends on the window and not on the prompt.

    The window `ends` is that of networks trained with it: a quarter is head, at most as much are the lines between
    that ask something, and the rest is tail, so that among passages the task is found wherever it stands.

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
        window: Literal["head and tail", "ends"] = WINDOW_RULE,
    ) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        # "[SEP]" typed by a user is text: no prompt may place separators or MID tokens.
        tokenizer.encode_special_tokens = True
        self._tokenizer = tokenizer
        self.max_prompt_tokens = max_prompt_tokens
        self._most_characters = max(max_prompt_tokens * _MOST_CHARACTERS_PER_TOKEN, _FEW_CHARACTERS)
        self.pad_token_id = pad_token_id
        self.prefix: tuple[int, ...] = tuple(prefix)
        self.suffix: tuple[int, ...] = tuple(suffix)
        self.window = window

    @classmethod
    def of(cls, network: "NetworkConfig | DemandConfig", tokenizer: Tokenizer) -> "PromptTokenizer":
        """The one that feeds a network."""
        return cls(
            tokenizer,
            max_prompt_tokens=network.max_prompt_tokens,
            pad_token_id=network.pad_token_id,
            prefix=network.prompt_prefix,
            suffix=network.prompt_suffix,
            window=network.window if isinstance(network, DemandConfig) else WINDOW_RULE,
        )

    @property
    def n_tokens(self) -> int:
        """Tokens of the vocabulary."""
        return self._tokenizer.get_vocab_size()

    @staticmethod
    def read(path: Path) -> Tokenizer:
        """The tokenizer of a file, which is checked first; raises as `read_tokenizer` does."""
        return read_tokenizer(path)

    def encode(self, texts: Sequence[str]) -> tuple[list[np.ndarray], np.ndarray]:
        """Framed token ids of each text, int64, and a `(n,)` bool array: which lost their middle.

        Raises:
            CheckpointError: the tokenizer fails on a text.
        """
        cut = self._ends if self.window == "ends" else self._head_and_tail
        framed, is_truncated = [], np.zeros(len(texts), dtype=bool)
        for row, text in enumerate(texts):
            ids, is_truncated[row] = cut(text)
            framed.append(np.array([*self.prefix, *ids, *self.suffix], dtype=np.int64))
        return framed, is_truncated

    def encode_responses(self, texts: Sequence[str], n_tokens: int) -> list[list[int]]:
        """The first `n_tokens` ids of each response, tokenised on its own, without the prompt.

        Raises:
            CheckpointError: the tokenizer fails on a text.
        """
        length = n_tokens * _MOST_CHARACTERS_PER_TOKEN
        most = max(length, _FEW_CHARACTERS) * _MOST_CHARACTERS_PER_TOKEN  # for those that begin with next to nothing
        with tokenizer_border(_FAILS, _FILE):
            heads = self._tokenizer.encode_batch_fast([text[:length] for text in texts], add_special_tokens=False)
        return [
            (head.ids if len(head.ids) > n_tokens or len(text) <= length else self._encode(text[:most]).ids)[:n_tokens]
            for head, text in zip(heads, texts, strict=True)
        ]

    def _head_and_tail(self, text: str) -> tuple[list[int], bool]:
        """The ids of a text that fit the window, without tokenising a megabyte for them."""
        limit = self.max_prompt_tokens
        ids, is_enough = self._tail(text)
        has_lost = False
        if not is_enough:
            # A lot of text with hardly any words: blanks, or one huge word, which are the same when shorter.
            begin, end = limit * _CHARACTERS_PER_TOKEN, len(text) - self._most_characters
            ids = self._encode(text[:begin] + text[max(begin, end) :]).ids
            middle = text[begin:end]
            has_lost = bool(middle.strip()) and _WORD_BREAK.search(middle) is not None
        if len(ids) <= limit:
            return ids, has_lost
        head = self._head(text)
        return [*head, *ids[len(head) - limit :]], True

    def _tail(self, text: str) -> tuple[list[int], bool]:
        """The last ids of a text, and whether they are all, or more than fit the window."""
        limit = self.max_prompt_tokens
        for length in (limit * _CHARACTERS_PER_TOKEN, self._most_characters):
            if len(text) <= length:
                return self._encode(text).ids, True
            # Words never span whitespace, so a text cut there tokenises as its end does.
            cut = _WORD_BREAK.search(text, len(text) - length)
            if cut is not None:
                ids = self._encode(text[cut.start() :]).ids
                if len(ids) > limit:
                    return ids, True
        return [], False

    def _head(self, text: str) -> list[int]:
        """The ids of as many whole words at the beginning as the head has room for."""
        most = self.max_prompt_tokens // _HEAD_SHARE
        breaks = re.compile(_HEAD_BREAK).finditer(text, 0, most * _CHARACTERS_PER_TOKEN)
        *_, end = 0, *(found.start() for found in breaks)
        words = self._encode(text[:end])
        head = words.ids[:most]
        if not head or text.find(text[: words.offsets[len(head) - 1][1]], 1) >= 0:
            return []
        return head

    def _ends(self, text: str) -> tuple[list[int], bool]:
        """The ids of a text's ends and of the questions between them, in order."""
        limit = self.max_prompt_tokens
        is_long = len(text) > _LONG_HEAD + _LONG_TAIL
        if is_long:
            text = f"{text[:_LONG_HEAD]} {text[-_LONG_TAIL:]}"
        encoding = self._encode(text)
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

    def _encode(self, text: str) -> Encoding:
        with tokenizer_border(_FAILS, _FILE):
            return self._tokenizer.encode(text, add_special_tokens=False)


def left_pad(rows: Sequence[np.ndarray], pad_token_id: int) -> tuple[np.ndarray, np.ndarray]:
    """`(B, T)` int64 ids padded on the left, and their `(B, T)` int64 mask."""
    if len(rows) == 1 and len(rows[0]):
        ids = rows[0][None]
        mask = np.empty_like(ids)
        mask.fill(1)
        return ids, mask
    length = max(1, *(len(row) for row in rows))  # some texts have no tokens
    ids = np.full((len(rows), length), pad_token_id, dtype=np.int64)
    mask = np.zeros((len(rows), length), dtype=np.int64)
    for index, row in enumerate(rows):
        ids[index, length - len(row) :] = row
        mask[index, length - len(row) :] = 1
    return ids, mask
