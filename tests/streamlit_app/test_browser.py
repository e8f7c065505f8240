"""The page in a real browser: from the first run to a refusal, stopping, reloading, scrolling, and layout."""

from __future__ import annotations

import io
import json
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pypdfium2
import pytest
from PIL import Image

from tests.assistant.ollama_server import OllamaServer, ollama_binary
from tests.assistant.tiny import write_gguf
from tests.documents import write_pdf
from tests.streamlit_app.browsing import answers, app, ask, browser, needs_chromium, open_view, stop_button
from tests.streamlit_app.registry import Registry, openssl
from tests.streamlit_app.scripted_server import Messages, ScriptedServer

pytestmark = needs_chromium

HEART = "The heart of a blue whale weighs about 180 kilograms."
LIGHTHOUSE = [
    "The lighthouse of Bell Rock was first lit in February 1811. It stands on a reef that the tide covers twice a day.\n\n"
    "Its builder was Robert Stevenson. The tower is 35 metres tall and is made of granite and sandstone.\n\n"
    "In 1988 the lamp was made automatic, and the last keepers left the rock for good.",
    "Visits need a calm sea. Boats leave from Arbroath between May and September.",
]
WHALES = [
    f"{HEART} Its tongue weighs as much as an elephant.",
    "Humpback whales sing songs that last up to twenty minutes.",
]
REFUSAL = "I cannot answer that from these documents."


def speak(messages: Messages) -> str:
    """Answer as a small model would, from the passages in the prompt."""
    question = str(messages[-1]["content"]).rsplit("Question:", 1)[-1]
    if "passages" not in json.dumps(messages):
        return question
    if "Stevenson" in question or "built" in question:
        number = re.search(r"\[(\d+)\] \[Source document: lighthouse", str(messages[-1]["content"]))
        return f"Its builder was Robert Stevenson [{number[1]}]." if number else REFUSAL
    return REFUSAL


@pytest.fixture
def documents(tmp_path: Path) -> list[Path]:
    return [
        write_pdf(tmp_path / "lighthouse.pdf", LIGHTHOUSE),
        write_pdf(tmp_path / "whales.pdf", WHALES, password="krill"),
    ]


def test_from_the_first_run_to_a_refusal(tmp_path: Path, documents: list[Path]) -> None:
    home = tmp_path / "home"
    with (
        ScriptedServer(speak) as model,
        app(home, tmp_path, OPENAI_BASE_URL=model.url, QUIRE_MODEL="openai:scripted") as url,
        browser(tmp_path / "profile") as context,
    ):
        page = context.new_page()
        page.goto(url)
        page.get_by_text("Three steps to your first answer").wait_for()

        # add two PDFs, one of them encrypted
        page.get_by_role("button", name="Add documents").click()
        page.locator("input[type=file]").set_input_files(documents)
        page.get_by_text("whales.pdf").first.wait_for()
        page.get_by_role("button", name="Add to default").click()
        page.get_by_text("Password needed", exact=True).wait_for()
        assert page.get_by_text("Added", exact=True).count() == 1
        page.get_by_label("Password", exact=True).fill("wrong")
        page.get_by_role("button", name="Unlock").click()
        page.get_by_text("wrong password, try again").wait_for()
        page.get_by_label("Password", exact=True).fill("krill")
        page.get_by_role("button", name="Unlock").click()
        page.get_by_text("default: 2 documents").wait_for()
        assert not list((home / "uploads").glob("*/*")), "uploads are deleted"
        assert not [p for p in home.rglob("*") if "whales" in p.name], "names never reach the file system"

        # ask, and look at the cited page
        open_view(page, "Ask")
        ask(page, "Who built the lighthouse of Bell Rock?")
        citation = page.get_by_role("button", name="lighthouse.pdf, page 1")
        citation.wait_for()
        assert answers(page)[-1] == "Its builder was Robert Stevenson [1]."
        citation.click()
        picture = page.locator(".st-key-page_panel img")
        picture.wait_for()
        _check_marks(context.request.get(picture.evaluate("i => i.src")).body(), documents[0])

        # open the PDF at that page
        link = page.get_by_role("link", name="Open the PDF at page 1").evaluate("a => a.href")
        assert link.endswith(".pdf#page=1") and str(home) not in link
        assert context.request.get(link.split("#")[0]).body() == documents[0].read_bytes()

        # rate the answer, correct it, and export the correction
        page.get_by_test_id("stFeedback").get_by_role("radio").nth(1).click()
        page.get_by_role("textbox", name="What should the answer have been?").fill("Robert Stevenson built it [1].")
        page.get_by_role("button", name="Save correction").click()
        page.get_by_text("Saved.").first.wait_for()
        open_view(page, "Settings")
        with page.expect_download() as download:
            page.get_by_role("button", name="Download corrections (1)").click()
        [row] = [json.loads(line) for line in Path(download.value.path()).read_text().splitlines()]
        assert row["chosen"] == [{"role": "assistant", "content": "Robert Stevenson built it [1]."}]
        assert row["rejected"] == [{"role": "assistant", "content": "Its builder was Robert Stevenson [1]."}]
        assert LIGHTHOUSE[0].split("\n")[0][:40] in row["prompt"][-1]["content"]

        # remove the document, ask again
        open_view(page, "Library")
        page.get_by_role("button", name="Remove", exact=True).first.click()
        page.get_by_role("button", name="Remove permanently").click()
        page.get_by_text("default: 1 document").wait_for()
        open_view(page, "Ask")
        page.get_by_role("button", name="New conversation").click()
        ask(page, "Who built the lighthouse of Bell Rock?")
        page.get_by_text("Try the document's own words").wait_for()
        assert answers(page)[-1] == REFUSAL
    log = (tmp_path / "app.log").read_text()
    assert "Traceback" not in log and "Stack (most recent" not in log, log


