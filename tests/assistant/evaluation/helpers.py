"""Three questions about the pages in memory, and a run over them."""

from assistant.config import AssistantConfig
from assistant.evaluation.answers import run_answers
from assistant.evaluation.questions import Question
from assistant.llm.kinds import quotes
from ingest.library import Library
from ingest.store.contract import Identity
from tests.assistant.helpers import PagesStore, WordEmbedder

QUESTIONS = [
    Question("moon", "moon.pdf", "What is the diameter of the moon?", "3,474 kilometres", (1,)),
    Question("sun", "moon.pdf", "How long does light of the sun take to the earth?", "eight minutes", (2,)),
    Question("capex", "report.pdf", "What were purchases of property, plant and equipment?", "$1577", (60,)),
]
CONFIG = AssistantConfig(threshold=0.3)


class IdentifiedStore(PagesStore):
    def identity(self):
        return Identity("words", "1", 512, True, "", "", 500, 75)


LIBRARY = Library("test", IdentifiedStore(), WordEmbedder())


def run(path, model=None, questions=QUESTIONS, **options):
    return run_answers(LIBRARY, questions, model or quotes(CONFIG), CONFIG, path, scope="shared", **options)
