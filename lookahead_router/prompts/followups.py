"""Whether a question begins a topic or goes on with one, told by lengths and by words that came up before.

What holds in any language decides: how long it is, also beside the questions before it, which words are known from
them, and whether it brings matter of its own such as a formula, a quote or a list. Words that refer back, that name a
subject, or that say nothing help; they are known of English, German, French, Spanish, Chinese and Japanese.

Its patterns take milliseconds to compile, so it is imported where a conversation is read and not before.
"""

import math
import re
from collections.abc import Sequence
from operator import mul

from lookahead_router.prompts.reading import FOLLOWS

LONG_WORDS = 25
"""From so many words on, a question brings enough of its own, whatever it refers to."""
_LONGEST_WORD = 40
_LETTERS = 15
"""From so many letters on, a word is several: other scripts put no spaces between them either."""

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")
_CHARACTERS_PER_WORD = 2
"""Length of a word of Chinese and Japanese, which put no spaces between words."""
_MATTER = re.compile(
    r"\d\s*[-+*/^×÷=<>]\s*[\da-z(]|[a-z]\s*[\^=<>]\s*-?[\da-z(]|https?://|```|[:：]\s*\S+\s+\S+\s+\S|\n\s*\S+\s+\S+\s+\S"
    r"|[\"“„«「『][^\"”“»」』]{8,}[\"”“»」』]",
    re.IGNORECASE,
)
"""What a question brings along: a formula, an address, a listing, a quote, a text after a colon."""