def _check_marks(png: bytes, pdf: Path) -> None:
    """Check that the quote is marked strongly and the rest of the passage lightly, at the letters' boxes."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    with pypdfium2.PdfDocument(pdf) as document:
        page = document[0]
        text = page.get_textpage()
        whole = text.get_text_range()

        def yellow(sentence: str) -> float:
            """Return how yellow the paper is within the letters' boxes, 0 for white."""
            start = whole.index(sentence)
            found = []
            for place in range(start, start + len(sentence)):
                left, bottom, right, top = text.get_charbox(place)
                if right - left < 0.5 or not whole[place].strip():
                    continue
                box = (left, page.get_height() - top, right, page.get_height() - bottom)
                pixels = [n / size * of for n, size, of in zip(box, page.get_size() * 2, image.size * 2, strict=True)]
                part = image.crop((int(pixels[0]), int(pixels[1]), int(pixels[2]) + 1, int(pixels[3]) + 1))
                # the lightest pixels of a letter's box are its paper
                pixel = np.asarray(part, dtype=int).reshape(-1, 3)
                lightest = pixel[pixel.sum(axis=1).argsort()[-2:]]
                found.append(int((lightest[:, 0] - lightest[:, 2]).min()))
            return min(found)

        quoted = yellow("Its builder was Robert Stevenson.")
        beside = yellow("The tower is 35 metres tall")
        assert quoted > beside + 20, f"quoted {quoted}, beside {beside}"
        assert beside > 20
        text.close()
        page.close()
    corner = image.getpixel((3, 3))
    assert corner == (255, 255, 255)


def test_stop_ends_the_answer_at_the_model(tmp_path: Path, home: Path) -> None:
    long = " ".join(f"word{n}" for n in range(2000))
    with (
        ScriptedServer(lambda _: long, pause=0.15) as model,
        app(home, tmp_path, OPENAI_BASE_URL=model.url, QUIRE_MODEL="openai:scripted") as url,
        browser(tmp_path / "profile") as context,
    ):
        page = context.new_page()
        page.goto(url)
        page.get_by_text("What would you like to know?").wait_for()
        ask(page, "How heavy is the heart of a blue whale?")
        page.get_by_text("word5", exact=False).wait_for()
        before = model.sent
        stop_button(page).click()
        assert model.left.wait(5)
        # the click travels through the browser and the socket; a word or two may be sent meanwhile
        assert model.sent <= before + 3
        page.get_by_text("You stopped this answer").wait_for()
        assert answers(page)[-1].startswith("word0 word1")
        said = model.sent
        time.sleep(1)
        assert model.sent == said


