"""The commands of handing a model on: merge, gguf, ollama, push, pull, doctor; each parses, calls one function, prints."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from finetune.errors import OllamaFailed
from quire import UsageError

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
    merge = _parser(subparsers, "merge", "fold a run's adapter into its base: a model folder")
    _source(merge)
    merge.add_argument("--out", metavar="FOLDER", required=True)
    merge.add_argument(
        "--dtype", choices=("float32", "float16", "bfloat16"), default="", help="default: the base's own"
    )
    merge.add_argument("--no-measure", action="store_true", help="skip the cost on held-out text")
    merge.set_defaults(run=run_merge)

    gguf = _parser(subparsers, "gguf", "write a run as one GGUF file that passed the gate")
    _source(gguf)
    _settings(gguf)
    gguf.add_argument("--out", metavar="FILE", required=True)
    gguf.add_argument("--type", default="", choices=("F32", "F16", "BF16", "Q8_0"), help="default F16")
    gguf.add_argument("--merged", metavar="FOLDER", help="a folder that `merge` wrote, to save doing it again")
    gguf.add_argument(
        "--adapter-only", action="store_true", help="write the LoRA as a GGUF adapter for the base's GGUF"
    )
    gguf.set_defaults(run=run_gguf)

    ollama = _parser(subparsers, "ollama", "hand a run to Ollama as a tag; list, show and remove our tags")
    _source(ollama, optional=True)
    _settings(ollama)
    ollama.add_argument("--tag", metavar="NAME", help="name of the model in Ollama")
    ollama.add_argument(
        "-q", "--quantize", default="", metavar="TYPE", help="q8_0, q4_K_M or q4_K_S (default: none, F16)"
    )
    ollama.add_argument(
        "--replace", action="store_true", help="put it in place of a model that quire did not hand over"
    )
    ollama.add_argument("--host", default="", help="address of Ollama (default: OLLAMA_HOST)")
    ollama.add_argument("--list", action="store_true", dest="list_tags", help="list the tags that were handed over")
    ollama.add_argument("--show", metavar="TAG", help="show a tag's record and what Ollama says of it")
    ollama.add_argument("--remove", metavar="TAG", help="remove a tag from Ollama, and its record")
    ollama.set_defaults(run=run_ollama)

    push = _parser(
        subparsers, "push", "put an adapter, merged model or GGUF, with a model card, on the hub or in a folder"
    )
    push.add_argument("finetune_run", metavar="RUN")
    push.add_argument("to", metavar="REPO", help="a hub repository (me/name), or file:FOLDER")
    push.add_argument("--what", choices=("adapter", "merged", "gguf"), default="adapter")
    push.add_argument("--path", metavar="PATH", help="merged folder or GGUF file made before (default: made now)")
    push.add_argument("--base", default="", metavar="FOLDER", help="where the base model is now")
    push.add_argument("--public", action="store_true", help="make a new repository public (default: private)")
    push.add_argument("--json", action="store_true")
    push.set_defaults(run=run_push)

    pull = _parser(subparsers, "pull", "fetch what was pushed, checked against its list of hashes")
    pull.add_argument("source", metavar="REPO", help="a hub repository, or file:FOLDER")
    pull.add_argument("--out", metavar="FOLDER", required=True)
    pull.add_argument("--revision", default="", help="commit or tag (default: the newest)")
    pull.add_argument("--json", action="store_true")
    pull.set_defaults(run=run_pull)

    doctor = _parser(subparsers, "doctor", "walk from a run to its tag and say where meaning is lost")
    doctor.add_argument("finetune_run", metavar="RUN")
    doctor.add_argument("--gguf", metavar="FILE", help="look at this GGUF file instead of writing one")
    doctor.add_argument("--base", default="", metavar="FOLDER", help="where the base model is now")
    doctor.add_argument("--host", default="", help="address of Ollama (default: OLLAMA_HOST)")
    doctor.add_argument("--json", action="store_true")
    doctor.set_defaults(run=run_doctor)


def _parser(subparsers: Any, name: str, text: str) -> argparse.ArgumentParser:
    found: argparse.ArgumentParser = subparsers.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=f"example:\n  {_EXAMPLES[name]}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return found


def _source(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    parser.add_argument(
        "finetune_run", metavar="RUN", nargs="?" if optional else None, help="a finished run, by name or folder"
    )
    parser.add_argument(
        "--onto",
        choices=("dequantised", "original"),
        default="dequantised",
        help="QLoRA: merge onto the 4-bit base as it was trained (default), or onto the original",
    )
    parser.add_argument("--base", default="", metavar="FOLDER", help="where the base model is now")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--num-ctx", type=int, default=4096, help="tokens of context (default 4096, at most the model's)"
    )
    parser.add_argument("--system", default="", help="system prompt written with the model")


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def quiet() -> None:
    """Keep third parties' progress bars off a pipe, and their deprecations and probes off the terminal."""
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


