"""The export commands: merge, gguf, ollama, push, pull, doctor."""

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from finetune.cli.parsing import add_command, print_progress, print_result
from finetune.cli.tags import describe_parity, list_tags, remove_tag, show_tag
from quire import UsageError, add_json_flag

_EXAMPLES = {
    "merge": "quire finetune merge my-run --out my-model",
    "gguf": "quire finetune gguf my-run --out my-model.gguf --type Q8_0\n  quire ask --model gguf:my-model.gguf 'What ...?'",
    "ollama": "quire finetune ollama my-run --tag my-model --quantize q4_K_M\n  quire finetune ollama --list\n"
    "  quire finetune ollama --show my-model\n  quire finetune ollama --remove my-model",
    "push": "quire finetune push my-run me/my-model --what gguf\n  quire finetune push my-run file:/mnt/share/my-model",
    "pull": "quire finetune pull me/my-model --out my-model",
    "doctor": "quire finetune doctor my-run",
}


def register(subparsers: Any) -> None:
    """Add the parsers of the export commands."""
    merge = add_command(
        subparsers,
        "merge",
        "merge a run's adapter into its base model and write a model folder",
        _EXAMPLES["merge"],
        run_merge,
    )
    _source(merge)
    merge.add_argument("--out", metavar="FOLDER", required=True, help="a new folder")
    merge.add_argument(
        "--dtype",
        choices=("float32", "float16", "bfloat16"),
        default="",
        help="type of the weights (default: the base's)",
    )
    merge.add_argument(
        "--no-measure",
        action="store_true",
        help="measure nothing on held-out rows; without --onto, merge into the dequantised base",
    )

    gguf = add_command(
        subparsers,
        "gguf",
        "write a run as one GGUF file, checked for parity with the trained model",
        _EXAMPLES["gguf"],
        run_gguf,
    )
    _source(gguf)
    _settings(gguf)
    gguf.add_argument("--out", metavar="FILE", required=True, help="a new file; its Modelfile is written beside it")
    gguf.add_argument("--type", default="", choices=("F32", "F16", "BF16", "Q8_0"), help="default F16")
    gguf.add_argument(
        "--merged", metavar="FOLDER", help="a folder written by `merge`, so that the run is not merged again"
    )
    gguf.add_argument(
        "--adapter-only",
        action="store_true",
        help="write only the LoRA adapter, for use with the base model's own GGUF",
    )

    ollama = add_command(
        subparsers,
        "ollama",
        "create a model in Ollama from a run; list, show and remove such models",
        _EXAMPLES["ollama"],
        run_ollama,
    )
    _source(ollama, optional=True)
    _settings(ollama)
    ollama.add_argument("--tag", metavar="NAME", help="name of the model in Ollama")
    ollama.add_argument(
        "-q", "--quantize", default="", metavar="TYPE", help="q8_0, q4_K_M or q4_K_S (default: F16, not quantized)"
    )
    ollama.add_argument("--replace", action="store_true", help="replace a model of that name that quire did not create")
    _host(ollama)
    ollama.add_argument("--list", action="store_true", dest="list_tags", help="list the models that quire created")
    ollama.add_argument("--show", metavar="TAG", help="show a model's record and what Ollama reports about it")
    ollama.add_argument("--remove", metavar="TAG", help="remove a model from Ollama, and its record")

    push = add_command(
        subparsers,
        "push",
        "push an adapter, merged model or GGUF, with a model card, to the hub or a folder",
        _EXAMPLES["push"],
        run_push,
    )
    push.add_argument("finetune_run", metavar="RUN", help="a finished run, by name or folder")
    push.add_argument("to", metavar="REPO", help="a hub repository (me/name), or file:FOLDER")
    push.add_argument("--what", choices=("adapter", "merged", "gguf"), default="adapter", help="default: adapter")
    push.add_argument("--path", metavar="PATH", help="an existing merged folder or GGUF file (default: create one)")
    _base_folder(push)
    push.add_argument("--public", action="store_true", help="make a new repository public (default: private)")
    add_json_flag(push)

    pull = add_command(
        subparsers, "pull", "download what was pushed and check it against its hashes", _EXAMPLES["pull"], run_pull
    )
    pull.add_argument("source", metavar="REPO", help="a hub repository, or file:FOLDER")
    pull.add_argument("--out", metavar="FOLDER", required=True, help="a new folder")
    pull.add_argument("--revision", default="", help="commit or tag (default: the newest)")
    add_json_flag(pull)

    doctor = add_command(
        subparsers,
        "doctor",
        "check every step from a run to its models in Ollama and report where answers changed",
        _EXAMPLES["doctor"],
        run_doctor,
    )
    doctor.add_argument("finetune_run", metavar="RUN", help="a run, by name or folder")
    doctor.add_argument("--gguf", metavar="FILE", help="check this GGUF file instead of writing one")
    _base_folder(doctor)
    _host(doctor)
    add_json_flag(doctor)


