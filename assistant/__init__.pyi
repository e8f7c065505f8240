# questions to cited answers
from .answering.agent import Agent as Agent
from .answering.answer import Answer as Answer
from .answering.answer import Event as Event
from .answering.answer import Found as Found
from .answering.answer import Token as Token
from .answering.answer import Notice as Notice
from .answering.answer import Done as Done
from .answering.answer import Usage as Usage
from .answering.citations import Citation as Citation
from .answering.citations import Span as Span

# search
from .retrieval.search import search as search
from .retrieval.search import Passage as Passage
from .retrieval.reranker import load_reranker as load_reranker
from .retrieval.retriever import LibraryRetriever as LibraryRetriever

# language models
from .llm.model import Model as Model
from .llm.available import ModelEntry as ModelEntry
from .llm.kinds import load_model as load_model
from .llm.model import wrap_chat_model as wrap_chat_model
from .llm.available import choose_model as choose_model
from .llm.available import list_models as list_models
from .llm.ollama_server import pull_model as pull_model

# settings
from .config import AssistantConfig as AssistantConfig
from .config import load_config as load_config
from .config import Sampling as Sampling
from .config import CONTROLS as CONTROLS
from .config import Control as Control

# stored conversations and feedback
from .conversations.history import History as History
from .conversations.history import Conversation as Conversation
from .conversations.history import Turn as Turn
from .conversations.history import Feedback as Feedback
from .conversations.transcript import conversation_as_json as conversation_as_json
from .conversations.transcript import conversation_as_markdown as conversation_as_markdown
from .conversations.transcript import export_conversation as export_conversation
from .conversations.feedback import preference_rows as preference_rows
from .conversations.feedback import kto_rows as kto_rows
from .conversations.log import log_notice as log_notice
from .conversations.log import log_turn as log_turn

# evaluation on question files
from .evaluation.questions import Question as Question
from .evaluation.questions import read_questions as read_questions
from .evaluation.corpus import open_corpus as open_corpus
from .evaluation.questions import read_question_files as read_question_files
from .evaluation.rankings import rank_questions as rank_questions
from .evaluation.retrieval_metrics import summarize_retrieval as summarize_retrieval
from .evaluation.answers import run_answers as run_answers
from .evaluation.runs import summarize_run as summarize_run
from .evaluation.comparison import compare_runs as compare_runs

# what is installed and what is missing
from .cli.doctor import Finding as Finding
from .cli.doctor import diagnose as diagnose

# errors
from .errors import AssistantError as AssistantError
from .errors import ConversationNotFound as ConversationNotFound
from .errors import HistoryError as HistoryError
from .errors import ModelBusy as ModelBusy
from .errors import ModelError as ModelError
from .errors import ModelInterrupted as ModelInterrupted
from .errors import ModelNotFound as ModelNotFound
from .errors import ModelUnreachable as ModelUnreachable
from .errors import PromptTooLong as PromptTooLong
from .errors import QuestionsError as QuestionsError
