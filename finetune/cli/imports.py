"""`quire finetune import`: a PEFT adapter of another tool as a run."""

import argparse
from pathlib import Path
from typing import Any

from finetune.cli.parsing import add_command, command_line
from quire import add_json_flag, print_json


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "import",
        "make a run of a PEFT LoRA adapter that another tool trained",
        "quire finetune import ./their-adapter --base Qwen/Qwen2.5-0.5B-Instruct --name theirs",
        run_import,
    )
    parser.add_argument("folder", metavar="FOLDER", help="folder with adapter_config.json and safetensors")
    parser.add_argument("--base", default="", metavar="MODEL", help="its base model (default: what the adapter names)")
    parser.add_argument("--name", default="", help="name of the run (default: made of the folder's)")
    parser.add_argument(
        "--method",
        choices=("lora", "qlora"),
        default="lora",
        help="qlora if its base was loaded in 4 bits (default lora)",
    )
    parser.add_argument(
        "--template", default="", metavar="NAME", help="template it was trained with (default: its own)"
    )
    parser.add_argument("--system", default="", metavar="TEXT", help="default system message")
    add_json_flag(parser)


def run_import(args: argparse.Namespace) -> int:
    """Print the run and its folder."""
    from finetune.export.foreign import import_adapter

    folder = import_adapter(
        Path(args.folder).expanduser(),
        base=args.base,
        name=args.name,
        method=args.method,
        template=args.template,
        system=args.system,
        command=command_line(),
    )
    if args.json:
        print_json({"run": folder.name, "folder": str(folder)})
    else:
        print(f"{folder.name}: merge, gguf, ollama, push, score and dpo --parent take it\n  {folder}")
    return 0
