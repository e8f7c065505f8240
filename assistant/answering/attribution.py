"""Which passages of the prompt support a statement of an answer, whatever the model cited.

Evaluation measures support with rules of its own (assistant/evaluation/citation_support.py); neither uses the other's, so
that the measure can disagree with what it measures.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from assistant.answering.claims import Claim, Wording, language_of, read_claim, split_claim, stems, wording
from assistant.answering.figures import Figure, Quantities, read_quantities, same_date, same_figure, stated_scales
from assistant.retrieval.search import Passage
from ingest import is_table_row, name_words, split_sentences

MIN_SHARE = 0.6  # of a statement's words, by weight, that one place of a passage must hold
MIN_NEARNESS = 0.675  # of that share and half of the share of its neighboring words that are neighbors there too
MIN_SCORE = 0.62  # of the two with less for neighbors, and less where it takes several sentences
MIN_SHARE_WITH_FIGURE = 0.35  # where the place holds a figure or date that hardly stands there by chance
MIN_SHARE_CITED = 0.45  # in a passage that the model cited: two witnesses
MIN_SHARE_OF_QUESTION = 0.75  # where a statement says again what was asked
_QUESTION_WEIGHT = 0.4  # of a word that the question brought: the model repeats it whatever it found
_SHORT = 3  # words of its own, of a statement that could stand anywhere
_PHRASE = 3  # words of an answer that is no sentence: it says nothing apart from the question
_MAX_UNITS = 3  # sentences that may support a statement together
_MAX_PLACE = 500  # characters of them
_ROW_MARGIN = 0.15  # share by which another row must fit better to be the one that was meant
_BULLET = re.compile(r"\n(?=\s*(?:[•▪●○*–-]|\(?\w{1,2}[.)])\s)")
_YEAR_AFTER = re.compile(r"[^\d,;.]{0,25}$")


@dataclass(frozen=True)
class Place:
    """Where a passage supports a statement, as a range of its text; `score` grows with what they share."""

    number: int  # of the passage, 1-based
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class Attribution:
    """What a statement rests on."""

    places: tuple[Place, ...]
    unsupported: bool  # False without a place too, where the words are of two languages and tell nothing
    has_details: bool  # it states an amount, a date or a name


@dataclass(frozen=True)
class _Unit:
    """One sentence or row of a passage."""

    start: int
    end: int
    text: str
    words: frozenset[str]
    wording: Wording
    quantities: Quantities
    is_row: bool
    columns: tuple[int, ...]  # the years above the figures of a row; empty for a sentence
    percent: bool  # it, or the head above it, speaks of percents


class Attributor:
    """The passages of one answer, read once; `passages` may grow between two statements."""

    def __init__(self, question: str, passages: Sequence[Passage]) -> None:
        self._passages = passages
        self._sources: list[_Source] = []
        self._sentences = 0  # of all passages
        self._counts: Counter[str] = Counter()  # in how many of them a word stands
        self._question = read_claim(question)
        self._asked = frozenset(self._question.wording.stems)

    def attribute(self, statement: str, cited: Sequence[int] = ()) -> Attribution:
        """Return what supports a statement; `cited` are the numbers that the model gave it."""
        self._read_new_passages()
        claim = read_claim(statement)
        places = self._places(claim, cited)
        foreign = not places and not claim.quantities.figures and not claim.quantities.dates
        if foreign and claim.language and all(source.differs(claim.language) for source in self._sources):
            kept = [self._nearest(claim, number) for number in cited if number <= len(self._sources)]
            return Attribution(tuple(kept), False, claim.has_details)
        return Attribution(places, not places, claim.has_details)

    def _read_new_passages(self) -> None:
        for passage in self._passages[len(self._sources) :]:
            source = _Source(passage)
            self._sources.append(source)
            self._sentences += len(source.units)
            self._counts.update(stem for unit in source.units for stem in unit.words)

    def _places(self, claim: Claim, cited: Sequence[int]) -> tuple[Place, ...]:
        """Return the places that support a statement whole, or one for each of its parts."""
        whole = self._best(claim, cited)
        if whole:
            return whole
        found: list[Place] = []
        for part in split_claim(claim):
            best = self._best(part, cited)
            if not best:
                return ()
            found += best
        return tuple(found)

    def _best(self, claim: Claim, cited: Sequence[int]) -> tuple[Place, ...]:
        """Return the place in each cited passage that supports a claim, else the best in any passage."""
        weights = self._weights(claim)
        found = [
            place
            for number, source in enumerate(self._sources, 1)
            if (place := self._place(claim, weights, number, source, cited=number in cited)) is not None
        ]
        by_model = tuple(place for place in found if place.number in cited)
        return by_model or tuple(sorted(found, key=lambda place: (-place.score, place.number))[:1])

    def _weights(self, claim: Claim) -> dict[str, float]:
        """Return the weight of each word of a claim: its inverse frequency in the sentences of all passages."""
        names = {stem for name in claim.names for stem in name}
        return {
            stem: math.log(1 + self._sentences / (0.5 + max(1, self._counts[stem])))
            * (_QUESTION_WEIGHT if stem in self._asked and stem not in names else 1.0)
            for stem in claim.wording.stems
        }

    def _place(
        self, claim: Claim, weights: dict[str, float], number: int, source: _Source, *, cited: bool
    ) -> Place | None:
        if not self._names_known(claim, source) or not self._years_known(claim, source):
            return None
        foreign = bool(claim.language) and source.differs(claim.language, unknown=claim.language != "en")
        best: Place | None = None
        alike = dict.fromkeys(weights, 1.0)
        told = against = 0.0  # shares of the claim's words in the best place, and in a sentence that contradicts it
        for units in source.windows():
            words = frozenset(stem for unit in units for stem in unit.words)
            if _contradicts(claim.wording, units, words):
                against = max(against, _share(alike, words)) if len(units) == 1 else against
                continue
            score = self._score(claim, weights, units, words, source, cited=cited, foreign=foreign)
            if score is not None and (best is None or score > best.score):
                best, told = Place(number, units[0].start, units[-1].end, score), _share(alike, words)
        return best if told >= against else None

    def _score(
        self,
        claim: Claim,
        weights: dict[str, float],
        units: Sequence[_Unit],
        words: frozenset[str],
        source: _Source,
        *,
        cited: bool,
        foreign: bool,
    ) -> float | None:
        """Return how much a claim shares with sentences that support it; None if they do not."""
        own = {stem: weight for stem, weight in weights.items() if stem not in source.title} or weights
        present = words | source.heading
        share = min(_share(own, present), _share(dict.fromkeys(own.keys() - self._asked, 1.0), present))
        told = self._figures_told(claim, units, source)
        if told is None:
            return None
        pairs = _pair_share(claim.wording, units)
        score = share + 0.2 * pairs - 0.05 * (len(units) - 1)
        if told:
            enough = share >= MIN_SHARE_WITH_FIGURE or foreign
            if not own.keys() - self._asked:
                enough = (enough and bool(own)) or self._fits_bare(claim, words | source.heading)
            enough = enough and not self._better_row(claim, units, source)
            return score + 0.3 if enough else None
        if cited:
            return score if share >= MIN_SHARE_CITED else None
        if share < MIN_SHARE or share + 0.5 * pairs < MIN_NEARNESS or score < MIN_SCORE:
            return None
        if len(own.keys() - self._asked) >= _SHORT or _has_full_name(claim, units):
            return score
        if len(own) <= _SHORT and len(units) > 1:
            return None  # few words stand together if they belong together
        phrase = len(claim.text.split()) <= _PHRASE
        fit = self._fit_of_short(share, own, words, source, phrase=phrase)
        return None if fit is None else score + fit

    def _fit_of_short(
        self, share: float, own: Mapping[str, float], words: frozenset[str], source: _Source, *, phrase: bool
    ) -> float | None:
        """Return how well a place fits the question, where an answer adds few words to it; None if it fits too little."""
        asked = self._asked - source.title
        if share < (MIN_SHARE_OF_QUESTION if len(own) > _SHORT else 1.0):
            return None
        near = _share(dict.fromkeys(asked, 1.0), words)
        fits = near >= 0.5 or (not phrase and len(asked & source.vocabulary) >= 0.5 * len(asked))
        return 0.5 * near if fits else None

    def _fits_bare(self, claim: Claim, words: Collection[str]) -> bool:
        """Return whether a figure without words but the question's is long, or stands beside words of the question."""
        long = any(figure.digits > _SHORT for figure in claim.quantities.figures)
        return long or _share(dict.fromkeys(self._asked, 1.0), words) >= MIN_SHARE_WITH_FIGURE

    def _figures_told(self, claim: Claim, units: Sequence[_Unit], source: _Source) -> bool | None:
        """Return whether sentences hold a distinct figure or date of a claim; None if one of the claim's is missing."""
        told = False
        for figure in claim.quantities.figures:
            year = self._year_of(claim, figure)
            if any(_holds(unit, figure, year, source.scales) for unit in units):
                told = told or figure.is_distinct
            elif not any(same_figure(figure, asked, frozenset()) for asked in self._question.quantities.figures):
                return None
        for date in claim.quantities.dates:
            if any(same_date(date, unit.quantities) for unit in units):
                told = told or bool(date.day)
            elif not same_date(date, source.quantities):
                return None
        return told

    def _year_of(self, claim: Claim, figure: Figure) -> int | None:
        """Return the year that a claim states for a figure, else the only one of the question."""
        years, figures = claim.quantities.years, claim.quantities.figures
        if len(years) == 1:
            return years[0][0]
        if years:
            return years[figures.index(figure)][0] if len(years) == len(figures) else None
        asked = {year for year, _ in self._question.quantities.years}
        return asked.pop() if len(asked) == 1 else None

    def _names_known(self, claim: Claim, source: _Source) -> bool:
        alone = len({other.document_id for other in self._sources}) == 1
        return all(set(name) <= source.vocabulary or (alone and set(name) <= self._asked) for name in claim.names)

    def _years_known(self, claim: Claim, source: _Source) -> bool:
        asked = {year for year, _ in self._question.quantities.years}
        return all(year in source.years or (not source.years and year in asked) for year, _ in claim.quantities.years)

    def _better_row(self, claim: Claim, units: Sequence[_Unit], source: _Source) -> bool:
        """Return whether the figures stand in a row of a table, and the label of another row fits the claim better."""
        rows = [unit for unit in units if unit.is_row]
        if not rows:
            return False
        wanted = set(claim.wording.stems) if len(claim.wording.stems) > 1 else set(claim.wording.stems) | self._asked
        if not wanted:
            return False
        best = max(len(wanted & unit.words) for unit in rows) / len(wanted)
        return any(
            len(wanted & unit.words) / len(wanted) >= best + _ROW_MARGIN
            for unit in source.units
            if unit.is_row and unit not in rows
        )

    def _nearest(self, claim: Claim, number: int) -> Place:
        """Return the sentence that shares most words with the claim or the question; the whole passage if none does."""
        source = self._sources[number - 1]
        wanted = set(claim.wording.stems) | self._asked
        best = max(source.units, key=lambda unit: len(wanted & unit.words), default=None)
        if best is None or not wanted & best.words:
            return Place(number, 0, len(self._passages[number - 1].text), 0.0)
        return Place(number, best.start, best.end, 0.0)


