"""An answer about the moon, with an invented citation."""

from assistant.config import Sampling
from tests.assistant.helpers import make_agent, scripted

QUESTION = "What is the diameter of the moon?"


def an_answer(text: str = "Its diameter is 3,474 kilometres [1][7]."):
    return make_agent(scripted(text)).ask(QUESTION, sampling=Sampling(stop=("END",), seed=3))
