"""What a set of rules finds of personal data and secrets: what has a shape of its own, in six languages' forms.

English, German, French, Spanish, Japanese and Chinese. Names and addresses have no shape; it takes a model to find
them, such as Presidio's. Whatever carries a check of itself is held to it. No pattern takes longer than in proportion
to the text.
"""

import ipaddress
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from lookahead_router.privacy import checksums
from lookahead_router.privacy.kinds import (
    API_KEY,
    CARD,
    EMAIL,
    IBAN,
    IP_ADDRESS,
    KINDS,
    NATIONAL_ID,
    PASSWORD,
    PHONE,
    PRIVATE_KEY,
)

_INVISIBLE = re.compile("[\u00ad\u200b-\u200d\u2060\ufeff]")
_SEPARATORS = re.compile(r"[\s./()\-\u2010-\u2015]")


@dataclass(frozen=True)
class Finding:
    """Something private; holds where it stands and nothing of it."""

    kind: str
    """Out of `ALL_KINDS`."""
    start: int
    end: int
    """In the text as `plain` gives it."""


def find_private(text: str, kinds: Iterable[str] = KINDS) -> list[Finding]:
    """What a text holds of personal data and secrets.

    Args:
        text: of any length.
        kinds: out of `ALL_KINDS`.
    """
    text = plain(text)
    found = []
    for kind in kinds:
        found += [Finding(kind, start, end) for start, end in _RULES[kind](text)]
    return found


def has_private(text: str, kind: str) -> bool:
    """Whether a text, as `plain` gives it, holds something of a kind; stops at the first."""
    return next(iter(_RULES[kind](text)), None) is not None


def plain(text: str) -> str:
    """The text without invisible characters, its digits and letters in their plain width."""
    return text if text.isascii() else unicodedata.normalize("NFKC", _INVISIBLE.sub("", text))


Places = Iterator[tuple[int, int]]

