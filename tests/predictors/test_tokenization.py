import itertools
import random
import re
import traceback
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import DIGITS, VOCABULARY, make_tokenizer
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from lookahead_router.errors import CheckpointError
from lookahead_router.predictors.tokenization import PromptTokenizer, left_pad

relaxed = settings(deadline=None, max_examples=100)

PAD, UNK, CLS, SEP = range(4)
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
WORDS = ["a", "is", "sum", "river", "mountain", "incomprehensibilities", "x" * 40]
PIECES = ["ab", "abc", "##ab", "##c", "##abc", "un", "##able", "able", "##d", "pq", "##rs", "qr", "##s"]


def word_level() -> Tokenizer:
    vocabulary = {token: index for index, token in enumerate([*SPECIAL, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


def word_piece() -> Tokenizer:
    """As BERT's: lower case, punctuation apart, control characters left out."""
    vocabulary = {token: index for index, token in enumerate([*SPECIAL, *WORDS, *PIECES])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


def byte_pairs() -> Tokenizer:
    """As ModernBERT's: a word takes its leading space along, and runs of whitespace are tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(["ab abc   ab\n\n\n\n  abc able \n\n\n"] * 20, trainer)
    return tokenizer


TOKENIZERS = {"words": word_level(), "pieces": word_piece(), "bytes": byte_pairs()}

each_tokenizer = pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=TOKENIZERS)


def prompts(tokenizer: Tokenizer, limit: int) -> PromptTokenizer:
    return PromptTokenizer(tokenizer, max_prompt_tokens=limit, prefix=(CLS,), suffix=(SEP,), pad_token_id=PAD)


def ends_of_whole(tokenizer: Tokenizer, limit: int, text: str) -> list[int]:
    """What the window keeps, by tokenising all of the text."""
    whole = tokenizer.encode(text, add_special_tokens=False)
    if len(whole.ids) <= limit:
        return whole.ids
    most = limit // 4
    breaks = [found.start() for found in re.finditer("(?<![ \t\n\r])[ \t\n\r]|(?<=\u3000)", text[: most * 16])]
    head = [end for _, end in whole.offsets if end <= max(breaks, default=0)][:most]
    if head and text.find(text[: head[-1]], 1) >= 0:
        head = []
    return whole.ids[: len(head)] + whole.ids[len(head) - limit :]


def assert_ends_of_whole(tokenizer: Tokenizer, limit: int, text: str) -> None:
    (framed,), (is_truncated,) = prompts(tokenizer, limit).encode([text])
    assert framed.tolist() == [CLS, *ends_of_whole(tokenizer, limit, text), SEP]
    assert is_truncated == (len(tokenizer.encode(text, add_special_tokens=False).ids) > limit)


# Framing


def test_a_prompt_is_framed_by_cls_and_sep():
    (framed,), is_truncated = prompts(word_level(), 8).encode(["a river is a sum"])
    assert framed.tolist() == [CLS, 4, 7, 5, 4, 6, SEP]
    assert framed.dtype == np.int64
    assert is_truncated.tolist() == [False]


def test_a_post_processor_of_the_tokenizer_does_not_frame_twice():
    tokenizer = word_level()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)]
    )
    (framed,), _ = prompts(tokenizer, 8).encode(["a river"])
    assert framed.tolist() == [CLS, 4, 7, SEP]
    assert prompts(tokenizer, 8).encode_responses(["a river"], 8) == [[4, 7]]


def test_truncation_and_padding_of_the_tokenizer_do_not_count():
    tokenizer = word_level()
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=16)
    (framed,), is_truncated = prompts(tokenizer, 8).encode(["a river is a sum"])
    assert framed.tolist() == [CLS, 4, 7, 5, 4, 6, SEP]
    assert not is_truncated.any()


def test_a_text_without_tokens_is_an_empty_frame():
    (framed,), is_truncated = prompts(word_piece(), 8).encode(["\x00\x01"])
    assert framed.tolist() == [CLS, SEP]
    assert not is_truncated.any()


def test_no_texts_give_no_rows():
    framed, is_truncated = prompts(word_level(), 8).encode([])
    assert framed == []
    assert is_truncated.shape == (0,)
    assert is_truncated.dtype == bool


@pytest.mark.parametrize("name", ["[CLS]", "[SEP]", "[PAD]"])
def test_the_name_of_a_special_token_in_a_prompt_is_ordinary_text(name):
    (framed,), _ = prompts(word_piece(), 16).encode([f"a {name} river"])
    assert not {CLS, SEP, PAD} & set(framed[1:-1].tolist())


# Head and tail


def test_a_long_prompt_keeps_a_quarter_of_head_and_its_tail():
    (framed,), is_truncated = prompts(word_level(), 8).encode(["river mountain a is a is a is sum a sum a sum a"])
    assert framed.tolist() == [CLS, 7, 8, 6, 4, 6, 4, 6, 4, SEP]
    assert is_truncated.tolist() == [True]


def test_a_beginning_that_comes_again_leaves_the_window_to_the_tail():
    for text in ("river is " * 50 + "sum " * 7 + "a", "river is a sum mountain " + "a " * 50 + "river is" + " sum" * 7):
        (framed,), _ = prompts(word_level(), 8).encode([text])
        assert framed.tolist() == [CLS, *word_level().encode(text).ids[-8:], SEP]


def test_a_head_holds_whole_words_only():
    # The first word has no end where a head may be.
    (framed,), _ = prompts(word_level(), 8).encode(["x" * 200 + " river mountain" + " a" * 8])
    assert framed.tolist() == [CLS, *[4] * 8, SEP]


def test_a_head_may_end_in_a_script_without_spaces():
    tokenizer = word_piece()
    (framed,), _ = prompts(tokenizer, 8).encode(["请总结以下文章的内容并且翻译成英文a" + " river" * 30])
    assert framed.tolist() == [CLS, UNK, UNK, *[7] * 6, SEP]


@pytest.mark.parametrize("word", ["a", "river", "x" * 40])
@pytest.mark.parametrize("limit", [1, 2, 7])
def test_a_prompt_is_cut_right_above_the_window(word, limit):
    texts = [" ".join([word] * n) for n in (limit - 1 or 1, limit, limit + 1)]
    framed, is_truncated = prompts(word_level(), limit).encode(texts)
    assert is_truncated.tolist() == [False, False, True]
    assert [len(row) for row in framed] == [(limit - 1 or 1) + 2, limit + 2, limit + 2]


def test_each_text_of_a_batch_is_encoded_as_alone():
    tokenizer = prompts(word_level(), 3)
    texts = ["a", "a river is a sum", "mountain " * 500, "x" * 40, "sum is"]
    framed, is_truncated = tokenizer.encode(texts)
    for text, row, cut in zip(texts, framed, is_truncated, strict=True):
        (alone,), (cut_alone,) = tokenizer.encode([text])
        assert row.tolist() == alone.tolist()
        assert cut == cut_alone
    assert is_truncated.tolist() == [False, True, True, False, False]


spaces = st.sampled_from([" ", "  ", "\n", "\n\n", "\t", "\r\n", "\u3000", "\u00a0", "\u2028"])
ordinary_words = [*WORDS, "unable", "abcabcd", "ab,abc", "Ünknown"]


def texts_of(words: list[str]) -> st.SearchStrategy[str]:
    parts = st.lists(st.tuples(st.sampled_from(words), spaces), max_size=120)
    return parts.map(lambda pairs: "".join(itertools.chain.from_iterable(pairs)).strip())


@each_tokenizer
@relaxed
@given(text=texts_of([*ordinary_words, "z" * 120]), limit=st.integers(1, 12))
@example(text="x" * 40, limit=1)
@example(text="a " * 300 + "x" * 300, limit=2)
@example(text="x" * 300 + " a" * 2, limit=2)
@example(text="x" * 300 + " a" * 2, limit=3)
def test_the_ends_of_a_long_text_are_the_ends_of_its_tokens(tokenizer, text, limit):
    assert_ends_of_whole(tokenizer, limit, text)


def test_no_word_is_cut_in_two():
    # The end of `pqrs` has other pieces when it stands alone: `pq ##rs`, but `qr ##s`.
    for gap in range(1, 80):
        for limit in range(1, 6):
            assert_ends_of_whole(TOKENIZERS["pieces"], limit, (" " * gap).join(["pqrs"] * 20))


def test_a_head_without_tokens_is_no_loss():
    (framed,), is_truncated = prompts(word_piece(), 3).encode(["\x00" * 500 + " river" * 3])
    assert len(framed) == 5
    assert is_truncated.tolist() == [False]


class Counting:
    """A tokenizer that notes how much text it was given."""

    def __init__(self, inner: Tokenizer) -> None:
        self.inner = inner
        self.n_characters = 0

    def no_truncation(self) -> None:
        self.inner.no_truncation()

    def no_padding(self) -> None:
        self.inner.no_padding()

    def encode(self, text: str, **options):
        self.n_characters += len(text)
        return self.inner.encode(text, **options)


@each_tokenizer
@pytest.mark.parametrize(
    "text",
    [
        "river is " * 100_000 + "a sum",
        "x" * 1_000_000,
        "a" + " " * 1_000_000 + "sum",
        "a" + "\n" * 1_000_000 + "sum",
        "a river " + "\x00" * 1_000_000 + "sum",
        "漢字" * 500_000,
        "a" + "\u0301" * 1_000_000,
        "👨‍👩‍👧‍👦" * 100_000,
        "a\u3000b" * 300_000,
    ],
    ids=["words", "one word", "spaces", "lines", "NUL", "Chinese", "accents", "emoji", "wide spaces"],
)
def test_a_megabyte_is_not_tokenised_whole(tokenizer, text):
    counting = Counting(tokenizer)
    (framed,), _ = prompts(counting, 192).encode([text])
    assert 3 <= len(framed) <= 194
    assert counting.n_characters < 60_000


def test_of_a_megabyte_in_words_little_more_than_the_window_is_tokenised():
    counting = Counting(word_level())
    (framed,), (is_truncated,) = prompts(counting, 16).encode(["river is " * 100_000 + "a sum"])
    assert framed[-3:].tolist() == [4, 6, SEP]
    assert is_truncated
    assert counting.n_characters < 1_000


@pytest.mark.parametrize(
    ("middle", "is_truncated"),
    [(" " * 50_000, False), ("x" * 50_000, False), (" \n" * 9_000 + "is" + " " * 9_000, True)],
)
def test_text_that_is_not_tokenised_is_lost_only_where_it_holds_words(middle, is_truncated):
    (framed,), (told,) = prompts(word_level(), 8).encode([f"river {middle} sum"])
    assert told == is_truncated
    assert framed.tolist() == [CLS, 7, *([UNK] if "x" in middle else []), 6, SEP]


@pytest.mark.parametrize(("before", "after"), [("", ""), ("a river ", ""), ("", " a river")])
@each_tokenizer
def test_one_huge_word_is_tokenised_like_any_other(tokenizer, before, after):
    length = 200_000 if isinstance(tokenizer.model, models.WordLevel) else 20_000
    for limit in (2, 3, 4):
        assert_ends_of_whole(tokenizer, limit, before + "x" * length + after)


@pytest.mark.parametrize("separator", ["\x0b", "\x0c", "\x1c", "\x1f", "\x85"])
@each_tokenizer
def test_a_control_character_that_python_calls_whitespace_does_not_move_the_tail(tokenizer, separator):
    # BERT leaves these characters out, so that the words around them are one.
    for filling in range(100):
        assert_ends_of_whole(tokenizer, 3, "a " * 60 + f"q{separator}abcabcd" + " " * filling + "river sum")


@pytest.mark.parametrize("space", [" ", "\n"])
@each_tokenizer
def test_a_long_run_of_whitespace_does_not_move_the_tail(tokenizer, space):
    for length in range(40, 120):
        assert_ends_of_whole(tokenizer, 4, "ab" + space * length + "abc")


# Threads


def test_eight_threads_give_the_same_ids_as_one():
    tokenizer = prompts(word_piece(), 12)
    generator = random.Random(0)
    texts = [" ".join(generator.choices([*WORDS, "unable"], k=generator.randint(1, 200))) for _ in range(400)]
    alone = [tokenizer.encode([text]) for text in texts]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda text: tokenizer.encode([text]), texts))
    for (one, cut_one), (other, cut_other) in zip(alone, together, strict=True):
        assert one[0].tolist() == other[0].tolist()
        assert cut_one.tolist() == cut_other.tolist()
    assert len({cut.item() for _, cut in alone}) == 2


# Responses


def test_a_response_keeps_its_head_and_has_no_frame():
    tokenizer = prompts(word_level(), 8)
    assert tokenizer.encode_responses(["a river is a sum", "", "sum"], 2) == [[4, 7], [], [6]]


@each_tokenizer
@relaxed
@given(texts=st.lists(texts_of(ordinary_words), max_size=3), n_tokens=st.integers(1, 16))
def test_the_head_of_a_response_is_the_head_of_its_tokens(tokenizer, texts, n_tokens):
    heads = prompts(tokenizer, 8).encode_responses(texts, n_tokens)
    assert heads == [tokenizer.encode(text, add_special_tokens=False).ids[:n_tokens] for text in texts]


# Failures


class PanicException(BaseException):
    """As pyo3's, which no module offers."""


class Failing(Counting):
    def __init__(self, error: BaseException) -> None:
        super().__init__(word_level())
        self.error = error

    def encode(self, text, **options):
        raise self.error

    encode_batch_fast = encode


@pytest.mark.parametrize("error", [Exception("no unk_id"), PanicException("inside of `the SECRET prompt`")])
@pytest.mark.parametrize("call", ["encode", "encode_responses"])
def test_whatever_a_tokenizer_raises_is_a_checkpoint_error_without_the_prompt(error, call):
    tokenizer = prompts(Failing(error), 8)
    with pytest.raises(CheckpointError, match="the tokenizer fails on a text") as caught:
        getattr(tokenizer, call)(["the SECRET prompt"], *([2] if call == "encode_responses" else []))
    assert "SECRET" not in "".join(traceback.format_exception(caught.value.with_traceback(None)))


def test_an_interrupt_is_not_taken_for_a_failure():
    with pytest.raises(KeyboardInterrupt):
        prompts(Failing(KeyboardInterrupt()), 8).encode(["a"])


def test_a_tokenizer_without_a_token_for_the_unknown_is_named():
    tokenizer = Tokenizer(models.WordLevel({"a": 0}, unk_token="absent"))
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: the tokenizer fails on a text"):
        prompts(tokenizer, 8).encode(["river"])


# Any text


odd = st.text(
    st.sampled_from("ab \n\t\x00\u202e\u2066\u200b\u200d\ufeff\u0301\ufffd😀👍🏽🇩🇪漢é\u3000\U000e0001")
    | st.characters(codec="utf-8"),
    max_size=60,
)


@each_tokenizer
@relaxed
@given(texts=st.lists(odd, max_size=4), times=st.integers(1, 200), limit=st.integers(1, 12))
def test_any_text_is_encoded_as_alone(tokenizer, texts, times, limit):
    texts = [text * times for text in texts]
    encoder = prompts(tokenizer, limit)
    framed, is_truncated = encoder.encode(texts)
    for text, row, cut in zip(texts, framed, is_truncated, strict=True):
        (alone,), (cut_alone,) = encoder.encode([text])
        assert row.tolist() == alone.tolist()
        assert cut == cut_alone
        assert len(row) <= limit + 2


# Padding


def test_rows_are_padded_on_the_left():
    ids, mask = left_pad([np.array([2, 5, 3]), np.array([2, 3]), np.array([2, 5, 6, 3])], pad_token_id=9)
    assert ids.tolist() == [[9, 2, 5, 3], [9, 9, 2, 3], [2, 5, 6, 3]]
    assert mask.tolist() == [[0, 1, 1, 1], [0, 0, 1, 1], [1, 1, 1, 1]]
    assert ids.dtype == mask.dtype == np.int64


@relaxed
@given(st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=9), min_size=1, max_size=6), st.integers(0, 50))
def test_the_mask_gives_the_rows_back(rows, pad):
    ids, mask = left_pad([np.array(row) for row in rows], pad)
    assert ids.shape == mask.shape == (len(rows), max(map(len, rows)))
    for row, padded, kept in zip(rows, ids, mask, strict=True):
        assert padded[kept == 1].tolist() == row
        assert (padded[kept == 0] == pad).all()
        assert (np.diff(kept) >= 0).all()


# The window that keeps both ends


def ends(limit: int = 16) -> PromptTokenizer:
    return PromptTokenizer(make_tokenizer(), max_prompt_tokens=limit, pad_token_id=0, window="ends")


def words_of(tokenizer: PromptTokenizer, text: str) -> list[str]:
    names = {index: token for token, index in VOCABULARY.items()}
    [ids], _ = tokenizer.encode([text])
    return [names[i] for i in ids]


def test_a_question_between_passages_stays_in_the_window_of_both_ends():
    passage = " ".join(["river stone light cloud"] * 10)
    kept = words_of(ends(), f"{passage}\nsum 1 2 ?\n{passage}")
    assert len(kept) == 16
    assert kept[:4] == ["river", "stone", "light", "cloud"]
    assert kept[4:8] == ["sum", "1", "2", "?"]
    assert kept[8:] == ["river", "stone", "light", "cloud"] * 2


def test_without_questions_between_the_window_of_both_ends_has_more_of_the_tail():
    text = " ".join(DIGITS * 4)
    assert words_of(ends(), text) == [*DIGITS[:4], *(DIGITS * 4)[-12:]]


def test_of_questions_between_that_do_not_fit_the_last_tokens_stay():
    text = "a a a a\n" + "river ?\n" * 3 + "stone ?\n" + "b b b b b b b b b b b b"
    assert words_of(ends(), text)[4:8] == ["river", "?", "stone", "?"]


@pytest.mark.parametrize("text", ["", "sum 1 2 ?", " ".join(DIGITS)])
def test_a_text_that_fits_is_the_same_in_both_windows(text):
    tail = PromptTokenizer(make_tokenizer(), max_prompt_tokens=16, pad_token_id=0)
    assert ends().encode([text])[0][0].tolist() == tail.encode([text])[0][0].tolist()
    assert not ends().encode([text])[1].any()


def test_of_a_very_long_text_the_ends_are_read():
    text = "river " * 3 + "1 " * 20_000 + "stone"
    kept = words_of(ends(), text)
    assert (kept[:3], kept[-1], len(kept)) == (["river"] * 3, "stone", 16)
    assert ends().encode([text])[1].all()
