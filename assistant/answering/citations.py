"""Makes citations true: only numbers that were in the prompt pass, each gets the words that support it; nothing is generated."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from assistant.answering.quotes import best_sentence, share, terms_and_numbers
from assistant.retrieval.search import Passage
from ingest import content_terms, numbers, split_sentences

SUPPORTED = 0.35  # share of a sentence's words a passage must hold; found on hand-made true and false claims

_MARK = re.compile(r"\[(\s*\d+(?:\s*[,;–-]\s*\d+)*\s*)\]")
_LENTICULAR = re.compile(r"【\s*(\d+)\s*(?:[†:][^】]*)?】")
_LABEL = re.compile(r"\s*source document\s*:", re.I)  # the label of a passage, which only the prompt may write


@dataclass(frozen=True)
class Citation:
    """One number of an answer and what it stands on: `quote` is the page's text from `start` to `end`, verbatim."""

    number: int
    document: str
    document_id: str
    page: int
    page_label: str
    start: int
    end: int
    quote: str

    def as_dict(self) -> dict[str, object]:
        """Return what `quire ask --json` prints of it."""
        return {
            "number": self.number,
            "document": self.document,
            "page": self.page,
            "page_label": self.page_label,
            "quote": self.quote,
            "document_id": self.document_id,
            "start": self.start,
            "end": self.end,
        }


@dataclass(frozen=True)
class Span:
    """A stretch of an answer's text."""

    start: int
    end: int
    text: str

    def as_dict(self) -> dict[str, object]:
        """Return the stretch as JSON holds it."""
        return {"start": self.start, "end": self.end, "text": self.text}


def cite(text: str, passages: Sequence[Passage]) -> tuple[list[Citation], list[Span]]:
    """Return the citations of a filtered answer, by number, and the sentences that no prompted passage supports.

    `passages` are those of the prompt; number n is passages[n - 1]. A sentence that cites is held against what it
    cites, one that does not against all passages.
    """
    claims: dict[int, list[str]] = {}
    unsupported: list[Span] = []
    for start, end, sentence in _claims(text):
        cited = [n for n in cited_numbers(sentence) if 1 <= n <= len(passages)]
        claim = _MARK.sub("", sentence).strip()
        for number in cited:
            claims.setdefault(number, []).append(claim)
        against = [passages[n - 1] for n in cited] or list(passages)
        if content_terms(claim) and not _supported(claim, against):
            unsupported.append(Span(start, end, sentence))
    citations = [_citation(number, passages[number - 1], said) for number, said in sorted(claims.items())]
    return citations, unsupported


def cited_numbers(text: str) -> list[int]:
    """Return the numbers cited in a text, in order, each once; ranges like [1-3] are spelled out."""
    found: list[int] = []
    for match in _MARK.finditer(text):
        found += [n for n in _numbers_of(match[1]) if n not in found]
    return found


class AnswerFilter:
    """Lets a streamed answer through without invented numbers, thoughts, links, images and HTML; `invented` lists what it stopped.

    Text is held back from a character that may begin one of these until it is clear what it is.
    """

    _LONGEST = 1000  # characters held back before a bracket is taken for plain text

    def __init__(self, prompted: int) -> None:
        self.prompted = prompted  # numbers 1 to `prompted` are true
        self.invented: list[int] = []
        self._held = ""
        self._thinking = False

    def feed(self, piece: str) -> str:
        """Take the next piece of the answer and return what may be shown now."""
        self._held += piece
        return self._drain(final=False)

    def close(self) -> str:
        """Return what was held back, now that no more text comes."""
        if self._thinking and "</think>" not in self._held.lower():
            self._held = ""
        return self._drain(final=True)

    def _drain(self, *, final: bool) -> str:
        shown = []
        while self._held:
            if self._thinking and not self._skip_thoughts():
                break
            match = re.search(r"!\[|\[|【|<|https?://|www\.", self._held, re.I)
            if match is None:
                keep = 0 if final else _tail(self._held)
                cut = len(self._held) - keep
                shown.append(self._held[:cut])
                self._held = self._held[cut:]
                break
            shown.append(self._held[: match.start()])
            self._held = self._held[match.start() :]
            taken = self._take(final=final)
            if taken is None:
                break
            shown.append(taken)
        return "".join(shown)

    def _take(self, *, final: bool) -> str | None:
        """Remove what the held text begins with and return its replacement; None where more text must come first."""
        if self._held.lower().startswith("<think>"):
            self._held, self._thinking = self._held[len("<think>") :], True
            return ""
        for take in (_take_html, _take_address, self._take_lenticular, self._take_bracket):
            result = take(self._held, final or len(self._held) > self._LONGEST)
            if result is not None:
                replacement, used = result
                self._held = self._held[used:]
                return replacement
        return None

    def _skip_thoughts(self) -> bool:
        """Drop held thoughts; returns False while their end has not come."""
        end = self._held.lower().find("</think>")
        if end < 0:
            self._held = self._held[-len("</think>") :]  # the end may be cut in two
            return False
        self._held, self._thinking = self._held[end + len("</think>") :], False
        return True

    def _take_lenticular(self, held: str, final: bool) -> tuple[str, int] | None:
        """Take a citation as some models were taught to write it: 【3】 or 【3†source】."""
        if held[0] != "【":
            return None
        closed = held.find("】")
        if closed < 0:
            return (held[0], 1) if final else None
        mark = _LENTICULAR.fullmatch(held[: closed + 1])
        return (self._marks([int(mark[1])]), closed + 1) if mark else (held[0], 1)

    def _take_bracket(self, held: str, final: bool) -> tuple[str, int] | None:
        image = held.startswith("!")
        if held[int(image)] != "[":
            return None
        opened = 1 + int(image)
        closed = held.find("]", opened)
        if closed < 0:
            return (held[opened - 1], opened) if final else None
        after = held[closed + 1 : closed + 2]
        if not after and not final:
            return None  # an address in round brackets may follow
        inner, used = held[opened:closed], closed + 1
        if after == "(":
            end = held.find(")", closed)
            if end < 0 and not final:
                return None
            used = len(held) if end < 0 else end + 1
        elif image and after == "[":
            end = held.find("]", closed + 1)
            if end < 0 and not final:
                return None
            used = len(held) if end < 0 else end + 1
        elif after == ":" and (closed + 2 >= len(held) or held[closed + 2].isspace()):
            used = closed + 2  # a link's definition
        if image:
            return "", used
        mark = _MARK.fullmatch(f"[{inner}]")
        if mark is None and _LABEL.match(inner):
            return "", used
        if mark is None:
            return (inner, used) if used > closed + 1 else ("[", 1)
        return self._marks(_numbers_of(mark[1])), used

    def _marks(self, cited: list[int]) -> str:
        self.invented += [n for n in cited if not 1 <= n <= self.prompted]
        return "".join(f"[{n}]" for n in cited if 1 <= n <= self.prompted)


