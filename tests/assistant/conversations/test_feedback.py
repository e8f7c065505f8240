from assistant.conversations.feedback import kto_rows, preference_rows
from assistant.conversations.history import History
from tests.assistant.conversations.helpers import QUESTION, an_answer
from tests.assistant.helpers import make_agent


def test_feedback_becomes_pairs_and_kto_rows_with_the_messages_as_sent(tmp_path):
    history = History(tmp_path)
    edited, praised = an_answer(), an_answer("Nobody lives there [1].")
    history.rate(edited, -1, edit="3,474 km [1]")
    history.rate(praised, 1)
    sent = [{"role": message.role, "content": message.content} for message in edited.messages]
    assert "<passages>" in sent[1]["content"]
    assert list(preference_rows(history.feedback())) == [
        {
            "prompt": sent,
            "chosen": [{"role": "assistant", "content": "3,474 km [1]"}],
            "rejected": [{"role": "assistant", "content": "Its diameter is 3,474 kilometres [1]."}],
        }
    ]
    assert [(row["completion"][0]["content"], row["label"]) for row in kto_rows(history.feedback())] == [
        ("Its diameter is 3,474 kilometres [1].", False),
        ("3,474 km [1]", True),
        ("Nobody lives there [1].", True),
    ]


def test_quotes_give_no_training_rows(tmp_path):
    history = History(tmp_path)
    history.rate(make_agent().ask(QUESTION), -1, edit="Better.")
    assert list(preference_rows(history.feedback())) == list(kto_rows(history.feedback())) == []