class _Source:
    """One passage, read: its sentences and rows, and what stands above them."""

    def __init__(self, passage: Passage) -> None:
        title = name_words(passage.document)
        above = f"{title}\n{passage.heading}"
        self.document_id = passage.document_id
        self.title = frozenset(stems(title))
        self.heading = frozenset(stems(passage.heading))
        self.quantities = read_quantities(f"{above}\n{passage.text}", loosely=True)
        self.years = frozenset(year for year, _ in self.quantities.years)
        self.scales = stated_scales(f"{passage.heading}\n{passage.text}")
        self.units = list(_units(passage))
        self.vocabulary = self.title | self.heading | {stem for unit in self.units for stem in unit.words}
        self._language = language_of(passage.text)

    def differs(self, language: str, *, unknown: bool = False) -> bool:
        """Return whether the passage is in another language; `unknown` is the answer where its words do not tell."""
        return unknown if not self._language else self._language != language

    def windows(self) -> Iterator[list[_Unit]]:
        """Yield each sentence or row, and each few that follow one another, with one row at most."""
        for first in range(len(self.units)):
            for last in range(first, min(first + _MAX_UNITS, len(self.units))):
                units = self.units[first : last + 1]
                if last > first and (
                    units[-1].end - units[0].start > _MAX_PLACE or sum(unit.is_row for unit in units) > 1
                ):
                    break
                yield units