_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,6}[^\W\d_]{2,24}(?![\w-])")
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]{4}){2,7}(?:[ -]?[A-Z0-9]{1,3})?(?![A-Za-z0-9])")
_CARD = re.compile(r"(?<![\d.,])\d(?:[ -]?\d){12,18}(?![\d]|[.,]\d)")
_PHONE = re.compile(
    r"(?<![A-Za-z0-9_+.,/-])(?:"
    r"(?:\+[1-9]\d{0,2}[ .\-/]{0,2}|00 ?[1-9]\d{1,2}[ .\-/]{1,2})(?:\(0?\d{1,4}\)[ .\-/]?)?\d(?:[ .\-/]?\d){5,11}"
    r"|(?:1[ .-])?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[.-])[2-9]\d{2}[ .-]\d{4}"  # North America
    r"|0[1-9](?:[ .-]\d{2}){4}|0[67]\d{8}"  # France
    r"|\(0 ?[1-9]\d{1,4}\)[ /-]?\d{2,4}(?:[ -]?\d{2,4}){1,3}|0[1-9]\d{0,3}\(\d{1,4}\)\d{4}"  # an area in brackets
    r"|[89]\d \d{3} \d{2} \d{2}"
    r"|[679]\d{2}(?P<es>[ -])(?!000[ -]000)\d{3}(?P=es)\d{3}|[679]\d{2}(?: \d{2}){3}"  # Spain; 600 000 000 is a sum
    r"|\(?0[1-9]\d{1,4}\)?[ /-]{1,3}\d{3,4}(?:[ -]?\d{2,4}){1,2}|01[5-7]\d{8,9}"  # Germany, Britain
    r"|07\d{3} ?\d{6}|0[25789]0-?\d{4}-?\d{4}|0\d-\d{4}-\d{4}|0\d{2}-\d{3}-\d{4}|0\d{3}-\d{2}-\d{4}"  # Britain, Japan
    r"|1[3-9]\d(?:[ -]?\d{4}){2}|0\d{2,3}-\d{7,8}"  # China
    r")(?![A-Za-z0-9_/*^-]|[.,]\d)"
)
_CALLED = re.compile(
    r"(?:\b(?:tel|phone|telephone|mobile|cell|call me (?:at|on)|telefon(?:nummer)?|handy(?:nummer)?|mobil(?:nummer)?"
    r"|téléphone|portable|teléfono|móvil|celular)\b|電話(?:番号)?|携帯(?:番号)?|电话(?:号码)?|手机(?:号码?)?)"
    r"[^\d\n+]{0,20}(\+?\d(?:[ .\-/()]{0,2}\d){6,14})(?!\d)",
    re.IGNORECASE,
)
_IDS: tuple[tuple[re.Pattern[str], Callable[[str], bool]], ...] = (
    (re.compile(r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])"), checksums.is_us_ssn),
    (re.compile(r"(?<![\w.,-])\d{2} ?\d{3} ?\d{3} ?\d{3}(?![\w-]|[.,]\d)"), checksums.is_german_tax_id),
    (
        re.compile(r"(?<![\w.,-])[12] ?\d{2} ?\d{2} ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3} ?\d{2}(?![\w-]|[.,]\d)"),
        checksums.is_french_nir,
    ),
    (re.compile(r"(?<![\w-])(?:\d{8}|[XYZ]-?\d{7})-?[A-Z](?![\w-])"), checksums.is_spanish_dni),
    (re.compile(r"(?<![A-Za-z\d])\d{17}[\dX](?![A-Za-z\d])"), checksums.is_chinese_id),
    (re.compile(r"(?<![\d-])(?<!\d )\d{4}[ -]\d{4}[ -]\d{4}(?![ -]?\d)"), checksums.is_japanese_my_number),
    (re.compile(r"(?:(?<=ナンバー[はが:])|(?<=個人番号[はが:]))\s?\d{12}(?!\d)"), checksums.is_japanese_my_number),
)
_DIGIT = re.compile(r"\d")
_MIN_DIGITS = 6
"""Digits of a number of papers, at least; the rest may be letters."""
_NINO = re.compile(
    r"(?<![\w-])(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D](?![\w-])"
)
_MEXICAN = re.compile(r"(?<![A-Z0-9])[A-Z]{4}\d{6}(?:[HMX][A-Z]{5}[A-Z0-9]\d|[A-Z0-9]{3})(?![A-Z0-9])")
"""CURP and RFC."""
_PAPERS = re.compile(
    r"(?:\b(?:passport|NHS (?:number|no)|driving licen[cs]e|driver'?s licen[cs]e|personalausweis\w*|reisepass\w*"
    r"|führerschein\w*|sozialversicherungsnummer|rentenversicherungsnummer|passeport|carte d'identité"
    r"|permis de conduire|aufenthaltstitel|EIN|titre de séjour"
    r"|num[ée]ro fiscal|pasaporte|permiso de conducir|seguridad social)\b"
    r"|運転免許証|免許証|旅券|パスポート|在留カード|护照|通行证|驾驶证|驾照|社保卡)"
    r"[^\d\n:：]{0,24}?[:：]?\s?"
    r"((?<![A-Za-z])(?!(?:19|20)\d\d[ .-](?:19|20)\d\d)[A-Z]{0,2}(?:[ .-]?[A-Z0-9]){7,16})(?![A-Za-z0-9])",
    re.IGNORECASE,
)
"""What is called the number of somebody's papers; most have no check that is public."""
_PRIVATE_KEY = re.compile(r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----|PuTTY-User-Key-File-\d:")
_API_KEY = re.compile(
    r"(?<![A-Za-z0-9_-])(?:"
    r"sk-(?:ant-|proj-|or-|svcacct-|admin-)?[A-Za-z0-9_-]{20,}|(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,}"
    r"|(?:AKIA|ASIA)[0-9A-Z]{16}|LTAI[A-Za-z0-9]{12,24}|\d{8,10}:AA[\w-]{33}|gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{22,}|glpat-[\w-]{20,}"
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-\d-[A-Za-z0-9-]{10,}|AIza[\w-]{35}|ya29\.[\w-]{20,}|hf_[A-Za-z0-9]{30,}"
    r"|gsk_[A-Za-z0-9]{40,}|xai-[A-Za-z0-9]{40,}|r8_[A-Za-z0-9]{37,}|npm_[A-Za-z0-9]{36}|pypi-[\w-]{40,}"
    r"|dop_v1_[0-9a-f]{64}|dckr_pat_[\w-]{20,}|shp(?:at|ss|ca)_[0-9a-fA-F]{32}|SG\.[\w-]{20,24}\.[\w-]{39,50}"
    r"|dapi[0-9a-f]{32}|AKID[A-Za-z0-9]{30,34}|SK[0-9a-f]{32}|key-[0-9a-f]{32}|sq0(?:atp|csp)-[\w-]{22,}|lin_api_[A-Za-z0-9]{32,}|PMAK-[0-9a-f]{24}-[0-9a-f]{34}"
    r"|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"
    r")|AccountKey=[A-Za-z0-9+/]{60,}|[Aa]uthorization: Basic [A-Za-z0-9+/=]{16,}"
    r"|hooks\.slack\.com/services/T\w{6,}/B\w{6,}/\w{16,}"
    r"|discord(?:app)?\.com/api/webhooks/\d{15,}/[\w-]{40,}"
)
_PASSWORD = re.compile(
    r"(?:pass(?:word|wort|phrase|wd)|pwd|kennwort|mot de passe|\bmdp|contraseña|\bclave|パスワード|\bPW|密码"
    r"|api[_-]?key|secret(?:[_-]?key)?|access[_-]?token|auth[_-]?token|client[_-]?secret)[\"']?"
    r"(?:\s(?:for|of|to|für|zum|vom|du|de|del|de la|pour|para)(?:\s[\w-]{1,20}){1,2}?)?"
    r"(?:\s?(?:is|was|ist|war|lautet|est|était|es|era|は|是|改成了?)\s?|\s{0,3}[:=：]\s{0,3})"
    r"([\"'`]?)([^\s\"'`,;<>{}()]{8,200})\1",
    re.IGNORECASE,
)
_IN_URL = re.compile(r"(?<![a-z0-9])[a-z][a-z0-9+.-]{1,20}://[^\s/:@]{1,100}:([^\s/@]{3,100})@[\w.-]+", re.IGNORECASE)
_PLACEHOLDER = re.compile(
    r"your|example|placeholder|change.?me|redacted|password|passwort|secret|token|env|config|settings|input|x{4}|\*{3}"
    r"|\.{3}|^\$|%|\[|^[a-z_]\w*\.[\w.]+$",
    re.IGNORECASE,
)
_IP = re.compile(r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){2,7})(?![\w:]|\.\d)")