def _source(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    parser.add_argument(
        "finetune_run", metavar="RUN", nargs="?" if optional else None, help="a finished run, by name or folder"
    )
    parser.add_argument(
        "--onto",
        choices=("dequantised", "original"),
        default="",
        help="what a QLoRA adapter is merged into: dequantised, the 4-bit base it was trained on, or original, the base in full precision (default: the one with the lower loss on held-out rows)",
    )
    _base_folder(parser)
    add_json_flag(parser)


def _base_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--base", default="", metavar="FOLDER", help="the base model's folder, if it has moved")


def _host(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="", metavar="ADDRESS", help="address of Ollama (default: OLLAMA_HOST)")


def _settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--num-ctx",
        type=int,
        default=4096,
        metavar="TOKENS",
        help="context in tokens (default 4096, at most the model's own)",
    )
    parser.add_argument("--system", default="", metavar="TEXT", help="system prompt stored with the model")
    parser.add_argument(
        "--limit",
        action="append",
        default=[],
        metavar="TYPE.NAME=VALUE",
        help="replace a limit of the parity check, such as F16.mean_kl=0.001, with a warning; may be repeated",
    )


def _quiet_libraries() -> None:
    """Silence the libraries: no warnings and probes, and no progress bars on a pipe."""
    import logging
    import warnings

    from transformers.utils import logging as transformers_logging

    warnings.filterwarnings("ignore", category=FutureWarning)
    transformers_logging.set_verbosity_error()
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.CRITICAL)
    if not sys.stderr.isatty():
        from huggingface_hub.utils.tqdm import disable_progress_bars

        transformers_logging.disable_progress_bar()
        disable_progress_bars()


def run_merge(args: argparse.Namespace) -> int:
    """Merge a run and print the cost on held-out text."""
    _quiet_libraries()
    from finetune.export.merge import base_called, merge

    report = merge(
        args.finetune_run,
        Path(args.out).expanduser(),
        base=base_called(args.onto or ("dequantised" if args.no_measure else "")),
        base_folder=args.base,
        dtype=args.dtype,
        measure=not args.no_measure,
        progress=print_progress,
    )
    lines = [f"{args.out}: {report.merged} weights merged into the {report.base} base, stored as {report.dtype}"]
    for name, cost in report.held_out.items():
        lines.append(f"  {name:<9} {cost['nll']:.4f} nats per token, KL to the trained model {cost['kl']:.2g}")
    return print_result(args, {"folder": str(args.out), **report.to_dict()}, "\n".join(lines))


def run_gguf(args: argparse.Namespace) -> int:
    """Write a GGUF file and print the figures of the parity check."""
    _quiet_libraries()
    out = Path(args.out).expanduser()
    if args.adapter_only:
        idle = [flag for flag in ("type", "merged", "system", "limit") if getattr(args, flag)]
        if idle:
            raise UsageError(f"--adapter-only cannot be used with --{', --'.join(idle)}", "omit one of them")
        from finetune.export.lora import find_base
        from finetune.export.lora_gguf import write_adapter_gguf
        from finetune.runs.manifest import find_run, read_manifest

        manifest = read_manifest(args.finetune_run)
        adapter = find_run(args.finetune_run) / manifest.adapter
        write_adapter_gguf(adapter, find_base(manifest, args.base), out)
        return print_result(
            args, {"file": str(out)}, f"{out}: a LoRA adapter for the base model's own GGUF (not checked for parity)"
        )
    from finetune.export.handover import to_gguf
    from finetune.export.limits import parse_limits
    from finetune.export.merge import base_called
    from finetune.export.modelfile import check_system

    check_system(args.system)
    modelfile = _free_modelfile(out)
    found = to_gguf(
        args.finetune_run,
        out,
        kind=args.type or "F16",
        base=base_called(args.onto),
        base_folder=args.base,
        merged=Path(args.merged).expanduser() if args.merged else None,
        num_ctx=args.num_ctx,
        system=args.system,
        limits=parse_limits(args.limit),
        progress=print_progress,
    )
    modelfile.write_text(found.modelfile.to_text(f"./{out.name}"), encoding="utf-8")
    for notice in found.parity.notices:
        print_progress(f"notice: {notice}")
    values = {"file": str(out), "modelfile": str(modelfile), "bytes": out.stat().st_size,
              "parity": found.parity.to_dict()}  # fmt: skip
    return print_result(
        args, values, f"{out}: {out.stat().st_size / 2**20:,.1f} MiB\n{describe_parity(found.parity.to_dict())}"
    )


