"""The estimate of tokens against a tokenizer, in many scripts."""

import math
import time

import pytest

from lookahead_router.predictors.lookahead import LookaheadPredictor
from lookahead_router.prompts import estimate_tokens

ARTICLE_ONE = {
    "English": "All human beings are born free and equal in dignity and rights. They are endowed with reason and "
    "conscience and should act towards one another in a spirit of brotherhood.",
    "German": "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft und Gewissen "
    "begabt und sollen einander im Geist der Brüderlichkeit begegnen.",
    "Turkish": "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar. Akıl ve vicdana sahiptirler ve "
    "birbirlerine karşı kardeşlik zihniyeti ile hareket etmelidirler.",
    "Vietnamese": "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền lợi.",
    "Russian": "Все люди рождаются свободными и равными в своем достоинстве и правах.",
    "Greek": "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα.",
    "Arabic": "يولد جميع الناس أحراراً متساوين في الكرامة والحقوق. وقد وهبوا عقلاً وضميراً.",
    "Hebrew": "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם. כולם חוננו בתבונה ובמצפון.",
    "Hindi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है।",
    "Bengali": "সমস্ত মানুষ স্বাধীনভাবে সমান মর্যাদা এবং অধিকার নিয়ে জন্মগ্রহণ করে।",
    "Tamil": "மனிதப் பிறிவியினர் சகலரும் சுதந்திரமாகவே பிறக்கின்றனர்.",
    "Thai": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ",
    "Chinese": "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心。",
    "Japanese": "すべての人間は、生れながらにして自由であり、かつ、尊厳と権利とについて平等である。",
    "Korean": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
    "Georgian": "ყველა ადამიანი იბადება თავისუფალი და თანასწორი თავისი ღირსებითა და უფლებებით.",
    "Armenian": "Բոլոր մարդիկ ծնվում են ազատ ու հավասար՝ իրենց արժանապատվությամբ և իրավունքներով։",
    "code": "def count(words: list[str]) -> dict[str, int]:\n"
    '    """Counts."""\n    return {w: words.count(w) for w in words}',
    "numbers": "1234567890, 3.14159, -0.5e-10; 2026-11-26T00:00:00Z",
    "emoji": "😀😃 party 🎉🎉 flags 🇩🇪🇫🇷 family 👨‍👩‍👧‍👦",
}

# Tokens by the one that makes most: of SmolLM2's, Mistral's first and latest, GPT-4's, GPT-4o's and BERT's.
HUNGRIEST = {
    "English": 34,
    "German": 60,
    "Turkish": 74,
    "Vietnamese": 70,
    "Russian": 59,
    "Greek": 84,
    "Arabic": 71,
    "Hebrew": 91,
    "Hindi": 94,
    "Bengali": 127,
    "Tamil": 98,
    "Thai": 121,
    "Chinese": 47,
    "Japanese": 70,
    "Korean": 85,
    "Georgian": 144,
    "Armenian": 150,
    "code": 45,
    "numbers": 51,
    "emoji": 51,
}


@pytest.fixture(scope="module")
def tokenizer():
    return LookaheadPredictor.load().tokenizer._tokenizer


@pytest.mark.parametrize("text", ARTICLE_ONE.values(), ids=ARTICLE_ONE)
def test_no_text_has_more_tokens_than_are_estimated(tokenizer, text):
    assert estimate_tokens(text) >= len(tokenizer.encode(text, add_special_tokens=False).ids)


@pytest.mark.parametrize(("name", "most"), HUNGRIEST.items())
def test_an_estimate_lies_between_the_hungriest_tokenizer_and_twice_that(name, most):
    assert 0.9 * most <= estimate_tokens(ARTICLE_ONE[name]) <= 2 * most


def test_twelve_thousand_chinese_characters_do_not_fit_a_window_of_four_thousand():
    assert estimate_tokens("漢" * 12_000) > 12_000


def test_an_estimate_adds_up():
    texts = list(ARTICLE_ONE.values())
    together = estimate_tokens("".join(texts))
    assert together == pytest.approx(sum(map(estimate_tokens, texts)), abs=len(texts))
    assert estimate_tokens("") == 0
    assert estimate_tokens("\ud800\x00") >= 1


def test_ten_megabytes_are_estimated_at_once():
    text = "The river is 7 km long – 漢字 😀.\n" * 300_000
    start = time.process_time()
    assert math.isfinite(estimate_tokens(text))
    assert time.process_time() - start < 2