def test_when_the_model_server_dies_the_partial_answer_and_the_error_are_shown(tmp_path: Path, home: Path) -> None:
    long = " ".join(f"word{n}" for n in range(2000))
    with (
        ScriptedServer(lambda _: long, pause=0.05) as model,
        app(home, tmp_path, OPENAI_BASE_URL=model.url, QUIRE_MODEL="openai:scripted") as url,
        browser(tmp_path / "profile") as context,
    ):
        page = context.new_page()
        page.goto(url)
        page.get_by_text("What would you like to know?").wait_for()
        ask(page, "How heavy is the heart of a blue whale?")
        page.get_by_text("word8", exact=False).wait_for()
        model.die()
        page.get_by_text("This answer is incomplete").wait_for()
        assert answers(page)[-1].startswith("word0 word1 word2")
        # a question to a dead server
        ask(page, "And its tongue?")
        page.get_by_role("button", name="Try again").wait_for()
        assert page.get_by_text("does not answer").count()
        page.reload()
        page.get_by_text("This answer is incomplete").wait_for()  # the conversation was saved with the partial answer
        assert "Traceback" not in page.content()


@pytest.mark.server
@pytest.mark.skipif(not ollama_binary(), reason="no ollama on the path")
def test_when_a_real_ollama_is_killed_the_partial_answer_and_the_error_are_shown(tmp_path: Path, home: Path) -> None:
    (home / "quire.toml").write_text("[assistant]\nmax_tokens = 6000\nwindow = 16000\ntemperature = 1.0\n")
    server = OllamaServer(tmp_path)
    try:
        server.create("tiny", write_gguf(tmp_path / "tiny.gguf"))
        with app(home, tmp_path, OLLAMA_HOST=server.base) as url, browser(tmp_path / "profile") as context:
            page = context.new_page()
            page.goto(url)
            page.get_by_text("What would you like to know?").wait_for()
            ask(page, "How heavy is the heart of a blue whale?")
            page.wait_for_function(
                "() => { const texts = [...document.querySelectorAll('.quire-text')];"
                " return texts.length > 1 && texts.at(-1).innerText.length > 150 }"
            )
            server.stop(at_once=True)
            page.get_by_text("This answer is incomplete").wait_for()
            assert len(answers(page)[-1]) > 100
            assert "Traceback" not in page.content()
    finally:
        server.stop()


@pytest.mark.server
@pytest.mark.skipif(not ollama_binary(), reason="no ollama on the path")
@pytest.mark.skipif(not openssl(), reason="no openssl on the path")
def test_a_real_ollama_downloads_a_model_with_progress_and_it_answers(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "quire.toml").write_text("[assistant]\nmax_tokens = 30\nwindow = 4096\n")
    weights = write_gguf(tmp_path / "tiny.gguf", embedding=512)  # 8 MB
    with Registry(tmp_path, weights, seconds=6) as registry:
        monkeypatch.setenv("SSL_CERT_FILE", str(registry.certificate))
        server = OllamaServer(tmp_path)
        try:
            with app(home, tmp_path, OLLAMA_HOST=server.base) as url, browser(tmp_path / "profile") as context:
                page = context.new_page()
                page.goto(url)
                page.get_by_text("Add a model").click()
                page.get_by_label("Download with Ollama").fill(registry.model)
                page.get_by_role("button", name="Download model").click()
                page.get_by_text("MB of").wait_for()
                bar = page.get_by_role("progressbar")
                shares = set()
                while bar.count():
                    shares |= {int(n or 0) for n in bar.evaluate_all("all => all.map(b => b.ariaValueNow)")}
                    page.wait_for_timeout(200)
                assert len([share for share in shares if 0 < share < 100]) >= 2, shares
                page.get_by_text(f"Downloaded {registry.model}.").wait_for()
                page.get_by_role("button", name="Use this model").click()
                page.get_by_text(f"Downloaded {registry.model}.").wait_for(state="detached")
                picked = page.get_by_role("combobox", name="Model", exact=True).input_value()
                assert picked.startswith(f"ollama:{registry.model} ("), "with its size, as the picker lists it"
                ask(page, "How heavy is the heart of a blue whale?")
                page.get_by_text(re.compile(re.escape(f"ollama:{registry.model}") + r"(,|$)")).wait_for()
                # a tiny random model writes noise; where it reads like a name or an amount, quotes stand beside it
                assert len(answers(page)) in (2, 3)
        finally:
            server.stop()


