"""What a statement claims: its words, names, figures and dates, what it denies, and its language."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

from assistant.answering.figures import Quantities, is_month, read_quantities
from ingest import content_terms, terms

_STEM_LETTERS = 7  # of a stem: the stemmer knows English only, and other languages inflect at the end of words
_FUNCTION_WORDS = {
    language: frozenset(words.split())
    for language, words in {
        "en": "the of and to in is that for with as on by are was were be this or from at an not which it has have its their",
        "de": "der die das und ist nicht mit von den zu ein eine einen einer auf für im dem des sich auch als wird wurde am bei "
        "in oder beträgt betrug werden sind war hat haben aus nach vom zum zur",
        "fr": "le la les des et est une un dans que pour qui du sur pas par au avec ce sont aux de il elle ne a été était ou",
        "es": "el la los las de que y en un una por con para es del se como al su no fue ha son o lo",
        "it": "il la di che e un una per con del della sono non nel alla gli dei si è le dal",
        "pt": "o a os as de que e do da em um uma para com não por dos das no na ao foi",
        "nl": "de het een en van is dat op te in voor met niet zijn aan er die door ook wordt",
    }.items()
}
# what answers say about any subject
_FILLER = """according passage passages text mention mentions mentioned based following question answer also additionally overall
however therefore approximately respectively yes thousand million billion percent dollar dollars usd""".split()  # noqa: SIM905
_NEGATION = re.compile(
    r"\b(?:no|not|never|none|neither|nor|without|cannot|lacks?|rather than|instead of|anstatt|statt|plutôt que|nicht|keine?[mnrs]?|nie|niemals|ohne|ne|pas|jamais|aucune?|sans"
    r"|nunca|sin|ningun[oa]?|ning[uú]n|tampoco|jam[aá]s|не|нет|ни|без|никогда|لا|ليس|ليست|لم|لن|بدون)\b(?! (?:only|nur|seulement|solo)\b)"
    r"|n[’']t\b|[不没沒無无未]|ない|ません|なし"
)
_CLAUSE_END = re.compile(r"[.;:!?，。；、]|,\s*(?=(?:and|but|while|however|und|aber|et|mais|y|pero|и|но|а)\b)")
_DIRECTIONS = (
    re.compile(
        r"\b(?:increas|rose\b|ris(?:e|en|ing)|gr[eo]w|higher|gestieg|steig|erhoh|augment|hauss|aument|subi|вырос|увелич|ارتفع|زاد)"
        r"|[增升]|増"
    ),
    re.compile(
        r"\b(?:decreas|declin|fell\b|fall(?:en|ing)?\b|drop|lower|reduc|gesunk|sank|ruckgang|diminu|baiss|disminu|cay|сниз|уменьш"
        r"|انخفض)|[减減降]"
    ),
)
_CJK = re.compile(r"([\u3040-\u30ff\u3400-\u9fff]+)")
_WORD = re.compile(r"[^\W\d_][\w&’']*")
_ACRONYMS = re.compile(r"\b([A-Z]{2,})s\b")  # of which the stemmer knows no plural
_PERIOD = re.compile(r"(?:fy|cy|q|h)\d*", re.I)  # FY2022, Q4: their years and dates are compared as such
_ACTS = re.compile(
    r" (?!need|red|bed)[a-z]{3,}ed\b(?! (?:by|in|on|to|from|with|at|for|as)\b)"
)  # "Deloitte audited the statements"
_STARTS = re.compile(r"(?:^|[.!?:;»“”\"„*•|(\n])\s*[\"“„(*]*$")
_BLAND = frozenset("i the a an yes no inc corp ltd llc co and of mr mrs ms dr".split())  # noqa: SIM905
_PART = re.compile(
    r"\s*[;；]\s*|,?\s+(?:and|but|while|whereas|und|aber|während|et|mais|tandis que|y|pero|mientras|и|но|а)\s+|[，、]|,\s+",
    re.I,
)


@dataclass(frozen=True)
class Wording:
    """The words of a text that say something, as folded stems in order, and which of them it denies."""

    stems: tuple[str, ...]
    pairs: frozenset[tuple[str, str]]
    denied: frozenset[str]  # stems near a negation
    denials: tuple[frozenset[str], ...]  # of each negation the two stems behind it, else before it: what it denies
    directions: tuple[bool, bool]  # whether it says that something rose, and that something fell


@dataclass(frozen=True)
class Claim:
    """A statement of an answer, read."""

    text: str
    wording: Wording
    quantities: Quantities
    names: tuple[tuple[str, ...], ...]  # the stems of each
    language: str  # "" where its words do not tell

    @property
    def has_details(self) -> bool:
        """Whether it states an amount, a date or a name, which a reader takes over."""
        return bool(self.quantities.figures or self.quantities.dates or self.names)


def read_claim(text: str) -> Claim:
    """Return what a statement without citations claims."""
    language = language_of(text)
    words = wording(text)
    bland = _filler() | _function_stems(language)
    stems = tuple(stem for stem in words.stems if stem not in bland) or words.stems
    return Claim(
        text=text,
        wording=replace(words, stems=stems, pairs=frozenset(pairwise(stems))),
        quantities=read_quantities(text),
        names=() if language == "de" else tuple(_names(text)),  # every German noun has a capital
        language=language,
    )


def split_claim(claim: Claim) -> list[Claim]:
    """Return the parts of a statement that may rest on different places; [] if it has one."""
    pieces: list[str] = []
    for piece in _PART.split(claim.text):
        says_something = bool(piece) and (len(stems(piece)) > 2 or bool(read_quantities(piece).figures))
        if says_something or not pieces:
            pieces.append(piece)
        else:
            pieces[-1] += f" {piece}"
    if len(pieces) < 2:
        return []
    parts = [replace(read_claim(piece), language=claim.language) for piece in pieces]
    return [part if part.wording.stems else replace(part, wording=parts[0].wording) for part in parts]


def wording(text: str) -> Wording:
    """Return the words of a text, with those that it denies."""
    found = tuple(stems(text))
    lowered = text.lower()
    folded = fold(lowered)
    denied: set[str] = set()
    denials: list[frozenset[str]] = []
    for match in _NEGATION.finditer(lowered):
        before, after = map(stems, _clause_around(text, match.start(), match.end()))
        denied.update(before, after)
        denials.append(frozenset(after[:2] or before[-2:]))
    rises, falls = (bool(direction.search(folded)) for direction in _DIRECTIONS)
    return Wording(found, frozenset(pairwise(found)), frozenset(denied), tuple(denials), (rises, falls))


def stems(text: str) -> list[str]:
    """Return the folded stems of the words that say something, in order; of Chinese and Japanese, pairs of characters."""
    text = _ACRONYMS.sub(r"\1", text)
    found: list[str] = []
    for run in _CJK.split(text) if not text.isascii() else [text]:
        if _CJK.match(run):
            found += [run[at : at + 2] for at in range(max(1, len(run) - 1))]
            continue
        content = set(content_terms(run))
        found += [fold(term)[:_STEM_LETTERS] for term in terms(run) if term in content and not _says_nothing(term)]
    return found


def _says_nothing(term: str) -> bool:
    """Return whether a term is a number or period, which are compared as such, or a letter."""
    return len(term) < 2 or term.isdigit() or bool(_PERIOD.fullmatch(term))


def fold(text: str) -> str:
    """Return a text without accents, nor the Arabic article at the start of a word."""
    if text.isascii():
        return text
    plain = "".join(char for char in unicodedata.normalize("NFD", text) if not unicodedata.combining(char))
    return re.sub(r"\b(?:و|ب)?ال(?=\w{3})", "", plain.replace("ß", "ss"))


def language_of(text: str) -> str:
    """Return the language of a text by its letters and function words; "" where they do not tell."""
    for language, letters in (
        ("ru", r"[а-яё]"),
        ("ar", r"[\u0600-\u06ff]"),
        ("ja", r"[\u3040-\u30ff]"),
        ("zh", r"[\u4e00-\u9fff]"),
    ):
        if 3 * len(re.findall(letters, text, re.I)) > len(re.findall(r"[^\W\d_]", text)):
            return language
    words = re.findall(r"[^\W\d_]+", text.lower())
    counts = {language: sum(word in known for word in words) for language, known in _FUNCTION_WORDS.items()}
    best, second = sorted(counts.values())[:-3:-1]
    return max(counts, key=lambda language: counts[language]) if best >= 2 and best > second else ""


def _names(text: str) -> Iterator[tuple[str, ...]]:
    """Yield the stems of each word with a capital that does not begin a sentence, or that acts at its beginning."""
    for match in _WORD.finditer(text):
        word = match[0]
        initial = _STARTS.search(text[: match.start()])
        if (
            not word[0].isupper()
            or word.lower() in _BLAND
            or (initial and not word[1:2].isupper() and not _ACTS.match(text, match.end()))
        ):
            continue
        if _PERIOD.fullmatch(word) or is_month(word):
            continue
        found = tuple(stems(word))
        if found:
            yield found


def _clause_around(text: str, start: int, end: int) -> tuple[str, str]:
    """Return the words around a range within its clause: four before it and ten behind, where lists go on."""
    before = _CLAUSE_END.split(text[:start])[-1]
    after = _CLAUSE_END.split(text[end:], maxsplit=1)[0]
    if _CJK.search(text):
        return before[-8:], after[:8]
    return " ".join(before.split()[-4:]), " ".join(after.split()[:10])


@cache
def _filler() -> frozenset[str]:
    return frozenset(stem for word in _FILLER for stem in stems(word))


@cache
def _function_stems(language: str) -> frozenset[str]:
    known: Sequence[str] = sorted(_FUNCTION_WORDS.get(language, ()))
    return frozenset(stem for word in known for stem in stems(word))
