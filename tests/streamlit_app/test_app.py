"""The page without a browser: real library, real agent, answers as quotes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from fpdf import FPDF

from assistant.conversations.history import History
from ingest.config import IngestConfig
from ingest.pipeline import ingest
from streamlit_app.views.privacy import stored_data
from tests.streamlit_app.pages import HEART, QUESTION, ask, button, click, labels, texts, view, words
from tests.streamlit_app.scripted_server import ScriptedServer


def test_an_empty_library_shows_three_steps_that_lead_to_the_library(empty_home, open_page):
    page = open_page()
    assert "Three steps to your first answer" in words(page)
    assert page.chat_input[0].disabled
    click(page, "Add documents")
    assert page.session_state["quire"].view == "Library"
    assert "This library is empty" in words(page)


def test_an_answer_is_shown_with_a_citation_that_opens_its_page(home, open_page):
    page = ask(open_page(), QUESTION)
    assert texts(page)[0] == QUESTION
    assert HEART in texts(page)[1]
    click(page, "[1] whales.pdf, page 1")
    assert "page 1 of 2" in words(page)
    [picture] = page.get("image")
    assert picture.proto.imgs[0].alt == "whales.pdf, page 1"


def test_a_cited_row_of_a_table_is_shown_with_its_heads_below_the_page(home, tmp_path, open_page):
    pdf = FPDF(format="A4")
    pdf.add_page()
    pdf.set_font("Helvetica", size=11)
    pdf.text(20, 30, "Harbour fees of the marina of Bergen (in thousands)")
    figures = [("", "2025", "2024"), ("Harbour fees of sailing boats", "318", "299"), ("Fees of ferries", "410", "190")]
    for number, cells in enumerate(figures):
        for left, cell in zip((20, 110, 150), cells, strict=True):
            pdf.text(left, 45 + 6 * number, cell)
    pdf.output(str(tmp_path / "marina.pdf"))
    assert ingest([str(tmp_path / "marina.pdf")], IngestConfig(home=home)).added
    page = click(ask(open_page(), "What were the harbour fees of sailing boats in 2025?"), "[1] marina.pdf")
    [table] = [e.proto.body for e in page.get("html") if 'class="quire-table"' in e.proto.body]
    assert "<th>2025</th>" in table and "<td>318</td>" in table
    click(page, "Close")
    assert not [e for e in page.get("html") if 'class="quire-table"' in e.proto.body]


def test_pages_are_turned_within_the_document_and_lead_back_to_the_passage(home, open_page):
    page = click(ask(open_page(), QUESTION), "[1] whales.pdf")
    assert button(page, "◀").disabled
    click(page, "▶")
    assert "page 2 of 2" in words(page)
    assert button(page, "▶").disabled
    click(page, "Back to the passage")
    assert "page 1 of 2" in words(page)
    click(page, "Close")
    assert "page 1 of 2" not in words(page)


def test_zoom_makes_the_picture_wider(home, open_page):
    page = click(ask(open_page(), QUESTION), "[1] whales.pdf")
    click(page, "+")
    assert page.session_state["quire"].zoom == 1.5
    for _ in range(9):
        click(page, "+")
    assert page.session_state["quire"].zoom == 3.0


def test_what_no_document_answers_is_refused_without_a_citation(home, open_page):
    page = ask(open_page(), "Which chess opening begins with the queen's pawn?")
    assert texts(page)[1] == "I cannot answer that from these documents."
    assert not [label for label in labels(page) if label.startswith("[")]


def test_a_question_of_chosen_documents_uses_no_other(home, open_page):
    page = view(open_page(), "Library")
    click(page, "Ask only this")  # bridges.pdf, the first by name
    assert page.session_state["quire"].view == "Ask"
    ask(page, QUESTION)
    assert not any("whales.pdf" in label for label in labels(page) if label.startswith("["))


def test_a_second_visitor_sees_neither_question_nor_answer_of_the_first(home, open_page):
    first = ask(open_page(), QUESTION)
    second = open_page()
    assert texts(second) == []
    ask(second, "When was the Forth Bridge opened?")
    assert HEART not in "".join(texts(second))
    assert HEART in "".join(texts(first.run()))


def test_regenerating_replaces_the_last_answer(home, open_page):
    page = click(ask(open_page(), QUESTION), "Regenerate")
    assert texts(page)[0] == QUESTION
    assert len(page.session_state["quire"].conversation.turns) == 1
    [kept] = History(home).conversations()
    assert kept.turns == 1


def test_editing_a_question_drops_what_came_after_it(home, open_page):
    page = ask(ask(open_page(), QUESTION), "When was the Forth Bridge opened?")
    click(page, "Edit")
    page.text_area(key=next(a.key for a in page.text_area if a.label == "Your question")).set_value(
        "How long do humpback whales sing?"
    )
    click(page, "Send")
    assert texts(page)[0] == "How long do humpback whales sing?"
    assert "twenty minutes" in texts(page)[1]
    assert len(texts(page)) == 2


def test_a_conversation_is_saved_resumed_renamed_and_deleted(home, open_page):
    first = ask(open_page(), QUESTION)
    conversation = first.session_state["quire"].conversation.id
    page = click(open_page(), QUESTION)  # its line at the side
    assert HEART in texts(page)[1]
    page.text_input(key="new_title").set_value("Whales")
    click(page, "Rename")
    assert History(home).conversation(conversation).title == "Whales"
    click(page, "Delete")
    click(page, "Delete permanently")
    assert History(home).conversations() == []
    assert texts(page) == []


def test_a_reload_comes_back_to_the_conversation(home, open_page):
    conversation = ask(open_page(), QUESTION).session_state["quire"].conversation.id
    from streamlit.testing.v1 import AppTest

    from tests.streamlit_app.conftest import APP

    page = AppTest.from_file(str(APP), default_timeout=30)
    page.query_params["c"] = conversation
    page.run()
    assert HEART in texts(page)[1]


def test_in_private_mode_nothing_is_saved(home, open_page):
    page = open_page()
    page.toggle(key="private").set_value(True).run()
    ask(page, QUESTION)
    assert HEART in texts(page)[1]
    assert History(home).conversations() == []
    assert not page.get("feedback"), "an opinion would be written as well"


def test_a_rating_and_a_correction_are_saved_with_question_passages_and_settings(home, open_page):
    page = ask(open_page(), QUESTION)
    turn = page.session_state["quire"].conversation.turns[0]
    page.session_state[f"thumb_{turn.id}"] = 0
    page.run()
    page.text_area(key=f"better_text_{turn.id}").set_value("About 180 kilograms [1].")
    click(page, "Save correction")
    [row] = History(home).feedback()
    assert (row.thumb, row.edit) == (-1, "About 180 kilograms [1].")
    assert row.answer.question == QUESTION
    assert row.answer.passages and row.answer.model == "quotes" and row.answer.sampling is not None


def test_the_sliders_have_the_ranges_of_the_command(home, open_page):
    from assistant.config import CONTROLS

    page = open_page()
    page.toggle(key="advanced").set_value(True).run()
    for name in ("temperature", "top_p", "top_k", "repetition_penalty"):
        slider, control = page.slider(key=f"sampling_{name}"), CONTROLS[name]
        assert (slider.min, slider.max, slider.step) == (control.minimum, control.maximum, control.step)
    for name in ("max_tokens", "seed"):
        number, control = page.number_input(key=f"sampling_{name}"), CONTROLS[name]
        assert (number.min, number.max) == (control.minimum, control.maximum)


def test_sampling_is_saved_with_the_answer_and_can_be_reset(home, open_page):
    page = open_page()
    page.slider(key="sampling_temperature").set_value(0.7).run()
    ask(page, QUESTION)
    assert page.session_state["quire"].conversation.turns[0].answer.sampling.temperature == 0.7
    click(page, "Reset")
    assert page.slider(key="sampling_temperature").value == 0.2


def test_a_document_is_removed_after_a_second_click_with_its_page_and_its_answers(home, open_page):
    page = click(ask(open_page(), QUESTION), "[1] whales.pdf")
    view(page, "Library")
    keys = [b.key for b in page.button if b.label == "Remove"]
    assert len(keys) == 2
    page.button(key=keys[1]).click().run()  # whales.pdf, the second by name
    assert len([b for b in page.button if b.label == "Remove"]) == 1, "nothing is removed by one click"
    click(page, "Remove permanently")
    assert "Removed whales.pdf." in words(page)
    assert page.session_state["quire"].page is None
    view(page, "Ask")
    ask(page, QUESTION)
    assert texts(page)[-1] == "I cannot answer that from these documents."


def test_what_people_and_documents_write_is_shown_as_text(home, open_page):
    evil = "<script>alert(1)</script> ![x](http://evil.example/x.png) $5 and $6 **bold** :smile:"
    page = ask(open_page(), evil)
    body = next(e.proto.body for e in page.get("html") if "alert" in e.proto.body)
    assert "<script" not in body and "<img" not in body
    assert texts(page)[0] == evil
    side = [b.label for b in page.button if "alert" in b.label]
    assert side and all("\\<script" in label and "\\!\\[x" in label and "://" not in label for label in side)


def test_without_documents_the_quotes_mode_says_that_a_model_is_needed(home, open_page):
    page = open_page()
    page.toggle(key="use_documents").set_value(False).run()
    ask(page, "Hello")
    assert "an answer without documents needs a model" in words(page)
    assert {"Try again", "Cancel"} <= set(labels(page))
    click(page, "Cancel")
    assert texts(page) == []


def test_an_invalid_setting_is_shown_as_an_error(home, open_page, monkeypatch):
    monkeypatch.setenv("QUIRE_STORE", "chroma")
    page = open_page()
    assert "store is 'chroma'" in words(page) and "sqlite" in words(page)


def test_the_operators_log_is_announced_and_off_by_default(home, open_page, tmp_path: Path):
    assert "keeps questions and answers" not in words(open_page())
    (home / "quire.toml").write_text(f'[assistant]\nconversation_log = "{tmp_path / "log.jsonl"}"\n')
    page = ask(open_page(), QUESTION)
    assert "The operator of this assistant keeps questions and answers" in words(page)
    [line] = (tmp_path / "log.jsonl").read_text().splitlines()
    assert json.loads(line)["question"] == QUESTION


def test_privacy_and_disclaimer_say_what_the_settings_say(home, open_page):
    (home / "quire.toml").write_text('[app]\ndisclaimer = "Ask Ruth."\nprivacy = "Kept in Bern."\n')
    page = open_page()
    assert "Ask Ruth." in words(page)
    view(page, "Privacy")
    assert "Kept in Bern." in words(page)
    assert str(home / "conversations.sqlite") in words(page)
    assert f"Passages and vectors** in {home / 'libraries'}." in words(page)
    assert "embedding model" not in words(page)


def test_privacy_names_the_server_where_passages_and_questions_go(home, open_page):
    config = IngestConfig(
        home=home, store="weaviate", weaviate_url="https://weaviate.example", embedder="openai:text-embedding-3-small"
    )
    assert ("Passages and vectors", "on the Weaviate server https://weaviate.example") in [
        k[:2] for k in stored_data(config)
    ]
    assert ("Passages and vectors", f"in {home / 'weaviate'}") in [
        k[:2] for k in stored_data(replace(config, store="weaviate-embedded"))
    ]
    (home / "quire.toml").write_text('[ingest]\nembedder = "openai:text-embedding-3-small"\nlibrary = "other"\n')
    page = view(open_page(), "Privacy")
    assert "passages and questions are sent to the embedding model openai:text-embedding-3-small" in words(page)


def test_on_the_network_the_page_needs_a_password(home, open_page):
    from streamlit import config

    config.set_option("server.address", "0.0.0.0")
    page = open_page()
    assert "no password is set" in words(page)
    assert not page.chat_input


def test_only_the_password_signs_a_visitor_in(home, open_page, monkeypatch):
    from streamlit import config

    config.set_option("server.address", "0.0.0.0")
    monkeypatch.setenv("QUIRE_APP_PASSWORD", "open sesame")
    page = open_page()
    assert not page.chat_input and not page.sidebar.button
    page.text_input(key="door_password").set_value("open barley")
    click(page, "Sign in")
    assert "Wrong password." in words(page)
    page.text_input(key="door_password").set_value("open sesame")
    click(page, "Sign in")
    assert page.chat_input
    assert not open_page().chat_input, "another visitor must give it too"


def test_a_models_answer_is_cited_and_shown_as_text_without_what_it_invented(home, open_page, monkeypatch):
    said = "It weighs <b>180</b> kilograms [1][7]. It is worth $5 or $6. ![x](http://evil.example/x.png)"
    with ScriptedServer(lambda _: said) as model:
        monkeypatch.setenv("OPENAI_BASE_URL", model.url)
        monkeypatch.setenv("QUIRE_MODEL", "openai:scripted")
        page = ask(open_page(), QUESTION)
    assert texts(page)[1] == "It weighs 180 kilograms [1]. It is worth $5 or $6."
    assert "in no passage. The passages closest to the question say:" in words(page)
    assert "1 citation of passages that do not exist was removed" in words(page)
    assert any(label.startswith("[1] whales.pdf") for label in labels(page))
    assert not any("[7]" in label for label in labels(page))


def test_a_citation_that_quire_found_says_so(home, open_page, monkeypatch):
    with ScriptedServer(lambda _: "It weighs 180 kilograms.") as model:
        monkeypatch.setenv("OPENAI_BASE_URL", model.url)
        monkeypatch.setenv("QUIRE_MODEL", "openai:scripted")
        page = ask(open_page(), QUESTION)
    assert texts(page)[1] == "It weighs 180 kilograms [1]."
    assert "[1]: matched to the statements by quire, not cited by the model." in words(page)


def test_a_follow_up_is_asked_with_what_was_said_before(home, open_page, monkeypatch):
    def script(messages):
        text = str(messages[-1]["content"])
        return (
            "How long does the heart of a blue whale live?"
            if "Rewrite" in str(messages)
            else f"{HEART} [1]" * bool(text)
        )

    with ScriptedServer(script) as model:
        monkeypatch.setenv("OPENAI_BASE_URL", model.url)
        monkeypatch.setenv("QUIRE_MODEL", "openai:scripted")
        page = ask(ask(open_page(), QUESTION), "And how long does it live?")
    second = page.session_state["quire"].conversation.turns[1].answer
    assert second.asked == "How long does the heart of a blue whale live?"
    assert QUESTION in str(model.requests[-1]["messages"])


def test_without_documents_a_model_chats_and_nothing_is_cited(home, open_page, monkeypatch):
    with ScriptedServer(lambda _: "Hello there.") as model:
        monkeypatch.setenv("OPENAI_BASE_URL", model.url)
        monkeypatch.setenv("QUIRE_MODEL", "openai:scripted")
        page = open_page()
        page.toggle(key="use_documents").set_value(False).run()
        ask(page, "Hello")
    assert texts(page)[1] == "Hello there."
    assert "Answered without documents, so nothing is cited." in words(page)
    assert "whales" not in str(model.requests[-1]["messages"])


def test_the_system_prompt_and_the_sliders_reach_the_model(home, open_page, monkeypatch):
    with ScriptedServer(lambda _: "Yes [1].") as model:
        monkeypatch.setenv("OPENAI_BASE_URL", model.url)
        monkeypatch.setenv("QUIRE_MODEL", "openai:scripted")
        page = open_page()
        page.toggle(key="advanced").set_value(True).run()
        page.text_area(key="system_prompt").set_value("Speak like a captain.")
        page.slider(key="sampling_top_p").set_value(0.55)
        page.number_input(key="sampling_max_tokens").set_value(77).run()
        ask(page, QUESTION)
    sent = model.requests[-1]
    assert "Speak like a captain." in str(sent["messages"])
    assert sent["top_p"] == 0.55
    assert 77 in (sent.get("max_tokens"), sent.get("max_completion_tokens"))


def test_visitors_from_the_network_cannot_load_model_files(home, open_page, monkeypatch):
    from streamlit import config

    config.set_option("server.address", "0.0.0.0")
    monkeypatch.setenv("QUIRE_APP_PASSWORD", "open sesame")
    page = open_page()
    page.text_input(key="door_password").set_value("open sesame")
    click(page, "Sign in")
    page.text_input(key="named").set_value("gguf:/etc/passwd")
    click(page, "Use model")
    assert "Model files can only be chosen on the server itself" in words(page)


def test_advanced_settings_apply_while_hidden_and_are_named(home, open_page):
    page = open_page()
    page.toggle(key="advanced").set_value(True).run()
    page.slider(key="sampling_top_k").set_value(7).run()
    page.text_area(key="system_prompt").set_value("Speak like a captain.").run()
    page.toggle(key="advanced").set_value(False).run()
    assert "Changed under Advanced: Top-k, System prompt." in words(page)
    ask(page, QUESTION)
    assert page.session_state["quire"].conversation.turns[0].answer.sampling.top_k == 7
    page.toggle(key="advanced").set_value(True).run()
    assert (page.slider(key="sampling_top_k").value, page.text_area(key="system_prompt").value) == (
        7,
        "Speak like a captain.",
    )
    click(page, "Reset system prompt")
    assert (page.slider(key="sampling_top_k").value, page.text_area(key="system_prompt").value) == (7, "")
    page.toggle(key="advanced").set_value(False).run()
    click(page, "Reset all")
    assert "Changed under Advanced" not in words(page)


def test_an_export_has_the_title_that_the_user_gave(home, open_page):
    page = ask(open_page(), QUESTION)
    page.text_input(key="new_title").set_value("Whales")
    click(page, "Rename")
    conversation, _ = page.session_state["quire"].conversation.export()
    assert conversation.title == "Whales"
    click(page, "New conversation")
    click(page, "Whales")
    assert page.session_state["quire"].conversation.export()[0].title == "Whales"


def test_a_reload_keeps_private_mode_and_the_switch_for_documents(home):
    from streamlit.testing.v1 import AppTest

    from tests.streamlit_app.conftest import APP

    page = AppTest.from_file(str(APP), default_timeout=30)
    page.query_params["private"] = "true"  # as the address line holds them after a click
    page.query_params["use_documents"] = "false"
    page.run()
    assert page.toggle(key="private").value and not page.toggle(key="use_documents").value


def test_a_url_with_an_unknown_conversation_shows_a_message(home):
    from streamlit.testing.v1 import AppTest

    from tests.streamlit_app.conftest import APP

    page = AppTest.from_file(str(APP), default_timeout=30)
    page.query_params["c"] = "gone"
    page.run()
    assert "The conversation in this URL was not found" in words(page)