def _units(passage: Passage) -> Iterator[_Unit]:
    columns: tuple[int, ...] = ()
    percent = "%" in passage.heading
    for start, end in _pieces(passage):
        text = passage.text[start:end]
        quantities = read_quantities(text, loosely=True)
        heads = _heads(text)
        is_row = "\n" not in text and not heads and (is_table_row(text) or len(quantities.figures) == len(columns) > 1)
        if not is_row:
            columns = heads or columns
            percent = "%" in text
        words = wording(text)
        yield _Unit(
            start, end, text, frozenset(words.stems), words, quantities, is_row, columns if is_row else (), percent
        )


def _pieces(passage: Passage) -> Iterator[tuple[int, int]]:
    """Yield the ranges of sentences and rows; items of a list without stops are apart."""
    for sentence in split_sentences(passage.text, skip=passage.margins):
        left = 0
        for match in _BULLET.finditer(sentence.text):
            yield sentence.start + left, sentence.start + match.start()
            left = match.end()
        yield sentence.start + left, sentence.end


def _heads(text: str) -> tuple[int, ...]:
    """Return the years of the last line that has several and no figures: the heads of the columns below it."""
    for line in reversed(text.splitlines()):
        found = read_quantities(line)
        if len(found.years) > 1 and not found.figures:
            return tuple(year for year, _ in found.years)
    return ()