_MARKS = (
    # English
    r"\b(?:this|these|those|them|they|he|she|him)\b(?!\s+(?:weekend|week|year|month|morning|evening|summer|winter))",
    r"\bthat\b(?=\s*(?:[?.!,;]|$|(?:is|was|does|did|do|also|still|really|even|work|works|mean|in|to|into|with|"
    r"for|one|too|again|as|code|function|"
    r"answer|sentence|part|step|result|example|line|version|number|case)\b))",
    r"^(?:\W*[\w']+){0,4}?\W*\bit\b",
    r"^\W*(?:(?:please|now|can you|could you|bitte|jetzt|kannst du|peux-tu|puedes)\W+)*"
    r"(?:translate|übersetze?|traduis|traduce)\W+(?:to|into|ins|auf|en|al|nach)\b|(?:翻译|译)(?:成|为)|訳して",
    r"\b(?:its|it)\W*$|^(?:\W*[\w']+){1,4}?\W+its\b",
    r"^\W*(?:(?:please|now|then|could you|can you)\W+)*(?:add|use|mention|include|remove|replace|change|rename|rewrite|"
    r"shorten|extend|improve|commit|undo|quiz|double-check|simplify|sort|avoid|leave out|turn|show me|check)\b",
    r"\b(?:the|your) (?:above|previous|other|former|latter|same)\b"
    r"|\b(?:the|your) (?:first|second|third|last|next) "
    r"(?:one|step|part|example|sentence|line|option|point|idea|question|paragraph|version|solution|answer|case|word)\b"
    r"|\b(?:the|your) (?:first|second|third|last|next)\W*$",
    r"\byour (?:answer|code|solution|example|result|reply|text|story|poem|function|version|plan|list|translation)s?\b",
    r"\bthe (?:code|function|answer|result|example|solution|text|story|poem|translation|proof|list|plan)\W*$",
    # German
    r"\b(?:davon|dazu|damit|daran|dafür|darüber|dabei|daraus|darin)\b",
    r"\b(?:das|dies|dieser|diese|dieses|diesen|diesem|dort)\b"
    r"(?=\s*(?:[?.!,;]|$|(?:ist|war|auf|in|mit|für|bitte|noch|nochmal|auch|als|genauer|kürzer|anders|heißt|"
    r"bedeutet|kürzer|"
    r"lustiger|geht|ganze|gleiche|erste|zweite|letzte|selbe)\b))",
    r"\b(?:mach|mache|schreib|erklär|erkläre|übersetze|übersetz|kürze|formuliere|kannst du|könntest du|ist|war|wird)"
    r" (?:es|ihn|sie|das|dies)\b(?! (?:sicher|möglich|gesund|erlaubt|besser))",
    r"^\W*es (?:soll|muss|darf|kann|ist|wird|hat|geht|klappt|funktioniert|sollte)\b",
    r"^\W*(?:füge|ergänze|ersetze|ändere|nimm|verwende|benutze|lass|erwähne|entferne)\b",
    # French
    r"\w-t-(?:il|elle)s?\b|^\W*(?:ajoute|remplace|utilise|enlève|change|montre|mentionne|raccourcis)\b",
    r"^(?:peux-tu|pouvez-vous|tu peux) (?:le|la|les)\b|\b(?:ça|cela|ceci|celui|celle|ceux|celles)\b"
    r"|\w-(?:le|la|les)\b|\bl'(?:expliquer|écrire|améliorer|traduire)\b",
    r"\b(?:ton|ta|tes|votre|le|la) (?:réponse|code|fonction|exemple|précédente?|premier|première|deuxième|second|"
    r"seconde|dernier|dernière|même)\b",
    # Spanish
    r"^\W*(?:añade|agrega|usa|quita|cambia|menciona|reemplaza)\b|\b(?:cómo|cuándo|dónde) (?:lo|la|los|las)\b",
    r"\b(?:eso|esto|aquello|hazlo|dilo|ponlo)\b|\b\w*[áéíóú]\w*[aei]l[oa]s?\b",
    r"\b(?:tu|la|el) (?:respuesta|código|función|ejemplo|anterior|primero|primera|segundo|segunda|último|última|mismo|"
    r"misma)\b",
    # Japanese, Chinese
    "それ|これ|あれ|その|この(?!頃)|さっき|先ほど|上の|もっと|もう少し|もう一|続き|続け|同じ|代わりに|ほかに|他に|他の|別の|も(?:表示|追加|入れ|つけ|書い|教え)",
    "它|这个|那个|这些|那些|这段|那段|这样|那样|上面|刚才|前面|继续|换成|改成|再[^见现生次利过]|更|一点|第[一二三]",
)
_IMPERSONAL = re.compile(
    r"\b(?:is|was|will|would) it (?:\w+ ){0,2}(?:to|that|when|in)\b|\b(?:does|did) it (?:take|cost)\b", re.IGNORECASE
)
"""Where `it` stands for nothing."""
_REFERS = re.compile("|".join(_MARKS), re.IGNORECASE)
_THANKS = re.compile(
    r"\W*(?:perfect|great|nice|good|cool|thanks|thank you|ok|okay|alright|super|perfekt|danke|parfait|merci|genial|"
    r"perfecto|gracias|谢谢|好的|ありがとう)[,.!;，。！、 ]+(?=\w)",
    re.IGNORECASE,
)
_GOES_ON = re.compile(
    r"\W*(?:(?:and|but|or|then|also|plus|instead|what about|how about|what if|why not|okay|ok|thanks|thank you|"
    r"und|aber|oder|auch|dann|stattdessen|wie wäre|was ist mit|warum nicht|danke|et|mais|ou|alors|puis|aussi|merci|"
    r"y|pero|o|entonces|también|gracias|qué tal|por qué no)\b"
    r"|じゃあ|では|でも|あと|それで|那么|那|还有|但是|可是|如果)",
    re.IGNORECASE,
)
_ELLIPTIC = re.compile(
    r"\W*(?:in|for|with|without|as|at|from|more|less|much|a bit|a little|only|just|no|not|shorter|longer|simpler|"
    r"auf|für|mit|ohne|als|mehr|weniger|etwas|nur|nein|nicht|kürzer|länger|einfacher|noch|und zwar|bitte|"
    r"en|pour|avec|sans|comme|plus|moins|non|pas|encore|un peu|seulement|"
    r"con|sin|para|como|más|menos|no|solo|otra|otro|un poco)\b",
    re.IGNORECASE,
)
_NAMES = re.compile(
    r"\W*(?:(?:please|bitte)\W+)?(?:(?:what(?: is| are|'s)|who (?:is|was|were)|was (?:ist|sind)|wer (?:ist|war|waren)|"
    r"qu'est-ce que?|qui (?:est|était|sont)|qué (?:es|son)|quién (?:es|fue|era)) (?!the |this |that |its |der |"
    r"die |das |"
    r"mit |there|it\b|ich |du )|"
    r"(?:explain|define|describe|translate|summari[sz]e|write|solve|prove|compute|calculate|compare|design|create|"
    r"generate|implement|recommend|suggest|draw|plan|tell me|give me|erkläre?|definiere|beschreibe?|übersetze?|"
    r"schreibe?|"
    r"löse|beweise|berechne|entwirf|plane|explique|définis|décris|traduis|écris|résous|démontre|calcule|"
    r"describe|traduce|"
    r"escribe|resuelve|demuestra|calcula|compara|diseña) (?!the |this |that |it\b|more|further|again|please|"
    r"der |die |das |"
    r"le |la |el |me |mir |another|one |some |ein beispiel|un exemple|un ejemplo|an example|another|why|how|"
    r"warum|wie))",
    re.IGNORECASE,
)
"""What names its one subject: `what is entropy`, `write a haiku`."""
_ENDS = re.compile(r"(?:呢|は|って|なら|吗|だと)\W*$")
_SAYING_NOTHING = """
a an the i me my you your we us to of on is are am be do does did can could would will please thanks thank ok okay yes
no yeah sure hi hello hey there good morning evening afternoon day bye great nice cool perfect how why what when where
who which again more less further else go going keep continue next try explain elaborate details detail example
examples example's one another some any shorter longer simpler better faster help so and or but it that this much very
really still too also now then correct right wrong sounds looks works all same finish ich du mir mich dich sie ihr wir
der die das ein eine einen bitte danke hallo guten gut tag morgen abend ja nein doch klar super toll genau warum wieso
weshalb wie was wer wo wann weiter mehr weniger noch mal nochmal einmal erkläre erklär genauer ausführlicher kürzer
länger einfacher besser beispiel beispiele und oder aber jetzt dann mach machen kannst könntest geht's vielen dank
viel sehr auch hilf helfen je tu te vous nous le la les un une des de est es ça va bonjour bonsoir salut merci
beaucoup oui non bien pourquoi comment quoi qui que quel quelle où quand encore plus moins continuez explique
expliquez détails exemple exemples court courte simple mieux s'il plaît stp svp et ou mais maintenant alors peux
pouvez aider aide yo tú usted el los las una unos por qué cómo quién cuál dónde cuándo favor gracias muchas hola
buenos buenas días tardes noches sí está estás más menos otra otro vez sigue continúa continua explica explícame
detalles ejemplo ejemplos corto corta mejor y o pero ahora entonces puedes ayudarme ayuda tal both each every few
first second third last two three four five step steps should must might may shall were been being has have had having
i'm i've i'd it's that's what's how's don't doesn't isn't use used using see get got give gives need want know think
say tell show work working happen happens mean means look come comes take takes make makes made done put let like
expect question questions answer thing things way ways kind sort only just not without with for from in into at by as
than if because their his her its our they them he she who's there's ever up down out over alles alle beide beiden
jede jeder jedes erste zweite dritte schritt für zwei drei soll sollte muss musst kann können darf hat haben habe hast
war waren sein ist sind wird werden geht gehen macht heißt bedeutet gib zeig zeige sag nimm brauche brauchst lange
viele welche welcher welches davon dafür mit ohne auf von zu im bei als wenn weil nur nicht kein keine chaque deux
trois première premier étape étapes dois doit devrais faut peut puis est-ce sont était ai avez donne donnez montre
montrez fais faire fait veux veut dis dire moi toi lui elle il ils elles ce cette ces mon ma mes ton ta tes son sa ses
notre votre pour par avec sans sur dans au aux en combien temps autre autres d'autres pas ne si car cada dos tres paso
pasos primero primera debo debe debería puede puedo era fue tiene tienes tengo hay da dame muestra muéstrame haz hacer
hace quiero dime decir lo se mi su sus para con sin del al porque cuánto cuánta cuántos tiempo cosa cosas
"""
"""Words that say next to nothing of what a conversation is about: English, German, French, Spanish."""
_EMPTY = frozenset(_SAYING_NOTHING.split())
_CJK_EMPTY = re.compile(
    "你好|您好|请问|谢谢|多谢|早上好|晚上好|好的|可以|能帮我|帮我|帮忙|一下|继续|为什么|怎么样|怎么|什么|例子|举个|解释|详细|请|你|我|吗|呢|的|吧|个"
    "|こんにちは|こんばんは|おはよう|ございます|ありがとう|お願いします|ください|よろしく|すみません|はい|いいえ|なぜ|どうして|どう|続けて"
    "|もっと|詳しく|例えば|説明して|教えて|ですか|か|を|は|の|で"
)


