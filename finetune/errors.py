"""The errors of this package.

FinetuneError
├── MissingLibrary          a library of the `finetune` extra is not installed
├── DataError               training data cannot be used
│   ├── SourceUnavailable   no such file, or the hub cannot be reached
│   ├── UnknownFormat       the rows have no known format
│   ├── MalformedRow        a row does not have its file's format; names file and line
│   └── InvalidRecord       a row has the right format and nothing to train on
│       └── NotHonored      a row sets a field that training cannot follow
├── TemplateError           a template does not exist or does not fit the model's tokenizer
├── ModelUnavailable        a base model cannot be found or loaded
├── UnknownTarget           an adapter's target is not a module of the model
├── RunError                a training run cannot be used or continued
│   ├── NoSuchRun           there is no folder of that name
│   ├── UnfinishedRun       the folder has no manifest
│   └── RunExists           a finished run of that name exists
├── TrainingFailed          training stopped for the reason given
└── ExportError             a trained model cannot be exported
    ├── AlreadyExists       the file or folder to be written exists
    ├── WrongBase           the adapter was not trained on this base
    ├── UnsupportedModel    the format cannot represent this model exactly
    ├── ParityFailed        the exported model diverges from the trained one
    ├── OllamaFailed        Ollama does not answer, or rejects the request
    │   └── OllamaTooOld    this version's import has a known vulnerability
    └── HubFailed           the hub does not answer, or rejects the request
"""

from quire import QuireError, UsageError


class FinetuneError(QuireError):
    """Base of all errors of this package."""


class MissingLibrary(FinetuneError):
    """A library that this step needs is not installed."""


class DataError(FinetuneError):
    """Training data cannot be used."""


class SourceUnavailable(DataError):
    """The file does not exist, or the hub cannot be reached."""


class UnknownFormat(DataError):
    """The rows have no known format, or a known one that cannot be trained on."""


class MalformedRow(DataError):
    """A row does not have its file's format."""

    def __init__(self, source: str, line: int, problem: str, hint: str = "", *, row: int = 0) -> None:
        super().__init__(f"{source}, line {line}: {problem}", hint)
        self.source = source
        self.line = line
        self.row = row or line
        self.problem = problem


class InvalidRecord(DataError):
    """A row has the right format and nothing to train on, for the reason given."""


class NotHonored(InvalidRecord):
    """A row sets a field that decides what it teaches, and that training cannot follow; the row is left out."""


class TemplateError(FinetuneError):
    """A template does not exist, or does not fit the model's tokenizer."""


class SettingsError(UsageError):
    """The settings of a run are not valid; `problems` lists every mistake."""

    def __init__(self, problems: list[str]) -> None:
        count = f"{len(problems)} settings are wrong" if len(problems) != 1 else "a setting is wrong"
        super().__init__("\n  - ".join([f"{count}:", *problems]), "fix them and retry; nothing was loaded")
        self.problems = problems


class ModelUnavailable(FinetuneError):
    """A base model cannot be found or loaded."""


class UnknownTarget(FinetuneError):
    """An adapter's target is not a module of the model."""


class RunError(FinetuneError):
    """A training run cannot be used or continued."""


class NoSuchRun(RunError):
    """A run of that name does not exist."""


class UnfinishedRun(RunError):
    """The run has no manifest, because it did not finish; later stages do not accept it."""


class RunExists(RunError):
    """A finished run of that name exists and is not overwritten."""


class TrainingFailed(FinetuneError):
    """Training stopped for the reason given."""


class ExportError(FinetuneError):
    """A trained model cannot be exported."""


class AlreadyExists(ExportError):
    """The file or folder to be written exists and is not overwritten."""


class WrongBase(ExportError):
    """The adapter was not trained on this base model."""


class UnsupportedModel(ExportError):
    """The requested format cannot represent this model, or a part of it, exactly."""


class ParityFailed(ExportError):
    """The exported model diverges from the trained one; `steps` names the parity checks that failed."""

    def __init__(self, message: str, hint: str = "", *, steps: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint)
        self.steps = steps


class OllamaFailed(ExportError):
    """Ollama does not answer, or rejects the request."""


class OllamaTooOld(OllamaFailed):
    """Ollama's version has a known vulnerability in its import (CVE-2026-7482)."""


class HubFailed(ExportError):
    """The hub does not answer, or rejects the request."""
