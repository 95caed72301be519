"""Numbers that carry a check: every one that is made by its rule passes, and a wrong digit fails."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from privacy.made import card, digits, german_tax_id, iban, luhn, national_id

from lookahead_router.privacy import checksums

DRAWS = 300
relaxed = settings(deadline=None)


def bare(text):
    return "".join(character for character in text if character.isalnum())


def test_known_numbers_pass():
    assert checksums.is_iban("DE89370400440532013000")
    assert checksums.is_iban("GB82WEST12345698765432")
    assert checksums.is_iban("FR1420041010050500013M02606")
    assert checksums.is_card("4111111111111111")
    assert checksums.is_card("378282246310005")
    assert checksums.is_german_tax_id("86095742719")
    assert checksums.is_french_nir("255081416802538")
    assert checksums.is_spanish_dni("12345678Z")
    assert checksums.is_spanish_dni("X1234567L")
    assert checksums.is_spanish_dni("Y1234567X")
    assert checksums.is_spanish_dni("Z1234567R")
    assert checksums.is_chinese_id("11010519491231002X")
    assert checksums.is_japanese_my_number("123456789018")


@pytest.mark.parametrize("seed", range(3))
def test_luhn_tells_every_single_wrong_digit_and_every_swap_but_nine_and_nought(seed):
    rng = random.Random(seed)
    for _ in range(DRAWS):
        number = luhn(digits(rng, rng.randint(11, 18)))
        assert checksums.is_luhn(number)
        at = rng.randrange(len(number))
        other = str((int(number[at]) + rng.randint(1, 9)) % 10)
        assert not checksums.is_luhn(number[:at] + other + number[at + 1 :])
        at = rng.randrange(len(number) - 1)
        pair = number[at : at + 2]
        if pair[0] != pair[1] and set(pair) != {"0", "9"}:
            assert not checksums.is_luhn(number[:at] + pair[::-1] + number[at + 2 :])


@pytest.mark.parametrize(("length", "may_be"), [(14, False), (15, True), (34, True), (35, False)])
def test_an_iban_of_an_unknown_country_has_15_to_34_characters(length, may_be):
    account = "1" * (length - 4)
    check = next(n for n in range(98) if int(f"{account}3535{n:02}") % 97 == 1)  # ZZ
    assert checksums.is_iban(f"ZZ{check:02}{account}") is may_be


@pytest.mark.parametrize("seed", range(3))
def test_an_iban_tells_every_single_wrong_character_and_every_swap(seed):
    rng = random.Random(seed)
    for _ in range(DRAWS):
        text = bare(iban(rng, "de"))
        assert checksums.is_iban(text)
        at = rng.randrange(4, len(text))
        other = str((int(text[at], 36) + rng.randint(1, 9)) % 10)
        if other != text[at]:
            assert not checksums.is_iban(text[:at] + other + text[at + 1 :])
        at = rng.randrange(4, len(text) - 1)
        if text[at] != text[at + 1]:
            assert not checksums.is_iban(text[:at] + text[at + 1] + text[at] + text[at + 2 :])
        assert not checksums.is_iban(text[:-1])
        assert not checksums.is_iban(text + "0")


def with_check_digits(country, account):
    """The IBAN of an account, by the rule of ISO 13616: 98 less the remainder of what is moved to the front."""
    return f"{country}{98 - int(''.join(str(int(c, 36)) for c in f'{account}{country}00')) % 97:02d}{account}"


@relaxed
@given(st.text("0123456789ABCXYZ", min_size=8, max_size=34))
def test_where_a_countrys_length_is_unknown_any_that_an_iban_may_have_will_do(account):
    text = with_check_digits("XK", account)
    assert checksums.is_iban(text) == (15 <= len(text) <= 34)
    assert not checksums.is_iban(f"{text[:2]}{(int(text[2:4]) + 1) % 100:02d}{text[4:]}")


def test_an_iban_is_of_plain_letters_and_digits():
    for text in ("DE89-70400440532013000", "DE8937040044053201300０", "ÉE89370400440532013000"):
        assert not checksums.is_iban(text)


@pytest.mark.parametrize(
    ("language", "is_one", "highest"),
    [
        ("de", checksums.is_german_tax_id, 0.06),
        ("fr", checksums.is_french_nir, 0.04),
        ("es", checksums.is_spanish_dni, 0.08),
        ("zh", checksums.is_chinese_id, 0.02),
        ("ja", checksums.is_japanese_my_number, 0.15),
    ],
)
def test_ids_pass_and_random_ones_of_their_shape_rarely_do(language, is_one, highest):
    rng = random.Random(7)
    made = [bare(national_id(rng, language)) for _ in range(DRAWS)]
    assert all(map(is_one, made))
    changed = [digits(rng, len(text) - 1) + text[-1] for text in made]
    assert sum(map(is_one, changed)) / DRAWS <= highest


def test_cards_have_an_issuers_beginning_and_length():
    rng = random.Random(0)
    assert all(checksums.is_card(bare(card(rng, "en"))) for _ in range(DRAWS))
    assert not checksums.is_card(luhn("9" + digits(rng, 14)))
    assert not checksums.is_card(luhn("4" + digits(rng, 13)))


def test_a_german_tax_id_repeats_one_digit():
    rng = random.Random(1)
    for _ in range(50):
        text = german_tax_id(rng)
        assert sorted(text[:10].count(digit) for digit in set(text[:10]))[-1] == 2
    assert not checksums.is_german_tax_id("12345678903")


@pytest.mark.parametrize(
    ("ten", "is_given_out"),
    [
        ("1123456789", True),
        ("1112345678", True),  # since 2016
        ("1111234567", False),
        ("1122345678", False),
        ("1234567890", False),
        ("0112345678", False),
    ],
)
def test_which_digits_of_a_german_tax_id_may_repeat(ten, is_given_out):
    found = [digit for digit in "0123456789" if checksums.is_german_tax_id(ten + digit)]
    assert len(found) == is_given_out


def test_a_french_number_has_a_month_or_one_of_those_that_stand_for_an_unknown_one():
    for month in range(100):
        number = f"255{month:02d}14168025"
        is_one = 1 <= month <= 12 or 20 <= month <= 42 or 50 <= month <= 99
        assert checksums.is_french_nir(f"{number}{97 - int(number) % 97:02d}") == is_one, month


@relaxed
@given(st.integers(0, 10**6 - 1), st.sampled_from([("A", 1_000_000), ("B", 2_000_000)]))
def test_the_letters_of_corsica_count_as_nought_less_a_million_or_two(order, letter):
    name, less = letter
    number = f"1850620{order:06d}"
    check = 97 - (int(number) - less) % 97
    assert checksums.is_french_nir(f"{number[:6]}{name}{number[7:]}{check:02d}")
    assert not checksums.is_french_nir(f"{number[:6]}{name}{number[7:]}{check % 97 + 1:02d}")


@relaxed
@given(st.integers(1850, 2150), st.sampled_from(["0229", "1231", "0430", "0431", "1301"]), st.integers(0, 999))
def test_a_chinese_id_is_of_somebody_born_on_a_day_since_1900(year, day, order):
    remainder = 0
    for digit in (number := f"110105{year}{day}{order:03d}"):  # ISO 7064, modulo 11, 2, digit by digit
        remainder = (remainder + int(digit)) * 2 % 11
    check = "0123456789X"[(12 - remainder) % 11]
    is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    is_a_day = day in ("1231", "0430") or (day == "0229" and is_leap)
    assert checksums.is_chinese_id(number + check) == (is_a_day and 1900 <= year <= 2100)


@pytest.mark.parametrize(("year", "is_one"), [(1899, False), (1900, True), (2100, True), (2101, False)])
def test_a_chinese_ids_first_and_last_year(year, is_one):
    assert any(checksums.is_chinese_id(f"110105{year}1231002{check}") for check in "0123456789X") == is_one


def test_social_security_numbers_that_were_never_given_out_are_none():
    assert checksums.is_us_ssn("123456789")
    for never in ("000456789", "666456789", "912456789", "123006789", "123450000"):
        assert not checksums.is_us_ssn(never)
