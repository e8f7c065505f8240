"""The command `quire chat`: a conversation at the terminal, and the list of earlier ones."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assistant.cli.flags import add_model_flags, add_no_documents_flag, read_configs
from assistant.cli.opening import open_agent
from assistant.cli.terminal import clean, print_notes
from ingest import add_library_flags
from quire import UsageError, add_json_flag, command_parser, encodable, pluralize, print_json

if TYPE_CHECKING:
    from assistant.conversations.history import History


def build_parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    parser = command_parser(
        "chat",
        "Chat with the library; /help inside lists the commands.",
        "quire chat",
        "quire chat --resume 3f2a",
        "quire chat --list",
        "quire chat --export 3f2a conversation.md",
    )
    add_library_flags(parser)
    add_model_flags(parser)
    add_no_documents_flag(parser)
    parser.add_argument(
        "--no-keep", dest="keep_conversations", action="store_false", default=None, help="do not store the conversation"
    )
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--list", action="store_true", help="list the conversations")
    action.add_argument(
        "--resume", metavar="ID", help="continue a conversation; the first characters of its id are enough"
    )
    action.add_argument(
        "--export", nargs=2, metavar=("ID", "FILE"), help="write a conversation as Markdown, or as JSON to a .json file"
    )
    action.add_argument("--rename", nargs=2, metavar=("ID", "TITLE"), help="change the title of a conversation")
    action.add_argument("--delete", metavar="ID", help="delete a conversation and its feedback")
    add_json_flag(parser, "with --list, --export, --rename or --delete: print one JSON object")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Chat until the input ends, or do what a flag says with an earlier conversation; return 0."""
    from assistant.conversations.history import History

    ingest_config, config = read_configs(args)
    action = next((action for name, action in _ACTIONS.items() if getattr(args, name)), None)
    if action is not None:
        result = action(History(config.home), args)
        if args.json:
            print_json(result)
        return 0
    if args.json:
        raise UsageError(
            "--json works with --list, --export, --rename and --delete", 'to ask one question: quire ask "…" --json'
        )
    from assistant.cli.chat_session import ChatSession
    from assistant.conversations.log import log_notice

    history = History(config.home) if config.keep_conversations or args.resume else None
    with open_agent(args, ingest_config, config) as (agent, library, notice):
        session = ChatSession(config, agent, library, history, pull=args.pull)
        if args.resume and history is not None:
            conversation_id = history.conversation(args.resume).id
            session.resume(conversation_id, history.turns(conversation_id))
        print_notes(notice, log_notice(config))
        where = f"library {library.name}" if library else "no documents"
        print(f"{agent.model.name}, {where}. /help lists the commands, Ctrl-D ends.", file=sys.stderr)
        session.run(_lines())
    return 0


def _lines() -> Iterator[str]:
    if sys.stdin.isatty():
        import readline  # noqa: F401 - gives input() line editing
    elif isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")  # a line that is not UTF-8 does not end the conversation
    while True:
        try:
            yield encodable(input("> " if sys.stdin.isatty() else ""))
        except EOFError:
            return
        except KeyboardInterrupt:
            if not sys.stdin.isatty():
                raise
            print("\n(Ctrl-D or /quit ends)", file=sys.stderr)  # pressed just after an answer was complete


def _list(history: History, args: argparse.Namespace) -> dict[str, Any]:
    conversations = history.conversations()
    if not conversations and not args.json:
        print("no conversation is stored yet", file=sys.stderr)
    for conversation in () if args.json else conversations:
        turns = pluralize(conversation.turns, "turn", width=3)
        words = f"{clean(conversation.library)}  {clean(conversation.title)}"
        print(f"{conversation.id[:8]}  {conversation.updated_at[:16]}  {turns}  {words}")
    return {"conversations": [dict(vars(conversation)) for conversation in conversations]}


def _export(history: History, args: argparse.Namespace) -> dict[str, Any]:
    from assistant.conversations.transcript import export_conversation

    conversation_id, file = args.export
    conversation = history.conversation(conversation_id)
    export_conversation(conversation, history.turns(conversation.id), Path(file))
    return {"exported": conversation.id, "file": file}


def _rename(history: History, args: argparse.Namespace) -> dict[str, Any]:
    beginning, title = args.rename
    conversation_id = history.conversation(beginning).id
    history.rename(conversation_id, title)
    return {"renamed": conversation_id, "title": title}


def _delete(history: History, args: argparse.Namespace) -> dict[str, Any]:
    conversation_id = history.conversation(args.delete).id
    history.delete(conversation_id)
    return {"deleted": conversation_id}


_ACTIONS = {"list": _list, "export": _export, "rename": _rename, "delete": _delete}