def test_an_ingest_continues_after_its_tab_is_closed_and_shows_its_progress_again(tmp_path: Path) -> None:
    pages = [
        "\n".join(f"Ship {page}, day {day}: the crew saw {day * 37 + page} seals." for day in range(60))
        for page in range(100)
    ]
    long = write_pdf(tmp_path / "long.pdf", pages)
    with (
        ScriptedServer() as embedder,
        app(
            tmp_path / "home",
            tmp_path,
            QUIRE_MODEL="quotes",
            QUIRE_EMBEDDER="openai:scripted",
            OPENAI_BASE_URL=embedder.url,
        ) as url,
        browser(tmp_path / "profile") as context,
    ):
        page = context.new_page()
        page.goto(url)
        page.get_by_role("button", name="Add documents").click()
        page.locator("input[type=file]").set_input_files(long)
        page.get_by_text("long.pdf").first.wait_for()
        page.get_by_role("button", name="Add to default").click()
        page.get_by_text("long.pdf: indexing").wait_for(timeout=120_000)  # a busy machine reads for a while
        page.close()

        other = context.new_page()  # another tab has its own session
        other.goto(url)
        open_view(other, "Library")
        other.get_by_text("long.pdf: indexing").wait_for()
        first = int(other.get_by_role("progressbar").get_attribute("aria-valuenow") or 0)
        embedder.embeddings.release(10)  # more than one step of the bar
        other.wait_for_function(
            f"() => Number(document.querySelector('[role=progressbar]').getAttribute('aria-valuenow')) > {first}"
        )
        # the ingest does not delay other tabs
        third = context.new_page()
        started = time.monotonic()
        third.goto(url)
        third.get_by_text("Three steps to your first answer").wait_for()
        assert time.monotonic() - started < 10
        embedder.embeddings.release(1000)
        other.get_by_text("1 added").wait_for(timeout=120_000)
        other.get_by_text("default: 1 document").wait_for()


def test_a_reload_during_an_answer_shows_question_answer_and_stop(tmp_path: Path, home: Path) -> None:
    long = " ".join(f"word{n}" for n in range(2000))
    with (
        ScriptedServer(lambda _: long, pause=0.1) as model,
        app(home, tmp_path, OPENAI_BASE_URL=model.url, QUIRE_MODEL="openai:scripted") as url,
        browser(tmp_path / "profile") as context,
    ):
        page = context.new_page()
        page.goto(url)
        page.get_by_text("What would you like to know?").wait_for()
        ask(page, "How heavy is the heart of a blue whale?")  # the first question: nothing is saved yet
        page.get_by_text("word5", exact=False).wait_for()
        page.reload()
        page.get_by_text("word9", exact=False).wait_for()
        page.locator(".quire-text").filter(has_text="How heavy is the heart of a blue whale?").wait_for()
        stop_button(page).click()
        page.get_by_text("You stopped this answer").wait_for()
        assert model.left.wait(5)
        page.reload()
        page.get_by_text("You stopped this answer").wait_for()
        page.locator(".quire-text").nth(1).wait_for()  # the page is drawn part by part
        assert len(answers(page)) == 2


def test_the_newest_question_and_its_answer_are_visible(tmp_path: Path, home: Path) -> None:
    with (
        app(home, tmp_path, QUIRE_MODEL="quotes") as url,
        browser(tmp_path / "profile", height=700) as context,
    ):
        page = context.new_page()
        page.goto(url)
        page.get_by_text("What would you like to know?").wait_for()
        for number in range(1, 5):
            if number == 4:  # also if the reader had scrolled up
                page.mouse.move(700, 300)
                page.mouse.wheel(0, -5000)
                page.wait_for_timeout(500)
            ask(page, f"How heavy is the heart of a blue whale, number {number}?")
            page.get_by_text(f"number {number}?").last.wait_for()
            page.get_by_role("button", name="Regenerate").wait_for()
            page.wait_for_function(
                "() => { const box = document.querySelector('[data-testid=stBottom]').getBoundingClientRect();"
                " const all = [...document.querySelectorAll('.quire-text')].map(e => e.getBoundingClientRect());"
                f" return all.length === {2 * number} && all.at(-1).top > 0 && all.at(-1).bottom < box.top }}",
                timeout=20_000,
            )