def _free_modelfile(out: Path) -> Path:
    """Return the path of a GGUF file's Modelfile; raises AlreadyExists for a Modelfile of another file."""
    from finetune.errors import AlreadyExists

    path = out.with_suffix(".Modelfile")
    if path.is_file() and not path.read_text(encoding="utf-8", errors="replace").startswith(f"FROM ./{out.name}\n"):
        raise AlreadyExists(f"{path} already exists and belongs to another file", "choose another --out, or remove it")
    return path


def run_ollama(args: argparse.Namespace) -> int:
    """Create a model in Ollama from a run, or list, show or remove such models."""
    chosen = [bool(args.finetune_run), args.list_tags, bool(args.show), bool(args.remove)]
    if sum(chosen) != 1:
        raise UsageError(
            "pass exactly one of RUN, --list, --show TAG and --remove TAG", "see quire finetune ollama --help"
        )
    if args.list_tags:
        return list_tags(args)
    if args.show:
        return show_tag(args)
    if args.remove:
        return remove_tag(args)
    if not args.tag:
        raise UsageError("the model in Ollama needs a name", "add --tag NAME")
    _quiet_libraries()
    from finetune.export.handover import to_ollama
    from finetune.export.limits import parse_limits
    from finetune.export.merge import base_called

    record = to_ollama(
        args.finetune_run,
        args.tag,
        quantize=args.quantize,
        base=base_called(args.onto),
        base_folder=args.base,
        num_ctx=args.num_ctx,
        system=args.system,
        host=args.host,
        replace=args.replace,
        limits=parse_limits(args.limit),
        progress=print_progress,
    )
    for notice in record.parity["notices"]:
        print_progress(f"notice: {notice}")
    text = f"{record.tag}: {record.quantization}\n{describe_parity(record.parity)}\n  quire ask --model ollama:{record.tag} 'What ...?'"
    return print_result(args, asdict(record), text)


def run_push(args: argparse.Namespace) -> int:
    """Push a run and print where it is."""
    _quiet_libraries()
    from finetune.export.hub import push

    where = push(
        args.finetune_run,
        args.to,
        what=args.what,
        path=Path(args.path).expanduser() if args.path else None,
        base_folder=args.base,
        private=not args.public,
        progress=print_progress,
    )
    return print_result(args, {"pushed": where, "what": args.what}, where)


def run_pull(args: argparse.Namespace) -> int:
    """Pull into a folder and print its path."""
    _quiet_libraries()
    from finetune.export.hub import pull

    folder = pull(args.source, Path(args.out).expanduser(), revision=args.revision, progress=print_progress)
    return print_result(args, {"folder": str(folder)}, str(folder))


def run_doctor(args: argparse.Namespace) -> int:
    """Check every step; exit code 1 when any is wrong."""
    _quiet_libraries()
    from finetune.export.doctor import examine

    checks = examine(
        args.finetune_run, gguf=Path(args.gguf) if args.gguf else None, base_folder=args.base, host=args.host
    )
    lines = [f"{check.mark:<5} {check.step:<10} {check.sentence}" for check in checks]
    print_result(args, {"checks": [check.to_dict() for check in checks]}, "\n".join(lines))
    return 1 if any(check.mark == "wrong" for check in checks) else 0
