"""Numbers in texts with their units and scales, and whether an answer states the expected one."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SCALES = {
    **dict.fromkeys(("thousand", "k"), 1e3),
    **dict.fromkeys(("million", "millions", "mn", "mm", "m"), 1e6),
    **dict.fromkeys(("billion", "billions", "bn", "b"), 1e9),
    "trillion": 1e12,
}
_AMOUNT = re.compile(
    r"(?P<open>\()?(?P<sign>[-−–])?\s?(?P<currency>[$€£]|USD\s?)?\s?(?P<sign2>[-−])?"
    r"(?P<digits>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)"
    r"(?P<close>\))?\s?(?P<unit>%|percent\b|percentage points\b|bps\b|[a-z]+\b)?",
    re.I,
)
_TOLERANCE = 0.01  # relative


@dataclass(frozen=True)
class Amount:
    """One number of a text, as written: the scale is not multiplied in."""

    value: float
    percent: bool
    scale: float  # 1e6 for "million", 1 for none
    in_brackets: bool = False  # "(1,577)", as accountants write a negative number


def read_amounts(text: str) -> list[Amount]:
    """Return the numbers of a text in order, without those of citations like [3]."""
    found = []
    for match in _AMOUNT.finditer(re.sub(r"\[\d+\]", " ", text)):
        value = float(match["digits"].replace(",", ""))
        in_brackets = bool(match["open"] and match["close"])
        if match["sign"] or match["sign2"] or in_brackets:
            value = -value
        unit = (match["unit"] or "").lower()
        if unit == "bps":
            value, unit = value / 100, "%"
        percent = unit.startswith("%") or unit.startswith("percent")
        found.append(Amount(value, percent, _SCALES.get(unit, 1.0), in_brackets))
    return found


def numeric_match(expected: str, answer: str) -> bool | None:
    """Return whether an answer states the expected number within 1 %; None if the expected answer is not a number.

    "$1,577 million", "1577.00" and "$1.577 billion" match, as do "8.7%" and "0.087".
    """
    wanted = _expected_amount(expected)
    if wanted is None:
        return None
    return any(_equal(wanted, stated) for stated in read_amounts(answer))


def _expected_amount(text: str) -> Amount | None:
    found = read_amounts(text)
    if not found or (len(text) > 60 and not re.match(r"\W*\d", text)):
        return None
    words = len(re.findall(r"[A-Za-z]{3,}", text))
    return found[0] if words <= 3 else None  # with more words it is a statement, which needs a judge


def _equal(wanted: Amount, stated: Amount) -> bool:
    pairs = [(wanted.value, stated.value)]
    if wanted.percent != stated.percent:
        pairs += [(wanted.value / 100, stated.value)] if wanted.percent else [(wanted.value, stated.value / 100)]
    if wanted.scale != 1 or stated.scale != 1:
        left, right = wanted.value * wanted.scale, stated.value * stated.scale
        # an answer to a question that says "in USD millions" leaves the scale out
        pairs += [
            (left, right),
            *((left * scale, right) for scale in (1e3, 1e6, 1e9)),
            (left, right * 1e6),
            (left, right * 1e9),
        ]
    if wanted.in_brackets or stated.in_brackets:  # statements show an expenditure of 1,577 as a cash flow of (1,577)
        pairs = [(abs(left), abs(right)) for left, right in pairs]
    return any(abs(left - right) <= _TOLERANCE * max(abs(left), 1e-9) for left, right in pairs)
