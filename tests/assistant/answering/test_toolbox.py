from langchain_core.messages import AIMessage

from tests.assistant.helpers import CAPEX, MOON_QUESTION, make_agent, scripted


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


def test_tool_calls_are_limited():
    loop = [call("search_documents", query="moon")] * 3
    chat = scripted(*loop, "Done.")
    answer = make_agent(chat, tools=True, tool_calls=2).ask(MOON_QUESTION, tools=True)
    assert "limit" in chat.calls[3][-1].content.lower()
    assert answer.text == "Done."


def test_tool_results_stay_within_the_window():
    pages = {("long.pdf", n): f"Chapter {n} of the moon. " + "The moon is round and grey. " * 40 for n in range(1, 30)}
    chat = scripted(*[call("read_page", document="long.pdf", page=n) for n in range(1, 9)], "Done.")
    agent = make_agent(chat, tools=True, window=2048, pages=pages, tool_calls=20, max_tokens=200)
    answer = agent.ask("What is the moon?", k=1, tools=True)
    from assistant.llm.tokens import estimate_tokens

    assert sum(estimate_tokens(str(message.content)) for message in chat.calls[-1]) < 2048
    assert "no room" in chat.calls[-1][-1].content
    assert answer.text == "Done."


def test_a_model_without_tools_answers_with_a_notice():
    answer = make_agent(scripted("It is 3,474 kilometres [1].")).ask(MOON_QUESTION, tools=True)
    assert any("cannot call tools" in notice for notice in answer.notices)
    assert answer.text == "It is 3,474 kilometres [1]."
