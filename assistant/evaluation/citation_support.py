"""Whether cited passages support the sentences of an answer: citation recall and precision of ALCE."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from assistant.answering.answer_filter import CITATION_MARK, cited_numbers
from assistant.evaluation.amounts import read_amounts, states_amount
from assistant.retrieval.search import Passage
from ingest import split_sentences

Supports = Callable[[str, Sequence[Passage]], "bool | None"]  # (sentence, cited passages); None if it cannot say

# Share of a sentence's words that must be near each other in the cited passages. The product attributes with all words
# of a whole passage and a share of 0.35 (citations.py); this rule is stricter, so that it can disagree.
_WORD_SHARE = 0.6
_WINDOW = 4  # sentences of a passage in which the words must be: words from all over a page support nothing
_STEM_LETTERS = 5
_MARKS_AFTER_STOP = re.compile(r"([.!?][\"”']?)\s*((?:\[\d+\]\s*)+)")
_WORD = re.compile(r"[^\W\d_]{3,}")
_NAME = re.compile(r"(?<![.!?:“\"]\s)(?<!^)(?<!\w)[A-Z][\w&'-]*[a-zA-Z]")
_COMMON = frozenset(
    """about after also and are been being both but can did does for from had has have her his how into its more most not
    only other over per such than that the their them then there these they this those was were what when where which
    while who will with would according document passage answer text states based provided thousand million billion percent""".split()  # noqa: SIM905
)


def citation_scores(
    text: str, passages: Sequence[Passage], supports: Supports | None = None
) -> tuple[float | None, float | None]:
    """Return citation recall and citation precision of an answer's text; None where nothing can be counted.

    Recall is the share of sentences that their cited passages support together; a sentence without a citation counts
    as unsupported. Precision is the share of citations that are needed: their sentence is supported, and the passage
    supports it alone or the others do not support it without it. [n] is `passages[n - 1]`.
    """
    supports = supports or is_supported
    recalled: list[bool] = []
    needed: list[bool] = []
    for sentence, numbers in cited_sentences(text):
        cited = [passages[number - 1] for number in numbers if 1 <= number <= len(passages)]
        together = bool(cited) and supports(sentence, cited)
        if together is None:
            continue
        recalled.append(together)
        for index, passage in enumerate(cited):
            rest = cited[:index] + cited[index + 1 :]
            alone = together and (not rest or supports(sentence, [passage]))
            needed.append(bool(together and (alone or supports(sentence, rest) is False)))
    return _share(recalled), _share(needed)


def cited_sentences(text: str) -> Iterator[tuple[str, list[int]]]:
    """Yield each sentence that states something, without its marks, and the numbers that it cites."""
    marked = _MARKS_AFTER_STOP.sub(lambda match: f" {match[2].strip()}{match[1]} ", text)
    for line in marked.splitlines():
        for sentence in split_sentences(line):
            plain = re.sub(r"\s+(?=[.,;!?]|$)", "", CITATION_MARK.sub("", sentence.text)).strip()
            if (_words(plain) or read_amounts(plain)) and not plain.endswith(":"):
                yield plain, list(dict.fromkeys(cited_numbers(sentence.text)))


def is_supported(sentence: str, passages: Sequence[Passage]) -> bool:
    """Return whether passages support a sentence: its amounts, its names, and most of its words close together."""
    texts = [passage.text for passage in passages]
    titles = " ".join(f"{passage.document} {passage.heading}" for passage in passages)
    known = [amount for text in texts for amount in read_amounts(text)]
    if not all(states_amount(amount, known) for amount in read_amounts(sentence)):
        return False
    all_words = set(_stems(" ".join([*texts, titles])))
    if not set(_stems(" ".join(_NAME.findall(sentence)))) <= all_words:
        return False
    wanted = set(_words(sentence)) - set(_stems(titles))
    if not wanted:
        return True
    near: set[str] = set()
    for text in texts:
        near |= max((wanted & set(_words(window)) for window in _windows(text)), key=len)
    return len(near) >= _WORD_SHARE * len(wanted)


def _windows(text: str) -> Iterator[str]:
    sentences = [sentence.text for sentence in split_sentences(text)]
    for start in range(max(1, len(sentences) - _WINDOW + 1)):
        yield " ".join(sentences[start : start + _WINDOW])


def _words(text: str) -> list[str]:
    return [word[:_STEM_LETTERS] for word in _WORD.findall(text.lower()) if word not in _COMMON]


def _stems(text: str) -> list[str]:
    return [word[:_STEM_LETTERS] for word in _WORD.findall(text.lower())]


def _share(checks: Sequence[bool]) -> float | None:
    return sum(checks) / len(checks) if checks else None
