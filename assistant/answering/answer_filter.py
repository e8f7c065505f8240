"""Filters a streamed answer: removes invented citation numbers, thoughts, links, images and HTML.

What `disarm` put into the marks that a model copied from a passage is removed too, except where a mark would be HTML.
"""

from __future__ import annotations

import re

from assistant.answering.control_marks import JOINER

CITATION_MARK = re.compile(r"\[(\s*\d+(?:\s*[,;–-]\s*\d+)*\s*)\]")  # [1], [1, 2], [1-3]
_LENTICULAR_MARK = re.compile(
    r"【\s*(\d+)\s*(?:[†:][^】]*)?】"
)  # some models were trained to write 【3】 or 【3†source】
_SOURCE_LABEL = re.compile(r"\s*source document\s*:", re.I)  # a passage's label, which only the prompt may write
_SUSPECT = re.compile(r"!\[|\[|【|<|https?://|www\.", re.I)  # how something that is removed may begin
_HTML = re.compile(r"<[A-Za-z/!?]")
_ADDRESS = re.compile(r"(?:https?://|www\.)[^\s<>\"'\])]*", re.I)
_ADDRESS_STARTS = ("![", "https://", "http://", "www.")
_MAX_HELD = 1000  # characters held back before a bracket counts as plain text
_MAX_RANGE = 50  # numbers that one range like [1-3] may mean

# what replaces the beginning of the held text and the number of characters replaced; None if more text must come first
Replacement = tuple[str, int] | None


class AnswerFilter:
    """Filters the pieces of one answer; `invented` lists the citation numbers that it removed.

    Text is held back from a character that may begin something to remove, until it is clear what it is.
    """

    def __init__(self, prompted: int) -> None:
        self.prompted = prompted  # the numbers 1 to `prompted` are valid
        self.invented: list[int] = []
        self._held = ""
        self._thinking = False

    def feed(self, piece: str) -> str:
        """Take the next piece of the answer and return the text that may be shown now."""
        self._held += piece
        return self._drain(final=False)

    def close(self) -> str:
        """Return the rest of the text that was held back."""
        if self._thinking and "</think>" not in self._held.lower():
            self._held = ""
        return self._drain(final=True)

    def _drain(self, *, final: bool) -> str:
        shown = []
        while self._held:
            if self._thinking and not self._skip_thoughts():
                break
            match = _SUSPECT.search(self._held)
            if match is None:
                end = len(self._held) - (0 if final else _suspect_tail(self._held))
                shown.append(self._held[:end])
                self._held = self._held[end:]
                break
            shown.append(self._held[: match.start()])
            self._held = self._held[match.start() :]
            replacement = self._replace(final=final)
            if replacement is None:
                break
            shown.append(replacement)
        return "".join(shown)

    def _replace(self, *, final: bool) -> str | None:
        """Remove what the held text begins with and return its replacement; None if more text must come first."""
        if self._held.lower().startswith("<think>"):
            self._held, self._thinking = self._held[len("<think>") :], True
            return ""
        for replace in (_replace_html, _replace_address, self._replace_lenticular, self._replace_bracket):
            found = replace(self._held, final or len(self._held) > _MAX_HELD)
            if found is not None:
                replacement, length = found
                self._held = self._held[length:]
                return replacement
        return None

    def _skip_thoughts(self) -> bool:
        """Drop the held thoughts; returns whether their end was found."""
        end = self._held.lower().find("</think>")
        if end < 0:
            self._held = self._held[-len("</think>") :]  # the closing tag may come in two pieces
            return False
        self._held, self._thinking = self._held[end + len("</think>") :], False
        return True

    def _replace_lenticular(self, held: str, final: bool) -> Replacement:
        if held[0] != "【":
            return None
        closed = held.find("】")
        if closed < 0:
            return (held[0], 1) if final else None
        mark = _LENTICULAR_MARK.fullmatch(held[: closed + 1])
        return (self._valid_marks([int(mark[1])]), closed + 1) if mark else (held[0], 1)

    def _replace_bracket(self, held: str, final: bool) -> Replacement:
        """Replace a citation, a link or an image; other brackets stay."""
        image = held.startswith("!")
        if held[int(image)] != "[":
            return None
        opened = 1 + int(image)
        if held[opened : opened + 1] == JOINER:
            return held[:opened], opened + 1
        closed = held.find("]", opened)
        if closed < 0:
            return (held[opened - 1], opened) if final else None
        target = _link_target(held, closed, image=image, final=final)
        if target is None:
            return None
        inner, length = held[opened:closed], target
        if image:
            return "", length
        mark = CITATION_MARK.fullmatch(f"[{inner}]")
        if mark is not None:
            return self._valid_marks(numbers_in_mark(mark[1])), length
        if _SOURCE_LABEL.match(inner):
            return "", length
        return (inner, length) if length > closed + 1 else ("[", 1)

    def _valid_marks(self, cited: list[int]) -> str:
        self.invented += [n for n in cited if not 1 <= n <= self.prompted]
        return "".join(f"[{n}]" for n in cited if 1 <= n <= self.prompted)


def cited_numbers(text: str) -> list[int]:
    """Return the numbers cited in a text, in order, without duplicates; a range like [1-3] is three numbers."""
    found: list[int] = []
    for match in CITATION_MARK.finditer(text):
        found += [n for n in numbers_in_mark(match[1]) if n not in found]
    return found


def numbers_in_mark(inner: str) -> list[int]:
    """Return the numbers inside the brackets of one citation mark."""
    found: list[int] = []
    for part in re.split(r"\s*[,;]\s*", inner.strip()):
        ends = [int(n) for n in re.findall(r"\d+", part)]
        if len(ends) == 2 and ends[0] < ends[1] <= ends[0] + _MAX_RANGE:
            found += range(ends[0], ends[1] + 1)
        else:
            found += ends
    return found


def _link_target(held: str, closed: int, *, image: bool, final: bool) -> int | None:
    """Return where a bracket that closes at `closed` ends with its link target; None if more text must come first."""
    after = held[closed + 1 : closed + 2]
    if not after and not final:
        return None
    closing = ")" if after == "(" else "]" if image and after == "[" else ""
    if closing:
        end = held.find(closing, closed + 1)
        if end < 0:
            return len(held) if final else None
        return end + 1
    is_definition = after == ":" and (closed + 2 >= len(held) or held[closed + 2].isspace())
    return closed + 2 if is_definition else closed + 1


def _replace_html(held: str, final: bool) -> Replacement:
    if held[0] != "<":
        return None
    if len(held) == 1 or held == "<" + JOINER:
        return ("<", len(held)) if final else None
    if held[1] == JOINER:
        return ("<" + JOINER if _HTML.match("<" + held[2:]) else "<"), 2
    if not _HTML.match(held):
        return "<", 1
    closing = "-->" if held.startswith("<!--") else ">"
    end = held.find(closing)
    if end >= 0:
        return "", end + len(closing)
    return ("< ", 1) if final else None  # with a space after it, it does not open a tag


def _replace_address(held: str, final: bool) -> Replacement:
    match = _ADDRESS.match(held)
    if match is None or (match.end() == len(held) and not final):
        return None
    return "(link removed)", match.end()


def _suspect_tail(text: str) -> int:
    """Return the number of characters at the end that may begin something to remove."""
    for length in range(min(8, len(text)), 0, -1):
        end = text[-length:].lower()
        if any(start.startswith(end) for start in _ADDRESS_STARTS):
            return length
    return 0
