"""`quire finetune ollama --list|--show|--remove`: the models in Ollama that quire created."""

import argparse
from typing import Any

from finetune.cli.parsing import print_progress, print_result
from finetune.errors import OllamaFailed
from quire import UsageError


def describe_parity(found: dict[str, Any]) -> str:
    """Return the figures of a parity check as one indented line."""
    return (
        f"  same first choice at {found['top1']:.1%} of {found['positions']} positions,"
        f" KL {found['mean_kl']:.2g} (worst {found['max_kl']:.2g}),"
        f" {found['greedy_equal']} of {found['answers']} greedy answers equal"
        + (" (the limits of this type are provisional)" if found.get("provisional") else "")
    )


def remove_tag(args: argparse.Namespace) -> int:
    """Remove a model that quire created from Ollama, and its record."""
    from finetune.export.ollama import Ollama
    from finetune.export.ollama_tags import full_tag, record_path

    tag = full_tag(args.remove)
    path = record_path(tag)
    if not path.is_file():
        raise UsageError(f"quire did not create {tag}", "remove other models with `ollama rm`")
    Ollama(args.host).remove(tag)
    path.unlink()
    return print_result(args, {"removed": tag}, f"removed {tag}")


def list_tags(args: argparse.Namespace) -> int:
    """Print the models that quire created, and which of them Ollama still has."""
    from finetune.export.ollama import Ollama
    from finetune.export.ollama_tags import find_tag, read_records

    records = read_records()
    try:
        present = set(Ollama(args.host).digests())
    except OllamaFailed as exc:
        present = None
        print_progress(f"{exc.message}: models that it no longer has are not marked")
    for record in records:
        record["in_ollama"] = None if present is None else bool(find_tag(record["tag"], present))
    lines = [
        record.get("problem")
        or f"{record['tag']:<32} {record['quantization']:<7} {record['date']:<26} from {record['base']}"
        + ("  (no longer in Ollama)" if record["in_ollama"] is False else "")
        for record in records
    ]
    return print_result(
        args, {"tags": records}, "\n".join(map(str, lines)) or "quire has created no model in Ollama yet"
    )


def show_tag(args: argparse.Namespace) -> int:
    """Print the record of a model and what Ollama reports about it."""
    from finetune.export.ollama import Ollama
    from finetune.export.ollama_tags import full_tag, read_records, record_path, same_tag

    tag = full_tag(args.show)
    if not record_path(tag).is_file():
        raise UsageError(f"quire did not create {tag}", "list its models with `quire finetune ollama --list`")
    record = next(r for r in read_records() if same_tag(str(r["tag"]), tag))
    if "problem" in record:
        raise UsageError(record["problem"], "remove the file, and export the run again")
    server = Ollama(args.host)
    digest = server.digest_of(tag)
    if digest is None:
        raise OllamaFailed(f"{tag} is no longer in Ollama at {server.address}", "export the run again")
    response = server.show(tag)
    shown = {key: response.get(key) for key in ("details", "capabilities", "parameters", "template")}
    changed = bool(record.get("digest")) and digest != record["digest"]
    return print_result(args, {**record, "ollama": shown, "changed": changed}, _described(record, shown, changed))


def _described(record: dict[str, Any], shown: dict[str, Any], changed: bool) -> str:
    details = shown["details"] or {}
    lines = [
        f"{record['tag']}: {details.get('family')}, {details.get('parameter_size')}, {record['quantization']}",
        f"  base        {record['base']}",
        f"  run         {record['run']}",
        *(f"  data        {name} ({str(digest)[:16]})" for name, digest in (record.get("data") or {}).items()),
        f"  date        {record['date']}",
        f"  template    {record.get('template')}",
        *([f"  merged into {record['onto']}"] if record.get("onto") else []),
    ]
    if record.get("parity"):
        lines.append(f"  parity      {describe_parity(record['parity']).strip()}")
    lines += [f"  parameter   {' '.join(line.split())}" for line in str(shown["parameters"] or "").splitlines()]
    if changed:
        lines.append("  it was changed in Ollama since then: export the run again")
    return "\n".join([*lines, "  TEMPLATE in Ollama:", str(shown["template"])])
