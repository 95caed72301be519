"""Numbers that carry a check of themselves. Every function takes them without separators."""

import re
from datetime import date

_IBAN_LENGTHS = {
    "AD": 24,
    "AE": 23,
    "AT": 20,
    "BE": 16,
    "BG": 22,
    "CH": 21,
    "CY": 28,
    "CZ": 24,
    "DE": 22,
    "DK": 18,
    "EE": 20,
    "ES": 24,
    "FI": 18,
    "FR": 27,
    "GB": 22,
    "GI": 23,
    "GR": 27,
    "HR": 21,
    "HU": 28,
    "IE": 22,
    "IL": 23,
    "IS": 26,
    "IT": 27,
    "LI": 21,
    "LT": 20,
    "LU": 20,
    "LV": 21,
    "MC": 27,
    "MT": 31,
    "NL": 18,
    "NO": 15,
    "PL": 28,
    "PT": 25,
    "RO": 24,
    "SA": 24,
    "SE": 24,
    "SI": 19,
    "SK": 24,
    "SM": 27,
    "TR": 26,
    "UA": 29,
}
_CARDS = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|5[1-5]\d{14}|(?:222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}|3[47]\d{13}"
    r"|(?:6011|65\d\d|64[4-9]\d)\d{12}|3(?:0[0-5]|[68]\d)\d{11}|35(?:2[89]|[3-8]\d)\d{12}|62\d{14,17}"
)
_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"


def is_luhn(digits: str) -> bool:
    """Whether digits end in the check digit of Luhn's rule."""
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def is_card(digits: str) -> bool:
    """Whether they are a payment card's: beginning and length of an issuer, and Luhn's rule."""
    return bool(_CARDS.fullmatch(digits)) and is_luhn(digits)


def is_iban(text: str) -> bool:
    """Whether it is an IBAN: the length of its country, and 1 modulo 97."""
    length = _IBAN_LENGTHS.get(text[:2])
    if not text.isascii() or not text.isalnum() or (length is not None and len(text) != length):
        return False
    if length is None and not 15 <= len(text) <= 34:
        return False
    return int("".join(str(int(character, 36)) for character in text[4:] + text[:4])) % 97 == 1


def is_us_ssn(digits: str) -> bool:
    """Whether the three parts of a social security number are among those given out; it has no check digit."""
    return digits[:3] not in ("000", "666") and digits[0] != "9" and digits[3:5] != "00" and digits[5:] != "0000"


def is_german_tax_id(digits: str) -> bool:
    """Eleven digits, of which one stands two or three times among the first ten; ISO 7064, modulo 11, 10."""
    counts = sorted(digits[:10].count(digit) for digit in set(digits[:10]))
    if digits[0] == "0" or counts[-1] not in (2, 3) or counts[-2] != 1:
        return False
    product = 10
    for digit in digits[:10]:
        product = 2 * ((int(digit) + product) % 10 or 10) % 11
    return (11 - product) % 10 == int(digits[10])


def is_french_nir(text: str) -> bool:
    """Fifteen characters, the last two 97 less the others modulo 97; Corsica's letters stand for numbers."""
    number = text[:13].replace("2A", "19").replace("2B", "18")
    months = (*range(1, 13), *range(20, 43), *range(50, 100))
    return number.isdigit() and int(text[3:5]) in months and 97 - int(number) % 97 == int(text[13:])


def is_spanish_dni(text: str) -> bool:
    """Eight digits, or X, Y or Z and seven; a letter by their remainder modulo 23."""
    number = text[:8].replace("X", "0").replace("Y", "1").replace("Z", "2")
    return _LETTERS[int(number) % 23] == text[8]


def is_chinese_id(text: str) -> bool:
    """Seventeen digits with a date of birth, and their check modulo 11."""
    try:
        born = date(int(text[6:10]), int(text[10:12]), int(text[12:14]))
    except ValueError:
        return False
    total = sum(int(digit) * pow(2, 17 - place, 11) for place, digit in enumerate(text[:17]))
    return 1900 <= born.year <= 2100 and "10X98765432"[total % 11] == text[17]


def is_japanese_my_number(digits: str) -> bool:
    """Twelve digits, the last one their check modulo 11."""
    total = sum(int(digit) * (place + 1 if place <= 6 else place - 5) for place, digit in enumerate(digits[10::-1], 1))
    rest = total % 11
    return (0 if rest <= 1 else 11 - rest) == int(digits[11])