def _take_html(held: str, final: bool) -> tuple[str, int] | None:
    if held[0] != "<":
        return None
    if len(held) == 1:
        return ("<", 1) if final else None
    if not re.match(r"<[A-Za-z/!?]", held):
        return "<", 1
    if held.startswith("<!--"):
        end, length = held.find("-->"), 3
    else:
        end, length = held.find(">"), 1
    if end >= 0:
        return "", end + length
    return ("< ", 1) if final else None  # with a blank behind it, it opens no tag


def _take_address(held: str, final: bool) -> tuple[str, int] | None:
    match = re.match(r"(?:https?://|www\.)[^\s<>\"'\])]*", held, re.I)
    if match is None:
        return None
    if match.end() == len(held) and not final:
        return None
    return "(link removed)", match.end()


def _tail(text: str) -> int:
    """Return how many characters at the end may be the beginning of something that is not let through."""
    for length in range(min(8, len(text)), 0, -1):
        end = text[-length:].lower()
        if any(start.startswith(end) for start in ("![", "https://", "http://", "www.")):
            return length
    return 0


def _numbers_of(inner: str) -> list[int]:
    found: list[int] = []
    for part in re.split(r"\s*[,;]\s*", inner.strip()):
        ends = [int(n) for n in re.findall(r"\d+", part)]
        if len(ends) == 2 and ends[0] < ends[1] <= ends[0] + 50:
            found += range(ends[0], ends[1] + 1)
        else:
            found += ends
    return found


def _claims(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield the sentences of an answer; a number that follows the full stop belongs to the sentence before it."""
    pending: tuple[int, int] | None = None
    for sentence in split_sentences(text):
        marks = re.match(r"(?:\[\d+\]\s*)+", sentence.text)
        start = sentence.start
        if marks is not None and pending is not None:
            pending = (pending[0], start + len(marks.group().rstrip()))
            start += marks.end()
        if start >= sentence.end:
            continue
        if pending is not None:
            yield pending[0], pending[1], text[pending[0] : pending[1]]
        pending = (start, sentence.end)
    if pending is not None:
        yield pending[0], pending[1], text[pending[0] : pending[1]]


def _supported(claim: str, passages: Sequence[Passage]) -> bool:
    text = "\n".join(f"{passage.document} {passage.heading} {passage.text}" for passage in passages)
    said, there = numbers(claim), numbers(text)
    if any(number not in there for number in said if len(number) > 1):
        return False
    return share(text, dict.fromkeys(terms_and_numbers(claim), 1.0)) >= SUPPORTED


def _citation(number: int, passage: Passage, claims: Sequence[str]) -> Citation:
    best = max(
        (
            found
            for claim in claims
            if (found := best_sentence(claim, passage.text, margins=passage.margins)) is not None
        ),
        key=lambda found: found[1],
        default=None,
    )
    start, end = (best[0].start, best[0].end) if best is not None else (0, len(passage.text))
    return Citation(
        number=number,
        document=passage.document,
        document_id=passage.document_id,
        page=passage.page,
        page_label=passage.page_label,
        start=passage.start + start,
        end=passage.start + end,
        quote=passage.text[start:end],
    )
