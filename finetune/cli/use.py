"""`quire finetune score|compare|generate`: use finished runs."""

import argparse
from pathlib import Path
from typing import Any

from finetune.cli.parsing import ANY_MODEL, add_base, add_command, add_device, add_sampling, print_progress, sampling_of
from quire import UsageError, add_json_flag, positive_int, print_json


def register(subparsers: Any) -> None:
    """Add the three commands."""
    score = add_command(
        subparsers,
        "score",
        "measure implicit rewards, margin and accuracy of a model on preference pairs",
        "quire finetune score my-dpo pairs.jsonl",
        run_score,
    )
    score.add_argument("model_run", metavar="MODEL", help=ANY_MODEL)
    score.add_argument("pairs", nargs="+", metavar="PAIRS", help="files or hub names of preference pairs")
    score.add_argument(
        "--batch-size", type=positive_int, default=4, metavar="N", help="pairs per forward pass (default 4)"
    )
    score.add_argument(
        "--reference",
        default="",
        metavar="MODEL",
        help="compare with this model (default: the reference of the run, or the base)",
    )
    add_base(score)
    add_device(score)
    add_json_flag(score)

    compare = add_command(
        subparsers,
        "compare",
        "show the answers of base, SFT and DPO to the same prompts, side by side",
        'quire finetune compare my-dpo --prompt "What is a bond?"',
        run_compare,
    )
    compare.add_argument(
        "runs", nargs="+", metavar="RUN", help="finished runs; with only one, the runs it continues are added"
    )
    compare.add_argument("--prompt", action="append", default=[], metavar="TEXT", help="a prompt; may be repeated")
    compare.add_argument(
        "--prompts",
        metavar="FILE",
        help="one prompt per line, or JSON Lines with a field prompt, question, instruction or turns",
    )
    compare.add_argument(
        "--max-new-tokens", type=positive_int, default=128, metavar="N", help="tokens of an answer (default 128)"
    )
    compare.add_argument(
        "--out", metavar="FOLDER", help="where to write compare.html and compare.json (default: the last run's folder)"
    )
    add_device(compare)
    add_json_flag(compare)

    generate = add_command(
        subparsers,
        "generate",
        "print a model's answer to one prompt",
        'quire finetune generate my-dpo "What is a bond?"',
        run_generate,
    )
    generate.add_argument("model_run", metavar="MODEL", help=ANY_MODEL)
    generate.add_argument("prompt", metavar="PROMPT", help="the user's message")
    generate.add_argument("--system", default="", metavar="TEXT", help="system message")
    generate.add_argument(
        "--raw", action="store_true", help="continue PROMPT as plain text, without a template (runs trained on texts)"
    )
    add_sampling(generate, max_new_tokens=256)
    add_base(generate)
    add_device(generate)
    add_json_flag(generate)


def run_score(args: argparse.Namespace) -> int:
    """Print the scores of pairs."""
    from finetune.evaluate.score import score_pairs
    from finetune.train.rows import read_records

    records = read_records(args.pairs, "preference")
    found = score_pairs(
        args.model_run,
        records,
        device=args.device,
        batch_size=args.batch_size,
        reference=args.reference,
        base=args.base,
    )
    if args.json:
        print_json(found.to_dict())
    else:
        print(f"{len(found.chosen)} pairs: accuracy {found.accuracy:.3f}, margin {found.margin:.4f}")
        for reason, count in found.report.dropped.items():
            print(f"  {count} dropped: {reason}")
    return 0


def run_compare(args: argparse.Namespace) -> int:
    """Print the answers of several models, and write them to a page."""
    from finetune.evaluate.compare import compare_runs, read_prompts, write_comparison
    from finetune.runs.manifest import find_run

    prompts = [*args.prompt, *(read_prompts(Path(args.prompts)) if args.prompts else [])]
    found = compare_runs(args.runs, prompts, max_new_tokens=args.max_new_tokens, device=args.device)
    page = write_comparison(found, Path(args.out) if args.out else find_run(args.runs[-1]))
    if args.json:
        print_json(found)
        return 0
    for row in found["prompts"]:
        print(f"> {row['prompt']}")
        for name, answer in row["answers"].items():
            print(f"  {name}: {answer['text']}")
    print(f"side by side: {page}")
    return 0


def run_generate(args: argparse.Namespace) -> int:
    """Print one answer and nothing else; the finish reason goes to stderr, or into the JSON."""
    sampling = sampling_of(args)
    if args.raw and args.system:
        raise UsageError("--raw continues a plain text, which has no place for --system", "leave one of them out")
    from finetune.templates.messages import Message
    from finetune.train.any_model import load_model
    from finetune.train.generate import continue_text, generate

    loaded = load_model(args.model_run, device=args.device, base=args.base, chat=not args.raw)
    if args.raw:
        found = continue_text(loaded, args.prompt, max_new_tokens=args.max_new_tokens, sampling=sampling)
    else:
        messages = [Message("system", args.system)] if args.system else []
        messages.append(Message("user", args.prompt))
        found = generate(loaded, messages, max_new_tokens=args.max_new_tokens, sampling=sampling)
    if args.json:
        print_json({"text": found.text, "finish_reason": found.finish, "tokens": found.tokens})
    else:
        print(found.text)
        print_progress(f"finish reason: {found.finish} ({found.tokens} tokens)")
    return 0
