"""Made-up personal data and secrets in the forms of six languages, in sentences of theirs. Nobody's."""

import random
import string

LANGUAGES = ("en", "de", "fr", "es", "ja", "zh")

FRAMES = {
    "en": ("Write a polite reply to {}.", "My {1} is {0}, please put it into the form.", "Summarise:\n\n{}\n\nThanks!"),
    "de": ("Schreibe eine Antwort an {}.", "Meine {1}: {0}, bitte trage das ein.", "Fasse zusammen:\n{}\nDanke"),
    "fr": ("Rédige une réponse à {}.", "Voici mon {1} : {0}, complète le formulaire.", "Résume ceci :\n{}"),
    "es": ("Escribe una respuesta a {}.", "Mi {1} es {0}; ponlo en el formulario.", "Resume esto:\n{}"),
    "ja": ("{}宛ての返信を書いてください。", "私の{1}は{0}です。", "要約してください：\n{}"),
    "zh": ("请给{}写一封回信。", "我的{1}是{0}，请填写。", "请总结：\n{}"),
}
"""A sentence around the thing; `{1}` is what it is called."""
CALLED = {
    "e-mail address": ("e-mail", "E-Mail", "e-mail", "correo", "メール", "邮箱"),
    "phone number": ("phone number", "Telefonnummer", "numéro", "teléfono", "電話番号", "电话"),
    "IBAN": ("IBAN",) * 6,
    "card number": ("card", "Karte", "carte", "tarjeta", "カード番号", "卡号"),
    "national id": ("id", "Steuer-ID", "numéro de sécurité sociale", "DNI", "個人番号", "身份证号"),
    "API key": ("key",) * 6,
    "private key": ("key",) * 6,
    "password": ("password", "Passwort", "mot de passe", "contraseña", "パスワード", "密码"),
}


def digits(rng: random.Random, n: int) -> str:
    return "".join(rng.choice(string.digits) for _ in range(n))


def email(rng, language):
    first = rng.choice(("anna", "j.smith", "mueller", "li.wei", "tanaka", "garcia_p", "zoé", "x"))
    host = rng.choice(("mail.de", "post.example.org", "acme-corp.com", "kaisha.co.jp", "universite.fr", "bücher.de"))
    return f"{first}{rng.choice(('', '+news', digits(rng, 2)))}@{host}"


def phone(rng, language):
    n = lambda k: digits(rng, k)  # noqa: E731
    d = lambda: rng.choice("23456789")  # noqa: E731
    return rng.choice(
        {
            "en": (
                f"({d()}{n(2)}) {d()}{n(2)}-{n(4)}",
                f"{d()}{n(2)}-{d()}{n(2)}-{n(4)}",
                f"+1 {d()}{n(2)} {d()}{n(2)} {n(4)}",
                f"07{n(3)} {n(6)}",
                f"+44 20 7{n(3)} {n(4)}",
            ),
            "de": (f"0171 {n(7)}", f"+49 30 {n(7)}", f"0221 / {n(3)} {n(4)}", f"+49 (0)89 {n(6)}", f"0152-{n(8)}"),
            "fr": (
                f"06 {n(2)} {n(2)} {n(2)} {n(2)}",
                f"+33 1 {n(2)} {n(2)} {n(2)} {n(2)}",
                f"07{n(8)}",
                f"01.{n(2)}.{n(2)}.{n(2)}.{n(2)}",
            ),
            "es": (f"6{n(2)} {n(3)} {n(3)}", f"+34 9{n(2)} {n(3)} {n(3)}", f"9{n(2)} {n(2)} {n(2)} {n(2)}"),
            "ja": (
                f"090-{n(4)}-{n(4)}",
                f"03-{n(4)}-{n(4)}",
                f"+81 80 {n(4)} {n(4)}",
                f"080{n(8)}",
                f"０９０-{n(4)}-{n(4)}",
            ),
            "zh": (f"13{n(9)}", f"138 {n(4)} {n(4)}", f"+86 139 {n(4)} {n(4)}", f"010-{n(8)}", f"0755-{n(8)}"),
        }[language]
    )


def iban(rng, language):
    country, bban = rng.choice(
        (
            ("DE", digits(rng, 18)),
            ("FR", digits(rng, 23)),
            ("ES", digits(rng, 20)),
            ("GB", "NWBK" + digits(rng, 14)),
            ("AT", digits(rng, 16)),
            ("NL", "ABNA" + digits(rng, 10)),
        )
    )
    check = 98 - int("".join(str(int(c, 36)) for c in f"{bban}{country}00")) % 97
    text = f"{country}{check:02d}{bban}"
    return text if rng.random() < 0.5 else " ".join(text[at : at + 4] for at in range(0, len(text), 4))


