"""Takes screenshots of the web page for the docs: python docs/make_pictures.py (needs Debian's Chromium)."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from docs.build_handbook import build  # noqa: E402
from tests.documents import write_facts, write_pdf  # noqa: E402
from tests.streamlit_app.browsing import app, ask, browser, open_view  # noqa: E402

PICTURES = ROOT / "docs" / "pictures"
QUESTION = "How many redirects are followed when a link is fetched?"
SIZES = {"": (1280, 860), "-phone": (390, 844)}


def main() -> int:
    """Add the handbook and two small files, ask one question, and save the page at both widths."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        documents = _documents(folder)
        with app(folder / "home", folder, QUIRE_MODEL="quotes") as url, browser(folder / "profile") as context:
            page = context.new_page()
            _fill(page, url, documents)
            _ask(page)
            for ending, (width, height) in SIZES.items():
                page.set_viewport_size({"width": width, "height": height})
                _save(page, f"page-ask{ending}")
            page.set_viewport_size({"width": 1280, "height": 860})
            page.get_by_role("button", name="Close").click()
            page.locator(".st-key-page_panel").wait_for(state="detached")
            open_view(page, "Library")
            page.get_by_text("Links to PDFs").wait_for()
            for ending, (width, height) in SIZES.items():
                page.set_viewport_size({"width": width, "height": height})
                _save(page, f"page-library{ending}")
    return 0


def _documents(folder: Path) -> list[Path]:
    handbook = folder / "handbook.pdf"
    build(handbook)
    facts = write_facts(folder)
    secret = write_pdf(folder / "contract.pdf", ["The notice period is three months."], password="a password")  # noqa: S106 - of a temporary file
    broken = folder / "broken.pdf"
    broken.write_bytes(b"this is not a PDF")
    return [handbook, *facts, secret, broken]


def _fill(page: Any, url: str, documents: list[Path]) -> None:
    page.goto(url)
    page.get_by_role("button", name="Add documents").click()
    page.locator("input[type=file]").set_input_files(documents)
    page.get_by_text("broken.pdf").first.wait_for()
    page.get_by_role("button", name="Add to default").click()
    page.get_by_text("default: 3 documents").wait_for(timeout=120_000)


def _ask(page: Any) -> None:
    open_view(page, "Ask")
    ask(page, QUESTION)
    page.wait_for_timeout(3000)  # until then the page follows the growing answer
    # the number in the answer: the buttons below it are outside the screenshot
    page.locator(".quire-mark").first.click()
    page.locator(".st-key-page_panel img").wait_for()
    page.wait_for_timeout(1500)
    page.mouse.move(600, 400)
    page.mouse.wheel(0, -3000)  # back to the question: with the page beside it, the conversation is longer


def _save(page: Any, name: str) -> None:
    page.wait_for_timeout(900)  # pictures and fonts settle
    page.mouse.move(0, 0)
    page.screenshot(path=PICTURES / f"{name}.png")
    print(PICTURES / f"{name}.png")


if __name__ == "__main__":
    sys.exit(main())