def _holds(unit: _Unit, figure: Figure, year: int | None, scales: frozenset[float]) -> bool:
    """Return whether a sentence or row holds a figure, and not for another year."""
    percent = unit.percent or "%" in unit.text
    given = unit.quantities.figures
    for other in given:
        if same_figure(figure, other, scales, percent=percent):
            its_year = _year_in(unit, given, other)
            if year is None or its_year is None or its_year == year:
                return True
    return False


def _year_in(unit: _Unit, given: Sequence[Figure], figure: Figure) -> int | None:
    """Return the year of a figure: that of its column, or the one right behind it; None if neither tells."""
    if unit.columns:
        skipped = len(given) - len(unit.columns)  # a row may begin with the number of a note
        if skipped in (0, 1):
            place = given.index(figure) - skipped
            return unit.columns[place] if place >= 0 else None
        return None
    for year, start in unit.quantities.years:
        if start >= figure.end and _YEAR_AFTER.fullmatch(unit.text[figure.end : start]):
            return year
    return None


def _contradicts(claim: Wording, units: Sequence[_Unit], words: frozenset[str]) -> bool:
    """Return whether sentences deny what a claim says, or say what it denies, or tell of a rise for a fall."""
    shared = set(claim.stems) & words
    denied = frozenset(stem for unit in units for stem in unit.wording.denied)
    if claim.denials:
        if not all(stems & denied for stems in claim.denials if stems):
            return True
        if 2 * len(claim.denied & denied) < max(1, len(claim.denied & words)):
            return True
    elif shared and len(shared & denied) >= max(1, len(shared) / 2):
        return True
    rises, falls = (any(unit.wording.directions[way] for unit in units) for way in (0, 1))
    return (claim.directions == (True, False) and falls and not rises) or (
        claim.directions == (False, True) and rises and not falls
    )


def _share(weights: Mapping[str, float], words: Collection[str]) -> float:
    """Return the share of the weights whose words are there; 1 if there are no weights."""
    total = sum(weights.values())
    return sum(weight for stem, weight in weights.items() if stem in words) / total if total else 1.0


def _has_full_name(claim: Claim, units: Sequence[_Unit]) -> bool:
    """Return whether sentences hold a name of several words of the claim, which says enough by itself."""
    names = {stem for name in claim.names for stem in name}
    return any(names & set(pair) and pair in unit.wording.pairs for pair in claim.wording.pairs for unit in units)


def _pair_share(claim: Wording, units: Sequence[_Unit]) -> float:
    if not claim.pairs:
        return 1.0
    stated = frozenset(pair for unit in units for pair in unit.wording.pairs)
    near = sum((a, b) in stated or (b, a) in stated for a, b in claim.pairs)
    return near / len(claim.pairs)
