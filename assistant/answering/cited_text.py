"""Puts citations into an answer while it is written, behind each statement that passages support."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

from assistant.answering.answer import Token
from assistant.answering.answer_filter import CITATION_MARK, numbers_in_mark
from assistant.answering.attribution import Attributor
from assistant.answering.bare_answers import BareCheck
from assistant.answering.citations import Citation, Span, cite_range
from assistant.answering.claims import stems
from assistant.answering.figures import read_quantities
from assistant.answering.generation import Written
from assistant.answering.prompt import is_refusal
from assistant.retrieval.search import Passage
from ingest import sentence_breaks

_MARK = re.compile(rf"[^\S\n]*{CITATION_MARK.pattern}")
# a mark that is a word of its sentence, as in "According to [1]": it stays in its place
_WORD_BEFORE = re.compile(
    r"\b(?:to|in|by|from|per|see|and|or|as|passages?|sources?|documents?|excerpts?|nach|laut|selon|según|passagen?)\s*$",
    re.I,
)
_STOP = re.compile(r"(?:[.!?…؟。！？,;]+)?[\s|]*$")
_OPEN_TAIL = re.compile(r"[\s.!?…؟。！？:;,()\[\]\"“”„‘’'«»「」『』（）¿¡*_|]*(?:\[[^\]\n]{0,20})?$")
_WORD_AT_END = re.compile(r"[\w.]+$")
_MAY_BE_MARK = re.compile(r"(?:\[[\d\s,;–-]*)?")  # what follows a sentence before its mark is complete
_LEAD = re.compile(r"\s*(?:[-*•>]|#{1,6}|\d{1,2}[.)])?\s*")
_FENCE = re.compile(r"\s*(?:```|~~~)")
_HEADING = re.compile(r"\s*#|.*[:：]\W*$|\s*\*\*[^*]+\*\*\W*$|[\s|:-]*$")
_COURTESY = re.compile(
    r"\W*(?:hello|hi|hey|sure|certainly|of course|here (?:is|are)|i hope|let me know|please|thank|you(?:'re| are) welcome"
    r"|hallo|gern|natürlich|bonjour|bien sûr|merci|hola|claro|gracias|здравствуйте|конечно|مرحبا|你好|当然|はい|こんにちは)\b",
    re.I,
)
_ABOUT_DOCUMENTS = re.compile(r"\b(?:passages?|documents?|context|information|text|provided|I|we)\b", re.I)
_CJK_STOP = re.compile(r"[。！？]")


@dataclass
class CitedText:
    """What was shown of an answer, and what it rests on."""

    text: str = ""
    citations: tuple[Citation, ...] = ()
    unsupported: tuple[Span, ...] = ()
    lacks_details: bool = False  # an amount, a date or a name is among what nothing supports


class CitingStream:
    """Takes the pieces of an answer and gives them back with the citations that its passages bear out.

    A statement's citations are known when it ends; until then its stop is held back, so that nothing shown ever changes.
    """

    def __init__(self, question: str, passages: Sequence[Passage]) -> None:
        self._passages = passages
        self._attributor = Attributor(question, passages)
        self._held = ""  # from the start of the statement that is being written, marks included
        self._shown = 0  # characters of it, without marks, that were given out
        self._given: list[str] = []
        self._length = 0
        self._citations: dict[tuple[int, int, int], Citation] = {}
        self._unsupported: list[Span] = []
        self._lacks_details = False
        self._in_code = False

    def feed(self, piece: str) -> str:
        """Take the next piece of the answer and return the text that may be shown now."""
        self._held += piece
        return self._drain(final=False)

    def close(self, *, broken_off: bool = False) -> str:
        """Return the rest of the text; a statement that was `broken_off` before its end is not judged."""
        if broken_off and not re.search(r"[.!?…。！？\]]\W*$", self._held):
            return self._give(self._held[self._shown :])
        return self._drain(final=True)

    @property
    def result(self) -> CitedText:
        """Return what was shown so far."""
        citations = sorted(self._citations.values(), key=lambda citation: (citation.number, citation.start))
        return CitedText("".join(self._given), tuple(citations), tuple(self._unsupported), self._lacks_details)

    def _drain(self, *, final: bool) -> str:
        shown = []
        while (end := self._statement_end(final=final)) is not None:
            statement, self._held = self._held[:end], self._held[end:]
            shown.append(self._give(self._finish(statement)))
            self._shown = 0
        shown.append(self._give(self._ready()))
        return "".join(shown)

    def _give(self, text: str) -> str:
        self._given.append(text)
        self._length += len(text)
        return text

    def _statement_end(self, *, final: bool) -> int | None:
        """Return where the statement ends with its marks and the white space behind it; None if it may go on."""
        if not self._held:
            return None
        newline = self._held.find("\n")
        line = self._held if newline < 0 else self._held[: newline + 1]
        if not self._in_code and not _FENCE.match(line):
            plain, places = self._without_marks(line)
            for _, following in sentence_breaks(plain, 0, len(plain)):
                if _LEAD.fullmatch(plain[:following]):
                    continue  # the number of an item
                if not final and newline < 0 and _MAY_BE_MARK.fullmatch(plain, following):
                    return None
                return self._place_in(line, places, following)
        if newline >= 0:
            return newline + 1
        return len(self._held) if final else None

    def _ready(self) -> str:
        """Return the text of the unfinished statement that stays as it is, whatever follows."""
        if self._held.lstrip()[:1] in ("`", "~"):
            return ""  # it may open or close a block of code
        if self._in_code:
            text, self._shown = self._held[self._shown :], len(self._held)
            return text
        plain, places = self._without_marks(self._held)
        end = _OPEN_TAIL.search(plain)
        ready = end.start() if end else len(plain)
        kept = [at for at, _ in places if at < ready and _WORD_BEFORE.search(plain[:at])]
        ready = min([ready, *kept])
        text, self._shown = plain[self._shown : max(self._shown, ready)], max(self._shown, ready)
        return text

    def _finish(self, statement: str) -> str:
        """Return the rest of a statement that has ended, with its citations."""
        if _FENCE.match(statement):
            self._in_code = not self._in_code
        if self._in_code or _FENCE.match(statement):
            return statement[self._shown :]
        plain, places = self._without_marks(statement)
        start = self._length - self._shown
        cited = list(dict.fromkeys(number for _, numbers in places for number in numbers))
        said = plain.strip()
        refuses = is_refusal(said)
        if not _is_statement(said) or (refuses and _ABOUT_DOCUMENTS.search(said)):
            return plain[self._shown :]
        found = self._attributor.attribute(said, cited)
        if refuses and not found.places:
            return plain[self._shown :]  # with a place it is a "no" that the documents say
        for place in found.places:
            self._cite(place.number, place.start, place.end, by="model" if place.number in cited else "house")
        numbers = sorted({place.number for place in found.places})
        text = _with_marks(plain, places, numbers)
        if found.unsupported:
            lead = len(plain) - len(plain.lstrip())
            self._unsupported.append(Span(start + lead, start + lead + len(text.strip()), text.strip()))
            self._lacks_details = self._lacks_details or found.has_details
        return text[self._shown :]

    def _without_marks(self, text: str) -> tuple[str, list[tuple[int, list[int]]]]:
        """Return a text without citation marks, and where in it which numbers stood."""
        pieces: list[str] = []
        places: list[tuple[int, list[int]]] = []
        left = length = 0
        for match in self._marks(text):
            pieces.append(text[left : match.start()])
            length += len(pieces[-1])
            places.append((length, numbers_in_mark(match[1])))
            left = match.end()
        return "".join([*pieces, text[left:]]), places

    def _place_in(self, marked: str, places: Sequence[tuple[int, list[int]]], plain_end: int) -> int:
        """Return the place in a marked text of a place in it without marks; marks up to there are included."""
        marks = zip(self._marks(marked), places, strict=True)
        return plain_end + sum(len(match[0]) for match, (at, _) in marks if at <= plain_end)

    def _marks(self, text: str) -> Iterator[re.Match[str]]:
        """Yield the citation marks of a text; argv[1] in code, or as a passage writes it, is none."""
        for match in _MARK.finditer(text):
            word = _WORD_AT_END.search(text[: match.start()])
            literal = word is not None and any(word[0] + match[0] in passage.text for passage in self._passages)
            if not literal and text.count("`", 0, match.start()) % 2 == 0:
                yield match

    def _cite(self, number: int, start: int, end: int, *, by: str) -> None:
        key = (number, start, end)
        if key not in self._citations or by == "model":
            self._citations[key] = cite_range(number, self._passages[number - 1], start, end, by=by)


def stream_citing(
    writing: Generator[Token, None, Written], citing: CitingStream, bare: BareCheck
) -> Generator[Token, None, tuple[Written, CitedText | None]]:
    """Yield the text that is written with its citations, and return it; None in place of an answer that is bare.

    Text is held back as long as it may be the whole of a bare answer, so that none of one is yielded.
    """
    held, begun = "", False
    while True:
        try:
            held += next(writing).text
        except StopIteration as end:
            written: Written = end.value
            break
        begun = begun or not bare.may_become_bare(held)
        if begun:
            shown, held = citing.feed(held), ""
            if shown:
                yield Token(shown)
    if not begun and not written.interrupted and bare.is_bare(written.text):
        return written, None
    rest = citing.feed(held) + citing.close(broken_off=bool(written.interrupted))
    if rest:
        yield Token(rest)
    return written, citing.result


def without_marks(text: str) -> str:
    """Return a text without citation marks."""
    return _MARK.sub("", text)


def _is_statement(text: str) -> bool:
    """Return whether a sentence states something: no greeting, question or heading."""
    if text.endswith(("?", "？", "؟")) or _HEADING.match(text) or _COURTESY.match(text):
        return False
    quantities = read_quantities(text)
    return bool(stems(text) or quantities.figures or quantities.years)


def _with_marks(plain: str, places: Sequence[tuple[int, list[int]]], numbers: Sequence[int]) -> str:
    """Return a statement with its numbers before its stop; those that are words of it stay where they are."""
    left: list[int] = []
    for at, cited in sorted(places, reverse=True):
        words = [number for number in cited if number in numbers] or list(numbers[:1])
        if words and _WORD_BEFORE.search(plain[:at]) and plain[:at].strip():
            plain = plain[:at] + " " + "".join(f"[{number}]" for number in words) + plain[at:]
            left += words
    marks = "".join(f"[{number}]" for number in numbers if number not in left)
    stop = _STOP.search(plain)
    end = stop.start() if stop else len(plain)
    if not marks:
        return plain
    gap = "" if _CJK_STOP.match(plain[end:]) or not plain[:end] else " "
    return plain[:end] + gap + marks + plain[end:]
