"""Figures and dates of a text in several languages, and whether two of them say the same."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from unicodedata import digit, normalize

_SCALES = {
    1e3: "thousand thousands k tsd tausend teur millier milliers mil miles тыс тысяч тысячи ألف آلاف 千".split(),  # noqa: SIM905
    1e4: ["万", "萬"],
    1e6: "million millions mn mm mio millionen millones millón млн миллион миллиона миллионов مليون ملايين 百万".split(),  # noqa: SIM905
    1e8: ["亿", "億"],
    1e9: "billion billions bn mrd milliarde milliarden milliard milliards млрд миллиард миллиарда миллиардов مليار".split(),  # noqa: SIM905
    1e12: "trillion trillions billionen".split(),  # noqa: SIM905
}
_SCALE_OF = {word: scale for scale, words in _SCALES.items() for word in words}
_SCALE_LETTERS = {"m": 1e6, "b": 1e9}  # behind a currency only: "3M" is a company
_CURRENCIES = "$€£¥₹"
_CURRENCY_OF = {
    **{sign: sign for sign in _CURRENCIES},
    **dict.fromkeys(("usd", "us$", "dollar", "dollars", "dólares", "долларов", "美元", "ドル", "دولار"), "$"),
    **dict.fromkeys(("eur", "euro", "euros", "евро", "欧元", "ユーロ", "يورو"), "€"),
    **dict.fromkeys(("gbp", "pounds"), "£"),
    **dict.fromkeys(("円", "元", "yen", "yuan"), "¥"),
}
_PERCENT = (
    r"%|٪|per\s?cent\b|percent\w*|pct\b|prozent\w*|pour\s?cent\b|por\s?ciento\b|процент\w*|パーセント|بالمئة|في المئة"
)


def _any_of(words: Iterable[str]) -> str:
    return "|".join(sorted(map(re.escape, words), key=len, reverse=True))


_WORDS = _any_of([*_SCALE_OF, *_CURRENCY_OF])
_ENGLISH = re.compile(
    r"US\$|\$|£|USD|GBP|thousand|million\b|billion|trillion|percent", re.I
)  # 1.577 is a decimal beside these
_NUMBER = r"\d{1,3}(?:[,.’'\u00a0\u202f]\d{3})+(?:[.,]\d+)?(?!\d)|\d+(?:[.,]\d+)?"
_FIGURE = re.compile(
    rf"(?P<currency>US\$|[{_CURRENCIES}]|\b(?:USD|EUR|GBP)\b)?\s?\(?"
    rf"(?P<number>(?<![\d.,])(?:{_NUMBER}))"
    rf"(?P<tail>(?:\)?[^\S\n]?-?(?:{_PERCENT}|(?:{_WORDS})(?![a-zа-я])|(?:[mb])\b))*)",
    re.I,
)
_SPACED = re.compile(r"(?<![\d.,])\d{1,3}(?: \d{3})+(?![\d,.]*\d)")
_TAIL = re.compile(rf"(?P<percent>{_PERCENT})|(?P<word>{_WORDS}|[mb])", re.I)
_IN_UNITS = re.compile(
    rf"(?:\bin|\ben|\(|\bamounts|单位[:：]?|単位[:：]?)\s?[^\s()]{{0,12}}\s?(?P<scale>{_any_of(_SCALE_OF)})(?![a-zа-я])",
    re.I,
)
_YEAR = re.compile(r"(?<![\d.,$€£])(?:19|20)\d\d(?!\d|[.,]\d|\s?%)")
_DIGITS = {ord(char): str(digit(char)) for base in (0x660, 0x6F0, 0xFF10) for char in map(chr, range(base, base + 10))}

_MONTHS = (
    "jan|ene|янв|يناير",
    "feb|fév|fev|фев|فبراير",
    "mar(?!k)|mär|maer|мар|مارس",
    "apr|avr|abr|апр|أبريل",
    "may|mai|май|мая|مايو",
    "jun|juin|июн|يونيو",
    "jul|juil|июл|يوليو",
    "aug|aoû|aou|ago|авг|أغسطس",
    "sep|сен|سبتمبر",
    "oct|okt|окт|أكتوبر",
    "nov|ноя|نوفمبر",
    "dec|dez|déc|dic|дек|ديسمبر",
)
_MONTH = rf"(?<!\w)(?P<month>{'|'.join(_MONTHS)})\w*\.?"
_DATES = tuple(
    re.compile(pattern, re.I)
    for pattern in (
        r"\b(?P<year>(?:19|20)\d\d)-(?P<number>\d\d)-(?P<day>\d\d)\b",
        r"(?P<year>(?:19|20)\d\d)年(?P<number>\d{1,2})月(?:(?P<day>\d{1,2})日)?",
        r"\b(?P<day>\d{1,2})[./](?P<number>\d{1,2})[./](?P<year>(?:19|20)\d\d)\b",
        rf"\b(?P<day>\d{{1,2}})(?:st|nd|rd|th|er|\.)?\s(?:of\s|de\s)?{_MONTH}(?:,?\s(?:de\s)?(?P<year>(?:19|20)\d\d))?(?!\w)",
        rf"{_MONTH}\s(?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?!\d)(?:,?\s(?P<year>(?:19|20)\d\d))?(?!\w)",
        rf"{_MONTH},?\s(?:de\s)?(?P<year>(?:19|20)\d\d)(?!\w)",
    )
)
_RAISED = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹]+")  # pages have exponents raised, answers write 10^43
_LIST_NUMBER = re.compile(r"\s*(?:[-*•]\s+)?\d{1,2}[.)]\s")
_NUMBER_WORDS = (
    "two|zwei|deux|dos|два|две",
    "three|drei|trois|tres|три",
    "four|vier|quatre|cuatro|четыре",
    "five|fünf|cinq|cinco|пять",
    "six|sechs|seis|шесть",
    "seven|sieben|sept|siete|семь",
    "eight|acht|huit|ocho|восемь",
    "nine|neun|neuf|nueve|девять",
    "ten|zehn|dix|diez|десять",
    "eleven|elf|onze|once",
    "twelve|zwölf|douze|doce",
)
_WORD_NUMBER = re.compile(
    "|".join(rf"(?P<n{value}>\b(?:{words})\b)" for value, words in enumerate(_NUMBER_WORDS, 2)), re.I
)


@dataclass(frozen=True)
class Figure:
    """One figure as written: it may be read as each of `values`, the scale not multiplied in; signs are left out."""

    values: tuple[float, ...]
    decimals: int
    scale: float | None  # 1e6 for "million"; None if the text states none
    unit: str  # "%", "$" ...; empty if the text states none
    start: int
    end: int

    @property
    def is_distinct(self) -> bool:
        """Whether it hardly stands in a text by chance: three digits, or two with a unit or a point."""
        return self.digits >= 3 or (self.digits >= 2 and bool(self.unit or self.decimals))

    @property
    def digits(self) -> int:
        """How many digits it has."""
        return len(str(int(max(self.values)))) + self.decimals


@dataclass(frozen=True)
class Date:
    """A day, or the month of a year; 0 where the text leaves out the part."""

    year: int
    month: int
    day: int
    start: int
    end: int


@dataclass(frozen=True)
class Quantities:
    """What a text counts and dates, each in order; the years of dates are among `years`."""

    figures: tuple[Figure, ...]
    dates: tuple[Date, ...]
    years: tuple[tuple[int, int], ...]  # (year, start)


def read_quantities(text: str, *, loosely: bool = False) -> Quantities:
    """Return the figures, dates and years of a text.

    Read `loosely`, as a source is, "three" is a figure too, and "1 577" may be one figure or two.
    """
    plain = text.translate(_DIGITS)
    dates = sorted(_dates(plain), key=lambda date: date.start)
    years = [(date.year, date.start) for date in dates if date.year]
    for date in dates:
        plain = _blank(plain, date.start, date.end)
    listed = _LIST_NUMBER.match(plain)
    if listed:
        plain = _blank(plain, 0, listed.end())
    for match in list(_YEAR.finditer(plain)):
        years.append((int(match[0]), match.start()))
        plain = _blank(plain, *match.span())
    joined = _SPACED.sub(lambda match: match[0].replace(" ", "\u00a0"), plain)
    figures = list(_figures(joined))
    if loosely:
        figures += [
            Figure((float(normalize("NFKC", match[0])),), 0, None, "", *match.span())
            for match in _RAISED.finditer(plain)
        ]
        figures += [figure for figure in _figures(plain) if figure not in figures] if joined != plain else []
        figures += [
            Figure((float((match.lastgroup or "n0")[1:]),), 0, None, "", *match.span())
            for match in _WORD_NUMBER.finditer(plain)
        ]
    return Quantities(tuple(figures), tuple(dates), tuple(sorted(years, key=lambda year: year[1])))


def stated_scales(text: str) -> frozenset[float]:
    """Return the scales that a table or page states for its figures, as in "(in millions)"."""
    return frozenset(_SCALE_OF[match["scale"].lower()] for match in _IN_UNITS.finditer(text))


def same_figure(claimed: Figure, given: Figure, scales: frozenset[float], *, percent: bool = False) -> bool:
    """Return whether a claimed figure is the given one, or is rounded from it.

    `scales` are those stated for the text of the given one, `percent` whether its column may hold percents.
    """
    if "%" in (claimed.unit, given.unit) and claimed.unit != given.unit:
        if claimed.unit == "%" and not (percent and not given.unit and given.scale is None):
            return False
        if given.unit == "%":
            return False
    elif claimed.unit and given.unit and claimed.unit != given.unit:
        return False
    given_scales = [given.scale] if given.scale else [*scales, 1.0]
    return any(
        _same_value(claim, claimed, value, scale, given)
        for claim in claimed.values
        for value in given.values
        for scale in given_scales
    )


def same_date(claimed: Date, given: Quantities) -> bool:
    """Return whether a date is among the given ones; its year may stand apart from its day, as in the head of a table."""
    years = {year for year, _ in given.years}
    for date in given.dates:
        month_and_day = (claimed.month, claimed.day) in ((date.month, date.day), (date.month, 0)) or (
            claimed.month == date.month and not claimed.day
        )
        if month_and_day and (
            not claimed.year or claimed.year == date.year or (not date.year and claimed.year in years)
        ):
            return True
    return False


def is_month(word: str) -> bool:
    """Return whether a word is the name of a month."""
    return bool(re.fullmatch(_MONTH, word, re.I))


def _same_value(claim: float, claimed: Figure, value: float, scale: float, given: Figure) -> bool:
    if claimed.scale is None and claim == value:
        return True
    if claimed.scale is None and given.scale is None and scale == 1.0:
        return False
    wanted = claim * (claimed.scale or 1.0)
    if abs(wanted - value * scale) <= 1e-9 * max(wanted, 1.0):
        return True
    step = 0.5 * 10.0**-claimed.decimals * (claimed.scale or 1.0)
    rounded = claimed.scale is not None or claimed.decimals < given.decimals
    significant = len(str(int(claim))) * (claim >= 1) + claimed.decimals
    return rounded and significant >= 2 and abs(wanted - value * scale) <= step * (1 + 1e-9)


def _figures(text: str) -> Iterator[Figure]:
    for match in _FIGURE.finditer(text):
        before = text[match.start("number") - 1 : match.start("number")]
        if before.isalpha() and not match["currency"] and ord(before) < 0x2E80:
            continue  # a code such as Q4 or A320
        unit = _CURRENCY_OF.get((match["currency"] or "").lower(), "")
        scale = None
        for part in _TAIL.finditer(match["tail"]):
            word = (part["word"] or "").lower()
            if part["percent"]:
                unit = "%"
            elif word in _SCALE_OF:
                scale = (scale or 1.0) * _SCALE_OF[word]
            elif word in _SCALE_LETTERS and unit:
                scale = _SCALE_LETTERS[word]
            else:
                unit = _CURRENCY_OF.get(word, unit)
        values, decimals = _readings(match["number"])
        if _ENGLISH.search(match[0]):
            values = values[:1]
        yield Figure(values, decimals, scale, unit, match.start("number"), match.end())


def _readings(number: str) -> tuple[tuple[float, ...], int]:
    """Return the values that a number may have and its decimals: "1.577" is 1.577 in English, 1577 in German."""
    separators = re.findall(r"\D", number)
    if not separators:
        return (float(number),), 0
    last = separators[-1]
    tail = number.rpartition(last)[2]
    whole = float(re.sub(r"\D", "", number))
    if len(tail) == 3 and len(set(separators)) == 1:
        if last == "." and len(separators) == 1:
            return (float(number), whole), 3
        return (whole,), 0
    head = re.sub(r"\D", "", number[: -len(tail) - 1])
    return (float(f"{head}.{tail}"),), len(tail)


def _dates(text: str) -> Iterator[Date]:
    for pattern in _DATES:
        for match in pattern.finditer(text):
            found = match.groupdict()
            month = int(found["number"]) if found.get("number") else _month(found["month"])
            yield Date(int(found.get("year") or 0), month, int(found.get("day") or 0), *match.span())
        text = pattern.sub(lambda match: " " * len(match[0]), text)


def _month(name: str) -> int:
    return next(number for number, names in enumerate(_MONTHS, 1) if re.match(names, name, re.I))


def _blank(text: str, start: int, end: int) -> str:
    return text[:start] + " " * (end - start) + text[end:]