def luhn(number: str) -> str:
    """The digits with their check digit."""
    total = 0
    for place, digit in enumerate(reversed(number)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value // 10 + value % 10
    return number + str(-total % 10)


def card(rng, language):
    number = luhn(rng.choice((f"4{digits(rng, 14)}", f"5{rng.randint(1, 5)}{digits(rng, 13)}", f"37{digits(rng, 12)}")))
    if len(number) == 15:
        return f"{number[:4]} {number[4:10]} {number[10:]}"
    return rng.choice(
        (
            number,
            " ".join(number[at : at + 4] for at in range(0, 16, 4)),
            "-".join((number[:4], number[4:8], number[8:12], number[12:])),
        )
    )


def german_tax_id(rng):
    ten = rng.sample(string.digits, 9)
    ten.insert(rng.randrange(1, 9), rng.choice(ten))
    if ten[0] == "0":
        return german_tax_id(rng)
    product = 10
    for digit in ten:
        product = 2 * ((int(digit) + product) % 10 or 10) % 11
    return "".join(ten) + str((11 - product) % 10)


def national_id(rng, language):
    n = lambda k: digits(rng, k)  # noqa: E731
    if language == "en":
        return rng.choice(
            (f"{rng.randint(100, 665)}-{rng.randint(10, 99)}-{rng.randint(1000, 9999)}", f"AB {n(2)} {n(2)} {n(2)} C")
        )
    if language == "de":
        text = german_tax_id(rng)
        return rng.choice((text, f"{text[:2]} {text[2:5]} {text[5:8]} {text[8:]}"))
    if language == "fr":
        number = f"{rng.choice('12')}{n(2)}{rng.randint(1, 12):02d}{rng.randint(1, 95):02d}{n(3)}{n(3)}"
        text = f"{number}{97 - int(number) % 97:02d}"
        return rng.choice(
            (text, f"{text[0]} {text[1:3]} {text[3:5]} {text[5:7]} {text[7:10]} {text[10:13]} {text[13:]}")
        )
    if language == "es":
        number = n(8)
        return f"{number}{rng.choice(('', '-'))}{'TRWAGMYFPDXBNJZSQVHLCKE'[int(number) % 23]}"
    if language == "ja":
        eleven = n(11)
        total = sum(int(p) * (q + 1 if q <= 6 else q - 5) for q, p in enumerate(reversed(eleven), 1))
        text = eleven + str(0 if total % 11 <= 1 else 11 - total % 11)
        return rng.choice((f"{text[:4]} {text[4:8]} {text[8:]}", f"{text[:4]}-{text[4:8]}-{text[8:]}"))
    born = f"{rng.randint(1940, 2010)}{rng.randint(1, 12):02d}{rng.randint(1, 28):02d}"
    number = f"{rng.randint(11, 65)}0{n(1)}0{n(1)}{born}{n(3)}"
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return number + "10X98765432"[sum(int(d) * w for d, w in zip(number, weights, strict=True)) % 11]


def api_key(rng, language):
    word = lambda k: "".join(rng.choice(string.ascii_letters + string.digits) for _ in range(k))  # noqa: E731
    upper = "".join(rng.choice(string.ascii_uppercase + string.digits) for _ in range(16))
    return rng.choice(
        (
            f"sk-proj-{word(48)}",
            f"sk-ant-api03-{word(40)}",
            f"AKIA{upper}",
            f"ghp_{word(36)}",
            f"AIza{word(35)}",
            f"xoxb-{digits(rng, 11)}-{word(24)}",
            f"hf_{word(34)}",
            f"eyJ{word(20)}.eyJ{word(40)}.{word(43)}",
            f"glpat-{word(20)}",
        )
    )


def private_key(rng, language):
    kind = rng.choice(("RSA ", "EC ", "OPENSSH ", "", "ENCRYPTED "))
    body = "".join(rng.choice(string.ascii_letters + string.digits + "+/") for _ in range(64))
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{body}\n-----END {kind}PRIVATE KEY-----"


def password(rng, language):
    said = "".join(rng.choice(string.ascii_letters) for _ in range(6)) + digits(rng, 3) + rng.choice("!#?-_")
    label = CALLED["password"][LANGUAGES.index(language)]
    return rng.choice(
        (f"{label}: {said}", f'PASSWORD="{said}"', f"postgres://app:{said.strip('#?')}@db.acme-corp.com/x")
    )


MAKERS = {
    "e-mail address": email,
    "phone number": phone,
    "IBAN": iban,
    "card number": card,
    "national id": national_id,
    "API key": api_key,
    "private key": private_key,
    "password": password,
}


def prompts(n: int, seed: int = 0):
    """`(kind, language, prompt)` of everything, n of each kind in each language."""
    rng = random.Random(seed)
    for kind, make in MAKERS.items():
        for place, language in enumerate(LANGUAGES):
            for _ in range(n):
                thing = make(rng, language)
                yield kind, language, rng.choice(FRAMES[language]).format(thing, CALLED[kind][place])
