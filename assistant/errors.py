"""What can go wrong between a question and its answer; every message names what was found, where, and the next step.

AssistantError
├── ModelError              the model cannot answer
│   ├── ModelUnreachable    no server answers at any of the addresses tried
│   ├── ModelAbsent         the server or folder has no such model
│   ├── ModelBusy           the server has no room for another request, or no memory for the model
│   └── ModelInterrupted    the answer broke off in the middle
├── PromptTooLong           the question alone does not fit the model's window
├── HistoryError            the conversations' file cannot be read or written
│   └── UnknownConversation no conversation of that id
└── QuestionsError          a question file or an earlier run's file cannot be used
"""

from quire import QuireError


class AssistantError(QuireError):
    """Base of all errors of this package."""


class ModelError(AssistantError):
    """The model cannot answer."""


class ModelUnreachable(ModelError):
    """No server answers at any of the addresses tried."""


class ModelAbsent(ModelError):
    """There is no model of that name where it was looked for."""


class ModelBusy(ModelError):
    """The server has no room for the request, or no memory for the model."""


class ModelInterrupted(ModelError):
    """The answer broke off in the middle; what had come is kept."""


class PromptTooLong(AssistantError):
    """The question and the instructions alone do not fit the model's window."""


class HistoryError(AssistantError):
    """The conversations' file cannot be read or written."""


class UnknownConversation(HistoryError):
    """There is no conversation of that id."""


class QuestionsError(AssistantError):
    """A question file, or the file of an earlier run, cannot be used."""