def _places(pattern: re.Pattern[str]) -> Callable[[str], Places]:
    return lambda text: (match.span() for match in pattern.finditer(text))


def _checked(pattern: re.Pattern[str], is_one: Callable[[str], bool], text: str) -> Places:
    for match in pattern.finditer(text):
        if is_one(_SEPARATORS.sub("", match[0])):
            yield match.span()


def _emails(text: str) -> Places:
    return iter(()) if "@" not in text else _places(_EMAIL)(text)


def _phones(text: str) -> Places:
    yield from _places(_PHONE)(text)
    yield from (match.span(1) for match in _CALLED.finditer(text))


def _cards(text: str) -> Places:
    return _checked(_CARD, checksums.is_card, text)


def _ibans(text: str) -> Places:
    for match in _IBAN.finditer(text):
        # Words in capitals may follow within the pattern: the longest beginning that is one counts.
        parts = re.split("[ -]", match[0])
        for n in range(len(parts), 0, -1):
            if checksums.is_iban("".join(parts[:n])):
                yield match.start(), match.start() + len(" ".join(parts[:n]))
                break


def _national_ids(text: str) -> Places:
    for pattern, is_one in _IDS:
        yield from _checked(pattern, is_one, text)
    yield from _places(_NINO)(text)
    yield from _places(_MEXICAN)(text)
    yield from (match.span(1) for match in _PAPERS.finditer(text) if len(_DIGIT.findall(match[1])) >= _MIN_DIGITS)


def _passwords(text: str) -> Places:
    match = _PASSWORD.search(text)
    while match is not None:
        said = match[2]
        is_mixed = any(each.isdigit() for each in said) and any(each.isalpha() for each in said)
        if is_mixed and not _PLACEHOLDER.search(said):
            yield match.span(2)
        match = _PASSWORD.search(text, match.start(2))  # which may be a label itself
    for match in _IN_URL.finditer(text) if "://" in text else ():
        if not _PLACEHOLDER.search(match[1]) and match[1].lower() not in ("pass", "pwd"):
            yield match.span(1)


def _ip_addresses(text: str) -> Places:
    for match in _IP.finditer(text):
        try:
            address = ipaddress.ip_address(match[0])
        except ValueError:
            continue
        if address.is_global:
            yield match.span()


_RULES: dict[str, Callable[[str], Places]] = {
    EMAIL: _emails,
    PHONE: _phones,
    IBAN: _ibans,
    CARD: _cards,
    NATIONAL_ID: _national_ids,
    PRIVATE_KEY: _places(_PRIVATE_KEY),
    API_KEY: _places(_API_KEY),
    PASSWORD: _passwords,
    IP_ADDRESS: _ip_addresses,
}
