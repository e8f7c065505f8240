"""The chain from a run to its tag, link by link: where is meaning lost, and what mends it; nothing is changed."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from finetune.errors import ExportError, OllamaFailed
from finetune.export import parity
from finetune.export.gguf import kind_of, write_gguf
from finetune.export.handover import compare_tag, reference_of
from finetune.export.merge import NEAR, base_folder, check_base, held_out_cost, merge, read_adapter
from finetune.export.modelfile import modelfile_for
from finetune.export.ollama import Ollama, read_records
from finetune.export.safetensors_io import tensors_of
from finetune.runs.manifest import RunManifest, find_run, read_manifest
from finetune.runs.scratch import scratch_folder
from finetune.templates.find import load_template
from quire import QuireError


@dataclass(frozen=True, slots=True)
class Check:
    """One link of the chain."""

    step: str
    mark: Literal["ok", "note", "wrong"]
    sentence: str

    def to_dict(self) -> dict[str, str]:
        """Give the check as plain values."""
        return asdict(self)


def examine(run: str | Path, *, gguf: Path | None = None, base: str = "", host: str = "") -> list[Check]:
    """Look at run, base, template, merge, GGUF and tags, in this order; stops where the next link cannot be looked at.

    Raises NoSuchRun when there is nothing to look at.
    """
    folder = find_run(run)
    checks: list[Check] = []
    try:
        manifest = read_manifest(folder)
        checks.append(
            Check("run", "ok", f"{manifest.stage} on {manifest.base} ({manifest.method}), {manifest.created}")
        )
        for step in (_data, _template, _base):
            checks += step(folder, manifest, base)
        if any(check.mark == "wrong" for check in checks):
            return checks
        checks += _weights(folder, manifest, base, gguf, host)
    except QuireError as exc:
        checks.append(Check("run" if not checks else "chain", "wrong", f"{exc.message} ({exc.hint})"))
    return checks


def _data(folder: Path, manifest: RunManifest, base: str) -> Iterator[Check]:
    del folder, base
    from finetune.runs.manifest import hash_files

    now = hash_files(manifest.data)
    changed = [name for name, digest in manifest.data.items() if now[name] != digest]
    if changed:
        yield Check("data", "note", f"no longer what was trained on: {', '.join(changed)}")
    else:
        yield Check("data", "ok", f"{len(manifest.data)} files, unchanged")


def _template(folder: Path, manifest: RunManifest, base: str) -> Iterator[Check]:
    del base
    from finetune.train.load import load_tokenizer

    adapter = folder / manifest.adapter
    template, tokenizer = load_template(adapter), load_tokenizer(str(adapter))
    ids = template.token_ids(tokenizer)  # raises for a token that the model does not have
    for messages in parity.CONVERSATIONS:
        wanted = template.render(messages, add_generation_prompt=True)
        plain = [{"role": m.role, "content": m.content} for m in messages]
        has = tokenizer.apply_chat_template(plain, tokenize=False, add_generation_prompt=True)
        if has != wanted:
            yield Check(
                "template",
                "wrong",
                f"the stored Jinja {parity.difference(str(has), wanted)}: train again or push template.json",
            )
            return
    yield Check(
        "template", "ok", f"{template.name}; answers end with {template.end_token!r} (id {ids[template.end_token]})"
    )


def _base(folder: Path, manifest: RunManifest, base: str) -> Iterator[Check]:
    adapter = folder / manifest.adapter
    if manifest.method == "full":
        yield Check("base", "ok", "the run holds whole weights")
        return
    weights = base_folder(manifest, base)
    pairs = read_adapter(adapter)
    check_base(pairs, tensors_of(weights), adapter, weights)
    idle = [name for name, pair in pairs.items() if not pair.b.read().any()]
    if len(idle) == len(pairs):
        yield Check("adapter", "wrong", "every matrix is still as it began: nothing was learnt; look at metrics.jsonl")
    else:
        yield Check(
            "adapter", "ok", f"fits {len(pairs)} weights of {weights}, {len(pairs) - len(idle)} of them changed"
        )


def _weights(folder: Path, manifest: RunManifest, base: str, gguf: Path | None, host: str) -> Iterator[Check]:
    with scratch_folder() as scratch:
        merged = scratch / "model"
        merge(folder, merged, base=base, dtype="float32", measure=False)
        yield from _merge_cost(folder, manifest, merged, base)
        ref = reference_of(folder, merged)
        if not any(case.ended for case in ref.cases):
            yield Check(
                "stop", "wrong", "the trained model never ends an answer itself: train longer, or look at the loss mask"
            )
        path = gguf
        if path is None:
            path = scratch / "model.gguf"
            write_gguf(merged, path, template=ref.template)
        modelfile = modelfile_for(ref.template, context_length=int(ref.config["max_position_embeddings"]))
        yield from _steps("gguf", parity.compare(ref, path, kind=kind_of(path)))
        yield from _tags(folder, host, lambda server, tag, kind: compare_tag(server, tag, ref, kind, modelfile))


def _merge_cost(folder: Path, manifest: RunManifest, merged: Path, base: str) -> Iterator[Check]:
    try:
        cost = held_out_cost(folder, manifest, merged, base=base)
    except ExportError as exc:
        yield Check("merge", "note", f"not measured: {exc.message}")
        return
    if not cost:
        yield Check("merge", "note", "not measured: the run's data can no longer be read")
        return
    kl = cost["merged"]["kl"]
    sentence = f"{cost['merged']['nll']:.4f} nats a token, trained {cost['trained']['nll']:.4f}, KL {kl:.2g}"
    if "original" in cost:
        sentence += f"; onto the original base KL {cost['original']['kl']:.2g}"
    yield Check("merge", "ok" if kl < NEAR else "wrong", sentence)


def _steps(where: str, found: parity.Parity) -> Iterator[Check]:
    for step in parity.STEPS:
        if step in found.differences:
            yield Check(f"{where}", "wrong", f"{step}: {found.differences[step]}")
    if found.passed:
        yield Check(where, "ok", f"{found.kind}: first choice equal at {found.top1:.1%}, KL {found.mean_kl:.2g}")


def _tags(folder: Path, host: str, compare: Callable[[Ollama, str, str], parity.Parity]) -> Iterator[Check]:
    records = [r for r in read_records() if r.get("run") == str(folder)]
    if not records:
        yield Check("ollama", "note", "no tag was handed over from this run")
        return
    server = Ollama(host)
    for record in records:
        tag = str(record["tag"])
        try:
            has = server.tags().get(tag)
            if has is None:
                yield Check("ollama", "wrong", f"{tag} is no longer in Ollama: hand it over again")
            elif record.get("digest") and has.get("digest") != record["digest"]:
                yield Check("ollama", "wrong", f"{tag} was changed since it was handed over: hand it over again")
            else:
                yield from _steps(tag, compare(server, tag, str(record["quantization"])))
        except OllamaFailed as exc:
            yield Check("ollama", "note", f"{tag}: {exc.message}")
