"""One page: turned, tilted and dirty pictures are read like clean ones."""

from pathlib import Path
from typing import Any

import pytest

from ingest.errors import ParserLimit
from ingest.ocr.engine import Engine
from ingest.ocr.page import PageText, read_page
from ingest.ocr.words import Piece, split_line
from tests.ingest import scans


class Ruler:
    """An engine that sees ink: one word where there is any, sure if the ink is in the upper half of a tall picture."""

    name, dpi, low_confidence = "ruler 1", 100, 0.9

    def __init__(self, first: float = 0.3) -> None:
        self.calls = 0
        self._first = first

    def read(self, picture: Any, seconds: float) -> list[Piece]:
        import numpy as np

        self.calls += 1
        rows, columns = np.nonzero(picture < 128)
        if not rows.size:
            return []
        box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        return [split_line("ink", box, self._first if self.calls == 1 else 0.4)]


def text_of(page: PageText) -> list[str]:
    return [" ".join(word.text for word in row) for row in page.rows]


def picture(tmp_path: Path, engine: Engine, turn: float = 0.0, *, dirty: bool = False) -> Any:
    import numpy as np

    path = tmp_path / "page.pdf"
    scans.statement(*scans.SALES).output(str(path))
    drawn = scans.picture(path, dpi=engine.dpi, turn=turn)
    return np.array(scans.spoiled(drawn) if dirty else drawn)


@pytest.mark.parametrize(
    "turn", [90, pytest.param(180, marks=pytest.mark.slow), pytest.param(271.5, marks=pytest.mark.slow)]
)
def test_a_turned_page_is_read_like_an_upright_one(tmp_path: Path, engine: Engine, turn: float) -> None:
    page = read_page(engine, picture(tmp_path, engine, turn), 200)
    assert text_of(page) == [line.replace("|", " ") for line in scans.SALES]
    assert page.turn == 360 - round(turn / 90) * 90
    assert page.tilt == pytest.approx(turn - round(turn / 90) * 90, abs=0.5)
    assert page.confidence > 0.85


def test_a_dirty_and_tilted_page_keeps_its_figures(tmp_path: Path, engine: Engine) -> None:
    page = read_page(engine, picture(tmp_path, engine, -1.5, dirty=True), 200)
    found = " ".join(text_of(page))
    figures = [cell for line in scans.SALES for cell in line.split("|")[1:]]
    assert sum(figure in found for figure in figures) >= 8, found
    assert page.tilt == pytest.approx(-1.5, abs=0.4)


def test_a_sure_page_is_read_once_and_a_blank_one_too() -> None:
    import numpy as np

    page = np.full((100, 80), 255, np.uint8)
    blank = Ruler()
    assert read_page(blank, page, 10) == PageText()
    page[10:20, 10:40] = 0
    sure = Ruler(first=0.95)
    [[word]] = read_page(sure, page, 10).rows
    assert (word.left, word.right) == (0.125, 0.5)
    assert (blank.calls, sure.calls) == (1, 1)


def test_an_unsure_page_is_tried_turned_and_cleaned_a_bounded_number_of_times() -> None:
    import numpy as np

    page = np.full((100, 80), 255, np.uint8)
    page[10:20, 10:40] = 0
    engine = Ruler()
    assert read_page(engine, page, 10).confidence <= 0.9
    assert engine.calls <= 7


def test_what_the_first_reading_found_outlives_a_second_one_that_takes_too_long() -> None:
    import numpy as np

    class Slow(Ruler):
        def read(self, picture: Any, seconds: float) -> list[Piece]:
            if self.calls:
                raise ParserLimit("took longer")
            return super().read(picture, seconds)

    page = np.full((100, 80), 255, np.uint8)
    page[10:20, 10:40] = 0
    assert text_of(read_page(Slow(), page, 10)) == ["ink"]
