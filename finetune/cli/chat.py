"""`quire finetune chat`: a conversation with a model at the terminal."""

import argparse
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from finetune.cli.parsing import ANY_MODEL, add_base, add_command, add_device, add_sampling, print_progress, sampling_of
from quire import UsageError, pluralize, print_error, printable


def register(subparsers: Any) -> None:
    """Add the command."""
    chat = add_command(
        subparsers,
        "chat",
        "chat with a model; an empty line or end of input ends it, Ctrl-C stops an answer",
        "quire finetune chat my-dpo",
        run_chat,
    )
    chat.add_argument("model_run", metavar="MODEL", help=ANY_MODEL)
    chat.add_argument("--system", default="", metavar="TEXT", help="system message")
    add_sampling(chat, max_new_tokens=512)
    add_base(chat)
    add_device(chat)


def run_chat(args: argparse.Namespace) -> int:
    """Answer line after line, as one conversation, until an empty line or the end of input."""
    sampling = sampling_of(args)
    from finetune.templates.messages import Message
    from finetune.train.any_model import load_model
    from finetune.train.generate import generate
    from finetune.train.window import fit_window

    loaded = load_model(args.model_run, device=args.device, base=args.base)
    messages = [Message("system", args.system)] if args.system else []
    for line in _input_lines():
        try:
            messages, dropped = fit_window(
                loaded, [*messages, Message("user", line)], max_new_tokens=args.max_new_tokens
            )
        except UsageError as exc:  # this message is too long, the conversation goes on without it
            print_error(exc)
            continue
        if dropped:
            print_progress(f"{pluralize(dropped, 'message')} dropped from the start: the model's window is full")
        with _interrupt_stops() as stop:
            found = generate(
                loaded,
                messages,
                max_new_tokens=args.max_new_tokens,
                sampling=sampling,
                emit=lambda piece: print(printable(piece, keep="\n\t"), end="", flush=True),
                stop=stop,
            )
        print(flush=True)
        messages.append(Message("assistant", found.text))
        if found.finish == "length":
            print_progress(f"truncated at {found.tokens} tokens: raise --max-new-tokens")
        elif found.finish == "interrupted":
            print_progress(f"stopped after {pluralize(found.tokens, 'token')}")
    return 0


@contextmanager
def _interrupt_stops() -> Iterator[threading.Event]:
    """Let the first Ctrl-C inside the `with` set the event; the second raises KeyboardInterrupt as usual."""
    stop = threading.Event()

    def interrupt(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    if threading.current_thread() is not threading.main_thread():  # only the main thread can handle signals
        yield stop
        return
    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def _input_lines() -> Iterator[str]:
    while True:
        if sys.stdin.isatty():
            print("> ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line.strip():
            return
        yield line.rstrip("\n")
