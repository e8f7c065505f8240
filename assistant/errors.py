"""The errors of the assistant.

AssistantError
├── ModelError                the model cannot answer
│   ├── ModelUnreachable      no server answers at any of the addresses tried
│   ├── ModelNotFound         the server or folder has no such model
│   ├── ModelBusy             the server is out of capacity, or out of memory for the model
│   └── ModelInterrupted      the answer broke off before its end
├── PromptTooLong             the question does not fit the model's context window
├── HistoryError              the conversation database cannot be read or written
│   └── ConversationNotFound  no conversation has this id
└── QuestionsError            a question file, or the results of an earlier run, cannot be used
"""

from quire import QuireError


class AssistantError(QuireError):
    """Base of all errors of this package."""


class ModelError(AssistantError):
    """The model cannot answer."""


class ModelUnreachable(ModelError):
    """No server answers at any of the addresses tried."""


class ModelNotFound(ModelError):
    """The server or folder has no such model."""


class ModelBusy(ModelError):
    """The server is out of capacity, or out of memory for the model."""


class ModelInterrupted(ModelError):
    """The answer broke off before its end; the text received so far is kept."""


class PromptTooLong(AssistantError):
    """The question and the instructions alone do not fit the model's context window."""


class HistoryError(AssistantError):
    """The conversation database cannot be read or written."""


class ConversationNotFound(HistoryError):
    """No conversation has this id."""


class QuestionsError(AssistantError):
    """A question file, or the results of an earlier run, cannot be used."""