def _print(args: argparse.Namespace, values: dict[str, Any], text: str) -> int:
    print(json.dumps(values, ensure_ascii=False) if args.json else text)
    return 0


def run_merge(args: argparse.Namespace) -> int:
    """Merge a run and print what it cost."""
    quiet()
    from finetune.export.merge import merge

    report = merge(
        args.finetune_run,
        Path(args.out).expanduser(),
        onto=args.onto,
        base=args.base,
        dtype=args.dtype,
        measure=not args.no_measure,
        say=_say,
    )
    lines = [f"{args.out}: {report.merged} weights merged, onto the {report.onto} base, stored as {report.dtype}"]
    for name, cost in report.held_out.items():
        lines.append(f"  {name:<9} {cost['nll']:.4f} nats a token, KL to the trained model {cost['kl']:.2g}")
    return _print(args, {"folder": str(args.out), **report.to_dict()}, "\n".join(lines))


def run_gguf(args: argparse.Namespace) -> int:
    """Write a GGUF file and print the gate's figures."""
    quiet()
    out = Path(args.out).expanduser()
    if args.adapter_only:
        idle = [flag for flag in ("type", "merged", "system") if getattr(args, flag)]
        if idle:
            raise UsageError(f"an adapter has no --{', --'.join(idle)}", "leave it out, or leave out --adapter-only")
        from finetune.export.lora_gguf import write_adapter_gguf
        from finetune.export.merge import base_folder
        from finetune.runs.manifest import find_run, read_manifest

        manifest = read_manifest(args.finetune_run)
        adapter = find_run(args.finetune_run) / manifest.adapter
        write_adapter_gguf(adapter, base_folder(manifest, args.base), out)
        return _print(args, {"file": str(out)}, f"{out}: a LoRA adapter for the base model's own GGUF (not compared)")
    from finetune.export.handover import export_gguf
    from finetune.export.modelfile import check_system

    check_system(args.system)
    modelfile = _free_modelfile(out)
    found = export_gguf(
        args.finetune_run,
        out,
        kind=args.type or "F16",
        onto=args.onto,
        base=args.base,
        merged=Path(args.merged).expanduser() if args.merged else None,
        num_ctx=args.num_ctx,
        system=args.system,
        say=_say,
    )
    modelfile.write_text(found.modelfile.to_text(f"./{out.name}"), encoding="utf-8")
    values = {"file": str(out), "bytes": out.stat().st_size, "parity": found.parity.to_dict()}
    return _print(args, values, f"{out}: {out.stat().st_size / 2**20:,.1f} MiB\n{_figures(found.parity.to_dict())}")


def _free_modelfile(out: Path) -> Path:
    """Give the place of the Modelfile beside a GGUF file; one that speaks of another file is not written over."""
    from finetune.errors import AlreadyExists

    path = out.with_suffix(".Modelfile")
    if path.is_file() and not path.read_text(encoding="utf-8", errors="replace").startswith(f"FROM ./{out.name}\n"):
        raise AlreadyExists(
            f"{path} is there already and is not that of {out.name}", "give another --out, or remove it"
        )
    return path


def _figures(found: dict[str, Any]) -> str:
    return (
        f"  same first choice at {found['top1']:.1%} of {found['positions']} positions,"
        f" KL {found['mean_kl']:.2g} (worst {found['max_kl']:.2g}),"
        f" {found['greedy_equal']} of {found['answers']} greedy answers equal"
    )


def run_ollama(args: argparse.Namespace) -> int:
    """Hand a run over, or list, show or remove tags."""
    from finetune.export import ollama as ollama_tags

    chosen = [bool(args.finetune_run), args.list_tags, bool(args.show), bool(args.remove)]
    if sum(chosen) != 1:
        raise UsageError("give one of RUN, --list, --show TAG and --remove TAG", "see quire finetune ollama --help")
    if args.list_tags:
        return _list(args)
    if args.show:
        return _show(args)
    if args.remove:
        tag = ollama_tags.full_tag(args.remove)
        if not ollama_tags.record_path(tag).is_file():
            raise UsageError(f"{tag} was not handed over by quire", "`ollama rm` removes other models")
        ollama_tags.Ollama(args.host).remove(tag)
        ollama_tags.record_path(tag).unlink()
        return _print(args, {"removed": tag}, f"{tag} is removed")
    if not args.tag:
        raise UsageError("no tag is named", "add --tag NAME")
    from dataclasses import asdict

    from finetune.export.handover import hand_over

    quiet()

    record = hand_over(
        args.finetune_run,
        args.tag,
        quantize=args.quantize,
        onto=args.onto,
        base=args.base,
        num_ctx=args.num_ctx,
        system=args.system,
        host=args.host,
        replace=args.replace,
        say=_say,
    )
    text = f"{record.tag}: {record.quantization}\n{_figures(record.parity)}\n  quire ask --model ollama:{record.tag} 'What ...?'"
    return _print(args, asdict(record), text)


