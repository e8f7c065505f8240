"""Amounts in texts with unit, scale and rounding, and whether an answer states the expected ones."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from ingest import split_sentences

_SCALE_WORDS = {"thousand": 1e3, "million": 1e6, "mn": 1e6, "mm": 1e6, "billion": 1e9, "bn": 1e9, "trillion": 1e12}
_SCALE_LETTERS = {"k": 1e3, "m": 1e6, "b": 1e9}  # only with a currency or decimals: "3M" is a company
_CURRENCIES = {"$": "$", "usd": "$", "us$": "$", "dollar": "$", "€": "€", "eur": "€", "euro": "€", "£": "£", "gbp": "£"}
_UNIT_WORDS = {
    **_CURRENCIES,
    **dict.fromkeys(("%", "percent", "pct", "percentage"), "%"),
    **dict.fromkeys(("bps", "bp", "basis"), "bps"),
    **{unit: unit for unit in ("second", "minute", "hour", "day", "week", "month", "quarter", "year")},
    **{unit: unit for unit in ("km", "mile", "meter", "foot", "kg", "pound", "acre")},
    **dict.fromkeys(("times", "x"), "times"),
    **dict.fromkeys(("kilometer", "kilometre"), "km"),
    "metre": "meter",
}
_NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_NUMBER_WORDS = {word: value for value, word in enumerate(_NUMBERS, 2)}
_DIGITS = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+"
_AMOUNT = re.compile(
    r"(?P<open>\()?(?P<sign>[-−–](?!\s))?(?P<currency>US\$|[$€£]|\b(?:USD|EUR|GBP)\b)?\s?(?P<open2>\()?(?P<sign2>[-−–])?"
    rf"(?:(?<![\w.,])|(?<=USD)|(?<=EUR)|(?<=GBP))(?P<digits>{_DIGITS})(?![\d]|,\d|\.\d)(?P<early>\))?"
    r"(?P<tail>(?:[\s-]?(?:%|[A-Za-z]+))?(?:\s(?:US\s)?(?:dollars?|euros?|USD|points?)\b)?)(?P<close>\))?"
)
_MONTHS = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
# what holds digits and is no amount: citations, dates, labels, codes such as 10-K, Q4 or COVID-19, ordinals
_LABELS = re.compile(
    r"\[\d+(?:\s*,\s*\d+)*\]|\b\d{4}-\d\d-\d\d\b|\b\d{1,2}/\d{1,2}/\d{2,4}\b"
    rf"|\b{_MONTHS}\s\d{{1,2}}\b(?:,?\s\d{{4}}\b)?|\b\d{{1,2}}\s{_MONTHS}(?:\s\d{{4}})?(?![a-z])"
    r"|\b(?:notes?|pages?|items?|tables?|sections?|exhibits?|levels?|chapters?|figures?|parts?|steps?|no\.|p\.)\s#?\d+[a-z]?\b"
    r"|\bF[YQ]\s?'?\d{2,4}\b|\b(?!(?:USD|EUR|GBP)\d)[A-Za-z]+-?\d[\w-]*|\b\d+(?:st|nd|rd|th)\b",
    re.I,
)
_CODE = re.compile(r"\b\d+-[A-Z]\b|\b\d+[A-Z]{2,}\d*\b")  # as in 10-K
_YEAR = re.compile(r"(?<![\d.,$€£])(?:19|20)\d\d(?![\d%]|,\d|\.\d)")
_VALUE_BEFORE = re.compile(r"(?:\b(?:was|is|were|are|equals|about|approximately|totaled|of exactly)|[=:≈])\s*$", re.I)
_DECLINE = re.compile(
    r"\b(?:decreas\w+|declin\w+|fell|fall(?:en|ing|s)?|drop\w*|reduc\w+|lower|down|loss(?:es)?|shr[aiu]nk|negative|minus)"
    r"\b(?:\s\w+){0,3}?\s*$",
    re.I,
)
_NEGATIVE_BEFORE = re.compile(r"\b(?:negative|minus)\s*$", re.I)
_TO = r"(?P<dash>[-–—−]|[^\S\n][-–—−]\s)|\s*(?P<word>to|through|and)\s*"
_RANGE = re.compile(rf"(?:{_TO})(?:US\$|[$€£]|USD\s?)?", re.I)
_QUESTION_SCALE = re.compile(r"\b(?:in|USD|dollars?)\s+(?:(?:USD|US|\$)\s?)?(thousand|million|billion)s?\b", re.I)
_QUESTION_PERCENT = re.compile(
    r"\b(?:in|units? of|what|which)\s+(?:percent|percentage|percents|%)|\bas a (?:%|percent)", re.I
)
_MAX_FIGURES = 6  # a sentence with more amounts is a table or a list, which claims none of them
_QUOTED = re.compile(r"[“\"][^“”\"\n]{30,}[”\"]|^>.*$", re.M)  # passages that an answer quotes, not the names of things
_MAX_WORDS = 3  # an expected answer with more words is a statement, which needs a judge
_PADDED_TOLERANCE = 0.05  # of the value: how far "$8.70" may be from what it was rounded from
_FORMULA = re.compile(r"[\^×\\]")


@dataclass(frozen=True)
class Amount:
    """One amount of a text as written: the scale is not multiplied in, `value` has no sign."""

    value: float
    decimals: int  # digits after the point, without zeros that pad: 1 for "8.70"
    padded: bool
    unit: str  # "%", "$", "day" ...; empty if the text states none
    scale: float | None  # 1e6 for "million"; None if the text states none
    signs: frozenset[int]  # what it may mean: "fell by 3%" and "(3)" are 3 or -3
    start: int
    end: int
    span: int = 0  # 1 and 2 for the two ends of a range, else 0


def numeric_match(expected: str, answer: str, question: str = "") -> bool | None:
    """Return whether an answer states every expected amount; None if the expected answer is not made of amounts.

    Value, unit, scale and sign must agree, at the rounding of the expected amount. A scale that the expected amount
    lacks is taken from the question ("in USD millions"). Years, dates, citations and labels are not amounts. Only
    what the answer claims counts, so an answer that lists every figure of a page is not right by accident.
    """
    wanted = [_as_asked(amount, question) for amount in _expected_amounts(expected)]
    if not wanted:
        return None
    stated = _claimed(answer, several=len(wanted) > 1 and not wanted[0].span)
    if wanted[0].span:
        ends = [
            _with_unit_of(low, high) for low, high in pairwise(stated) if _RANGE.fullmatch(answer, low.end, high.start)
        ]
        return any(_equal(wanted[0], low) and _equal(wanted[1], high) for low, high in ends)
    return all(states_amount(amount, [other for other in stated if not other.span]) for amount in wanted)


def _claimed(answer: str, *, several: bool) -> list[Amount]:
    """Return the amounts that an answer claims: those of its first and of its last sentence with any, or if the question
    asks for `several`, of all sentences.

    A quoted passage claims nothing if the answer has amounts outside of it; neither does a sentence with too many.
    """
    amounts = read_amounts(answer)
    quoted = [range(*match.span()) for match in _QUOTED.finditer(answer)]
    own = [amount for amount in amounts if not any(amount.start in span for span in quoted)]
    lines = re.finditer(r".+", answer)  # an item of a list is a line without a full stop
    ends = [line.start() + sentence.end for line in lines for sentence in split_sentences(line[0])]
    sentences: dict[int, list[Amount]] = {}
    for amount in own or amounts:
        sentences.setdefault(bisect_left(ends, amount.end), []).append(amount)
    groups = list(sentences.values())
    chosen = groups if several else [*groups[:1], *groups[1:][-1:]]
    return [amount for group in chosen if len(group) <= _MAX_FIGURES for amount in group]


def states_amount(wanted: Amount, stated: Sequence[Amount]) -> bool:
    """Return whether one of the stated amounts is the wanted one, at its rounding."""
    return any(_equal(wanted, amount) for amount in stated)


def read_amounts(text: str) -> list[Amount]:
    """Return the amounts of a text in order, without years, dates, citations, labels and codes."""
    return _mark_ranges(list(_read(text)), text)


def _read(text: str) -> Iterator[Amount]:
    for pattern in (_LABELS, _CODE):
        text = pattern.sub(lambda match: " " * len(match[0]), text)
    for word in re.finditer(r"\b[a-z]+\b", text, re.I):
        if word[0].lower() in _NUMBER_WORDS:
            digits = str(_NUMBER_WORDS[word[0].lower()])
            text = text[: word.start()] + digits.rjust(len(word[0])) + text[word.end() :]
    for match in _AMOUNT.finditer(text):
        amount = _amount(match, text)
        if amount:
            yield amount


def _amount(match: re.Match[str], text: str) -> Amount | None:
    digits = match["digits"].replace(",", "")
    fraction = digits.partition(".")[2]
    currency = _CURRENCIES.get((match["currency"] or "").lower(), "")
    unit, scale, used = _tail(match["tail"], currency=bool(currency), fraction=bool(fraction))
    if used < 0 or _is_year(match, text, bare=not (currency or unit or scale or fraction)):
        return None
    brackets = bool((match["open"] or match["open2"]) and (match["early"] or match["close"]))
    before = text[max(0, match.start() - 60) : match.start()]
    significant = fraction.rstrip("0")
    value = float(digits)
    if unit == "bps":
        value, unit = value / 100, "%"
        significant = f"{value:.4f}".rstrip("0").partition(".")[2]
    return Amount(
        value=value,
        decimals=len(significant),
        padded=len(significant) < len(fraction),
        unit=unit or currency,
        scale=scale,
        signs=_signs(match, before, brackets=brackets),
        start=match.start("digits"),
        end=match.end("digits") + used,
    )


def _tail(tail: str, *, currency: bool, fraction: bool) -> tuple[str, float | None, int]:
    """Return unit and scale of the words after a number and their length, -1 if letters belong to it, as in "3M"."""
    unit, scale, used = "", None, 0
    for match in re.finditer(r"%|[A-Za-z]+", tail):
        name = match[0].lower()
        singular = name if name in _UNIT_WORDS else name.removesuffix("s")
        if singular in _SCALE_WORDS:
            scale = _SCALE_WORDS[singular]
        elif name in _SCALE_LETTERS and (currency or fraction):
            scale = _SCALE_LETTERS[name]
        elif singular in _UNIT_WORDS:
            unit = _UNIT_WORDS[singular]
        else:
            return unit, scale, -1 if match.start() == 0 else used
        used = match.end()
    return unit, scale, used


def _is_year(match: re.Match[str], text: str, *, bare: bool) -> bool:
    """Return whether a bare number is a year: alone, or as "it was 2010", it is an amount."""
    if not (bare and _YEAR.fullmatch(match["digits"])) or match["sign2"] or match["open2"]:
        return False
    return text.strip(" .") != match["digits"] and not _VALUE_BEFORE.search(text[: match.start("digits")][-40:])


def _signs(match: re.Match[str], before: str, *, brackets: bool) -> frozenset[int]:
    # a dash right after a figure separates, as in 5-12%
    joined = bool(re.search(r"[\w%)]\s?$", before)) and match["sign"] and not before.endswith(" ")
    if ((match["sign"] and not joined) or match["sign2"] or _NEGATIVE_BEFORE.search(before)) and not brackets:
        return frozenset((-1,))
    if brackets or _DECLINE.search(before):
        return frozenset((1, -1))
    return frozenset((1,))


def _mark_ranges(amounts: list[Amount], text: str) -> list[Amount]:
    """Return the amounts with both ends of "5-12%", "5 to 12" and "between 5 and 12" marked; "from 5 to 12" is a change."""
    for at in range(len(amounts) - 1):
        low, high = amounts[at : at + 2]
        link = _RANGE.fullmatch(text, low.end, high.start)
        opening = text[: low.start].rstrip(" $€£").lower()
        is_range = link and (
            link["dash"]
            or (link["word"].lower() == "and" and opening.endswith("between"))
            or (link["word"].lower() != "and" and not opening.endswith("from"))
        )
        if is_range and not low.span:
            amounts[at] = replace(_with_unit_of(low, high)[0], span=1)
            amounts[at + 1] = replace(high, span=2)
    return amounts


def _with_unit_of(low: Amount, high: Amount) -> tuple[Amount, Amount]:
    """Return both ends of a range; the first takes the unit and scale that only the second states, as in 5-12%."""
    return replace(low, unit=low.unit or high.unit, scale=low.scale or high.scale), high


def _expected_amounts(text: str) -> list[Amount]:
    words = [word for word in re.findall(r"[A-Za-z]{3,}", text) if word.lower() not in _NUMBER_WORDS]
    if _FORMULA.search(text) or len(words) > _MAX_WORDS or not re.search(r"\d", text):
        return []
    amounts = read_amounts(text)
    bracketed = re.fullmatch(r"\W*\(.*\)\W*", text)  # "(1,577)" alone is how accountants write -1,577
    return [replace(amount, signs=frozenset((-1,))) if bracketed else amount for amount in amounts]


def _as_asked(amount: Amount, question: str) -> Amount:
    """Return an expected amount with the unit and scale that only the question states."""
    scale = _QUESTION_SCALE.search(question)
    if scale and amount.scale is None and amount.unit in ("", *_CURRENCIES.values()):
        return replace(amount, scale=_SCALE_WORDS[scale[1].lower()])
    if not amount.unit and _QUESTION_PERCENT.search(question):
        return replace(amount, unit="%")
    return amount


def _equal(wanted: Amount, stated: Amount) -> bool:
    if not wanted.signs & stated.signs:
        return False
    unit = 10.0**-wanted.decimals
    scale = wanted.scale or 1.0
    near = 0.5 * unit if not wanted.padded else min(0.5 * unit, _PADDED_TOLERANCE * wanted.value)

    def rounds(value: float, to: float, near: float) -> bool:
        return abs(value - to) <= near * (1 + 1e-6)

    if wanted.unit != stated.unit and "%" in (wanted.unit, stated.unit):
        if wanted.unit == "%" and not stated.unit and stated.scale is None:  # 0.087 for 8.7%
            return rounds(stated.value * 100, wanted.value, near) and stated.value != 0
        if stated.unit == "%" and not wanted.unit and wanted.scale is None:  # 66% for 0.66
            return rounds(stated.value / 100, wanted.value, near)
        return False
    if wanted.unit and stated.unit and wanted.unit != stated.unit:
        return False
    if stated.scale is not None:
        return rounds(stated.value * stated.scale, wanted.value * scale, near * scale)
    # a table or an answer to "in USD millions" leaves the scale out
    return rounds(stated.value, wanted.value, near) or rounds(stated.value, wanted.value * scale, near * scale)
