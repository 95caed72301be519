"""Numbers that carry a check: every one that is made by its rule passes, and a wrong digit fails."""

import random

import pytest
from privacy.made import card, digits, german_tax_id, iban, luhn, national_id

from lookahead_router.privacy import checksums

DRAWS = 300


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


def test_social_security_numbers_that_were_never_given_out_are_none():
    assert checksums.is_us_ssn("123456789")
    for never in ("000456789", "666456789", "912456789", "123006789", "123450000"):
        assert not checksums.is_us_ssn(never)
