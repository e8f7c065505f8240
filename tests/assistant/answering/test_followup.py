import threading

from assistant.llm.model import wrap_chat_model
from tests.assistant.helpers import MOON_QUESTION, make_agent, scripted


def test_a_cancel_stops_the_rewriting_of_a_follow_up():
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


def test_a_follow_up_is_rewritten_at_temperature_zero_and_keeps_the_earlier_evidence():
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


def test_a_question_without_history_is_not_rewritten():
    chat = scripted("It is 3,474 kilometres [1].")
    make_agent(chat).ask(MOON_QUESTION)
    assert len(chat.calls) == 1


def test_quotes_understand_a_yes():
    agent = make_agent()
    first = agent.ask(MOON_QUESTION)
    second = agent.ask("yes", history=[first])
    assert second.asked == f"{MOON_QUESTION} yes"
    assert second.passages[0].document == "moon.pdf"