def _list(args: argparse.Namespace) -> int:
    from finetune.export import ollama as ollama_tags

    records = ollama_tags.read_records()
    try:
        there = set(ollama_tags.Ollama(args.host).tags())
    except OllamaFailed as exc:
        there = None
        _say(f"{exc.message}: whether it still has them is not known")
    for record in records:
        record["in_ollama"] = None if there is None else record["tag"] in there
    lines = [
        record.get("problem")
        or f"{record['tag']:<32} {record['quantization']:<7} {record['date']:<26} from {record['base']}"
        + ("  (no longer in Ollama)" if record["in_ollama"] is False else "")
        for record in records
    ]
    return _print(args, {"tags": records}, "\n".join(map(str, lines)) or "no tag was handed over yet")


def _show(args: argparse.Namespace) -> int:
    from finetune.export import ollama as ollama_tags

    tag = ollama_tags.full_tag(args.show)
    path = ollama_tags.record_path(tag)
    if not path.is_file():
        raise UsageError(f"{tag} was not handed over by quire", "`quire finetune ollama --list` tells which were")
    record = next(r for r in ollama_tags.read_records() if ollama_tags.full_tag(str(r["tag"])) == tag)
    if "problem" in record:
        raise UsageError(record["problem"], "remove the file, and hand the run over again")
    server = ollama_tags.Ollama(args.host)
    has = server.tags().get(tag)
    if has is None:
        raise OllamaFailed(f"{tag} is no longer in Ollama at {server.address}", "hand the run over again")
    shown = server.show(tag)
    told = {key: shown.get(key) for key in ("details", "capabilities", "parameters", "template")}
    changed = bool(record.get("digest")) and has.get("digest") != record["digest"]
    return _print(args, {**record, "ollama": told, "changed": changed}, _described(record, told, changed))


def _described(record: dict[str, Any], told: dict[str, Any], changed: bool) -> str:
    details = told["details"] or {}
    lines = [
        f"{record['tag']}: {details.get('family')}, {details.get('parameter_size')}, {record['quantization']}",
        f"  base        {record['base']}",
        f"  run         {record['run']}",
        *(f"  data        {name} ({str(digest)[:16]})" for name, digest in (record.get("data") or {}).items()),
        f"  date        {record['date']}",
        f"  template    {record.get('template')}",
    ]
    if record.get("parity"):
        lines.append(f"  gate      {_figures(record['parity'])}")
    lines += [f"  parameter   {' '.join(line.split())}" for line in str(told["parameters"] or "").splitlines()]
    if changed:
        lines.append("  it was changed in Ollama since it was handed over: hand the run over again")
    return "\n".join([*lines, "  TEMPLATE in Ollama:", str(told["template"])])


def run_push(args: argparse.Namespace) -> int:
    """Push a run and print where it is."""
    quiet()
    from finetune.export.hub import push

    where = push(
        args.finetune_run,
        args.to,
        what=args.what,
        path=Path(args.path).expanduser() if args.path else None,
        base=args.base,
        private=not args.public,
        say=_say,
    )
    return _print(args, {"pushed": where, "what": args.what}, where)


def run_pull(args: argparse.Namespace) -> int:
    """Pull into a folder and print it."""
    quiet()
    from finetune.export.hub import pull

    folder = pull(args.source, Path(args.out).expanduser(), revision=args.revision, say=_say)
    return _print(args, {"folder": str(folder)}, str(folder))


def run_doctor(args: argparse.Namespace) -> int:
    """Walk the chain; exit code 1 when meaning is lost anywhere."""
    quiet()
    from finetune.export.doctor import examine

    checks = examine(args.finetune_run, gguf=Path(args.gguf) if args.gguf else None, base=args.base, host=args.host)
    lines = [f"{check.mark:<5} {check.step:<10} {check.sentence}" for check in checks]
    _print(args, {"checks": [check.to_dict() for check in checks]}, "\n".join(lines))
    return 1 if any(check.mark == "wrong" for check in checks) else 0