def has_matter(question: str) -> bool:
    """Whether a question says anything to decide by; a greeting, thanks and "go on" do not."""
    if len(question) > LONG_WORDS * _LONGEST_WORD:
        return True
    cjk, words = _apart(question)
    n_words = sum(1 + len(word) // _LETTERS for word in words) + len(cjk) / _CHARACTERS_PER_WORD
    if n_words >= LONG_WORDS or _MATTER.search(question):
        return True
    if cjk:
        left = _CJK.findall(_CJK_EMPTY.sub("", question))
        return len(left) + 2 * len(words) >= 1 and n_words >= _FEWEST_CJK
    matter = sum(len(word) > 1 and not word.isdigit() and word not in _EMPTY for word in words)
    if _NAMES.match(question):
        return matter > 0
    return n_words > 2 and (matter > 1 or (matter == 1 and n_words > _SHORT))


def points_back(question: str) -> bool:
    """Whether a short question takes something up by a word that is known to: `that`, `and`, `the second one`."""
    question = _THANKS.sub("", question[:_READ], count=1)
    n_words = _n_words(question)
    if n_words > 8 and _MATTER.search(question):
        return False
    return (
        (n_words <= 12 and bool(_REFERS.search(_IMPERSONAL.sub("", question)) or _GOES_ON.match(question)))
        or (n_words <= 8 and bool(_ENDS.search(question)))
        or (n_words <= 5 and bool(_ELLIPTIC.match(question)))
    )


_HANGUL = re.compile(r"[\uac00-\ud7af]")
_HANGUL_WORDS = 1.6
"""Words of Korean, which joins to a word what others write apart."""
_CJK_PER_WORD = 1.4
_STEM = 6
"""Letters by which words are compared, so that `duplicate` is known after `duplicates`."""
_READ = 1000
"""Characters of each turn that are compared, and that count for its length."""
_SHORT = 8
"""Words, up to which one that says something is not enough."""
_FEWEST_CJK = 1.5
_COMPARED = 8
"""Turns before a question that it is compared with, and questions that tell how long this user's are."""
_PASTED, _LONGEST, _USUAL = 200, 100, 50
"""Letters that a question counts for at most; that one before it does, since pasted texts say nothing of how long
somebody's questions are; and those of a question of whom nobody knows."""
_CJK_LETTERS, _HANGUL_LETTERS = 2.5, 2.0
"""Letters that a character stands for."""
_UNLIKELY = 0.05
"""Chance of a new topic where a question says nothing."""
_POINTING = 0.3
"""The most that it is where a question points back by a word."""
_ENOUGH = 16
"""Questions that are looked through for the one that began a topic."""
_KEPT = 4
"""Questions of a topic that go along: the one that began it, and the last ones."""
_WEIGHTS = (0.86, 3.80, -3.80, 2.03, 0.64)
_OFFSET = -1.59
"""Of the logistic model, for the `features` of a question; benchmarks/fit_conversations.py fits them."""


class Talk:
    """What was said in a conversation, and where its topics begin.

    A question begins a topic if a logistic model of five things says so: how long it is, how much longer than this
    user's questions are, which share of its words came up before, whether it names its subject, and whether it brings
    matter of its own. No word has to be known for the first three. It was fitted on the dialogues of the parts `tune`,
    `more`, `held` and `unseen`. One that points back by a word is never likely to.
    """

    def __init__(self, turns: Sequence[tuple[bool, str]]) -> None:
        """Reads nothing yet.

        Args:
            turns: oldest first, whether it is the user's, and its text.
        """
        self._turns = turns
        self._terms: dict[int, set[str]] = {}
        self._places = [place for place, (is_users, text) in enumerate(turns) if is_users and text]
        self.first = next((place for place in self._places if has_matter(turns[place][1])), len(turns))
        """Place of the first question that says anything; the number of turns where none does."""

    def chance_of_new_topic(self, question: str, place: int) -> float:
        """Chance, in (0, 1], that a question begins a topic, where both were equally likely before it is read.

        Args:
            question: of the user.
            place: that it has, or would have, among the turns; those before it were said before.
        """
        if not place or (place <= self.first and has_matter(question)):
            return 1.0
        if not has_matter(question):
            return _UNLIKELY
        odds = _OFFSET + sum(map(mul, _WEIGHTS, self.features(question, place)))
        chance = 1 / (1 + math.exp(-odds))
        return _POINTING if chance > _POINTING and points_back(question) else chance

    def features(self, question: str, place: int) -> tuple[float, ...]:
        """What the chance is told by: logarithms of its words and of how much longer it is than others, the share of
        its terms that is known, whether it names its subject, whether it brings matter.

        Args:
            question: of the user.
            place: as for `chance_of_new_topic`.
        """
        question = question[:_READ]
        asked = [at for at in self._places if at < place][-_COMPARED:]
        lengths = [min(_n_letters(self._turns[each][1]), _LONGEST) for each in asked]
        usual = sum(lengths, _USUAL) / (len(lengths) + 1)
        named = _NAMES.match(question)
        own = _terms(question[named.end() :] if named else question)  # "write a" says nothing of what it is about
        before = set().union(*map(self._terms_at, range(max(place - _COMPARED, 0), place)))
        return (
            math.log(max(_n_words(question), 1)),
            math.log(_n_letters(question) / usual),
            len(own & before) / max(len(own), 1),
            float(named is not None),
            float(_MATTER.search(question) is not None),
        )

    def asked_since(self, place: int) -> list[str]:
        """The user's questions before a place, back to the one that began the topic; the middle of many is left out."""
        found: list[str] = []
        for each in reversed([at for at in self._places if at < place][-_ENOUGH:]):
            text = self._turns[each][1]
            found.insert(0, text)
            if self.chance_of_new_topic(text, each) >= FOLLOWS:
                break
        return found if len(found) <= _KEPT else [found[0], *found[1 - _KEPT :]]

    def _terms_at(self, place: int) -> set[str]:
        if place not in self._terms:
            self._terms[place] = _terms(self._turns[place][1][:_READ])
        return self._terms[place]


def _apart(text: str) -> tuple[list[str], list[str]]:
    """Characters of Chinese and Japanese, and the words of the rest."""
    if text.isascii():
        return [], _WORD.findall(text.lower())
    return _CJK.findall(text), _WORD.findall(_CJK.sub(" ", text).lower())


def _n_words(text: str) -> float:
    cjk, words = _apart(text)
    n_hangul = 0 if text.isascii() else sum(_HANGUL.search(word) is not None for word in words)
    n_words = len(words) + sum(len(word) // _LETTERS for word in words)
    return n_words + (_HANGUL_WORDS - 1) * n_hangul + len(cjk) / _CJK_PER_WORD


def _n_letters(text: str) -> float:
    text = text[:_READ]
    if text.isascii():
        return min(max(len(text), 1), _PASTED)
    denser = (_CJK_LETTERS - 1) * len(_CJK.findall(text)) + (_HANGUL_LETTERS - 1) * len(_HANGUL.findall(text))
    return min(max(len(text) + denser, 1), _PASTED)


def _terms(text: str) -> set[str]:
    """Beginnings of words that say something, and pairs of Chinese and Japanese characters."""
    bearing, words = _apart(text)
    return {word[:_STEM] for word in words if len(word) > 2 and word not in _EMPTY} | {
        bearing[at] + bearing[at + 1] for at in range(len(bearing) - 1)
    }
