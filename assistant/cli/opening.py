"""Opens the model and the library that a command uses."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from assistant.cli.terminal import print_download
from assistant.config import AssistantConfig
from assistant.errors import ModelNotFound
from ingest import IngestConfig
from quire import UsageError

if TYPE_CHECKING:
    from assistant.answering.agent import Agent
    from assistant.llm.model import Model
    from ingest import Library


@contextmanager
def open_agent(
    args: argparse.Namespace, ingest_config: IngestConfig, config: AssistantConfig
) -> Iterator[tuple[Agent, Library | None, str]]:
    """Yield the agent, its library (None with --no-documents) and a notice about the choice of model, "" for none."""
    from assistant.answering.agent import Agent
    from assistant.llm.available import choose_model
    from ingest import open_library

    name, notice = choose_model(config)
    if args.no_documents:
        if name == "quotes":
            raise UsageError("--no-documents needs a language model", "add --model NAME")
        yield Agent(config, load_or_pull(name, config, pull=args.pull)), None, notice
        return
    with open_library(ingest_config) as library:
        model = load_or_pull(name, config, pull=args.pull)
        yield Agent(config, model, library.store, library.embedder), library, notice


def load_or_pull(name: str, config: AssistantConfig, *, pull: bool) -> Model:
    """Return the model; with `pull`, a missing Ollama model is downloaded first."""
    from assistant.llm.kinds import load_model, split_name
    from assistant.llm.ollama_server import pull_model

    try:
        return load_model(name, config)
    except ModelNotFound:
        kind, tag = split_name(name)
        if not pull or kind != "ollama":
            raise
    print_download(pull_model(config, tag))
    return load_model(name, config)