def test_a_quick_answer_is_shown_from_its_question_on(tmp_path: Path, home: Path) -> None:
    with (
        app(home, tmp_path, QUIRE_MODEL="quotes") as url,
        browser(tmp_path / "profile", height=430) as context,
    ):
        page = context.new_page()
        page.goto(url)
        page.get_by_text("What would you like to know?").wait_for()
        for number in range(1, 3):
            ask(page, f"How heavy is the heart of a blue whale, number {number}?")
            page.get_by_role("button", name="Regenerate").wait_for()
            page.wait_for_function(
                "() => { const all = [...document.querySelectorAll('.quire-text')].map(e => e.getBoundingClientRect());"
                f" return all.length === {2 * number} && all.at(-2).top > 0 && all.at(-2).top < 160 }}",
                timeout=20_000,
            )
            page.wait_for_timeout(1500)  # and it stays there
            assert 0 < page.locator(".quire-text").nth(2 * number - 2).bounding_box()["y"] < 160


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_wider_than_the_window(tmp_path: Path, home: Path, width: int) -> None:
    with (
        app(home, tmp_path, QUIRE_MODEL="quotes") as url,
        browser(tmp_path / "profile", width=width, height=844) as context,
    ):
        page = context.new_page()
        page.goto(url)
        page.get_by_text("What would you like to know?").wait_for()
        ask(page, "How heavy is the heart of a blue whale?")
        page.get_by_role("button", name="whales.pdf, page 1").wait_for()
        # the number in the answer opens the page as the button does, even if the page is redrawn under the pointer
        number = page.locator(".quire-mark").first
        number.hover()
        page.mouse.down()
        number.evaluate("mark => mark.replaceWith(mark.cloneNode(true))")
        page.mouse.up()
        page.locator(".st-key-page_panel img").wait_for()
        _check_zoom(page)
        for view in ("Ask", "Library", "Settings", "Privacy"):
            if width < 641 and page.get_by_role("button", name="Close").count():
                page.get_by_role("button", name="Close").click()
                page.locator(".st-key-page_panel").wait_for(state="detached")
            open_view(page, view)
            page.wait_for_timeout(400)
            wide = page.evaluate("() => document.scrollingElement.scrollWidth - window.innerWidth")
            assert wide <= 0, view


def _check_zoom(page: Any) -> None:
    """Check that each zoom step is a percentage of the panel's width, in any window."""
    measure = "image => [image.clientWidth, image.closest('[class*=st-key-page_picture]').clientWidth]"
    for percent, step in ((100, "+"), (150, "+"), (200, "−"), (150, "−"), (100, "−"), (75, "+"), (100, "")):
        image = page.locator(f".st-key-page_picture_{percent} img")
        image.wait_for()
        page.wait_for_timeout(200)
        width, room = image.evaluate(measure)
        assert abs(width - room * percent / 100) < 5, (percent, width, room)
        if step:
            page.get_by_role("button", name=step, exact=True).click()


@pytest.mark.parametrize("dark", [False, True])
def test_text_on_primary_buttons_has_enough_contrast(tmp_path: Path, home: Path, dark: bool) -> None:
    with (
        app(home, tmp_path, QUIRE_MODEL="quotes") as url,
        browser(tmp_path / "profile", dark=dark) as context,
    ):
        page = context.new_page()
        page.goto(url)
        open_view(page, "Library")
        button = page.get_by_role("button", name="Add to default")
        button.wait_for()
        page.wait_for_timeout(500)
        ground, ink = button.evaluate(
            "b => [getComputedStyle(b).backgroundColor, getComputedStyle(b.querySelector('p') || b).color]"
        )
        assert _contrast(ground, ink) >= 4.5, (ground, ink)


def _contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colors by WCAG 2.2."""

    def luminance(color: str) -> float:
        parts = [int(number) / 255 for number in re.findall(r"\d+", color)[:3]]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
