"""Checks every step from a run to its models in Ollama, to find where an answer changed."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from finetune.data.sources.fingerprint import UNKNOWN, fingerprints
from finetune.errors import ExportError, OllamaFailed
from finetune.export.gguf import context_length, write_gguf
from finetune.export.gguf_header import kind_of
from finetune.export.handover import compare_tag
from finetune.export.held_out import held_out_cost
from finetune.export.lora import check_base, find_base, read_adapter
from finetune.export.merge import MAX_MERGE_KL, merge
from finetune.export.modelfile import modelfile_for
from finetune.export.ollama import Ollama
from finetune.export.ollama_tags import read_records
from finetune.export.parity import STEPS, Parity, compare, difference
from finetune.export.reference import CONVERSATIONS, MAX_ANSWER_TOKENS, compute_reference
from finetune.export.safetensors_io import list_tensors
from finetune.runs.manifest import RunManifest, find_run, read_manifest
from finetune.runs.scratch import scratch_folder
from finetune.templates.find import load_template
from quire import QuireError, pluralize


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one step."""

    step: str
    mark: Literal["ok", "note", "wrong"]
    sentence: str

    def to_dict(self) -> dict[str, str]:
        """Return the check as plain values."""
        return asdict(self)


def examine(run: str | Path, *, gguf: Path | None = None, base_folder: str = "", host: str = "") -> list[Check]:
    """Check run, data, template, base, merge, GGUF and models in Ollama, in this order, as far as possible.

    `gguf` is a file to check instead of a new one. Raises NoSuchRun.
    """
    folder = find_run(run)
    checks: list[Check] = []
    try:
        manifest = read_manifest(folder)
        checks.append(
            Check("run", "ok", f"{manifest.stage} on {manifest.base} ({manifest.method}), {manifest.created}")
        )
        for step in (_data, _template, _base):
            checks += step(folder, manifest, base_folder)
        if any(check.mark == "wrong" for check in checks):
            return checks
        checks += _weights(folder, manifest, base_folder, gguf, host)
    except QuireError as exc:
        checks.append(Check("run" if not checks else "chain", "wrong", f"{exc.message} ({exc.hint})"))
    return checks


def _data(folder: Path, manifest: RunManifest, base_folder: str) -> Iterator[Check]:
    del folder, base_folder
    now = fingerprints(manifest.data)
    unknown = [name for name, digest in manifest.data.items() if not (_is_content(digest) and _is_content(now[name]))]
    changed = [name for name, digest in manifest.data.items() if name not in unknown and now[name] != digest]
    if not manifest.data:
        yield Check("data", "note", "the rows were given by a program: whether they changed is not known")
    if changed:
        yield Check("data", "note", f"changed since the training: {', '.join(changed)}")
    if unknown:
        yield Check("data", "note", f"not readable, so whether it changed is not known: {', '.join(unknown)}")
    if manifest.data and not changed and not unknown:
        yield Check("data", "ok", f"{pluralize(len(manifest.data), 'source')}, unchanged")


def _is_content(digest: str) -> bool:
    """Return whether a fingerprint is of content; older runs have the hash of the name for folders and hub names."""
    return digest != UNKNOWN and not digest.startswith("name:")


def _template(folder: Path, manifest: RunManifest, base_folder: str) -> Iterator[Check]:
    del base_folder
    from finetune.train.load import load_tokenizer

    adapter = folder / manifest.adapter
    template, tokenizer = load_template(adapter), load_tokenizer(str(adapter))
    ids = template.token_ids(tokenizer)  # raises for a token that the model does not have
    for messages in CONVERSATIONS:
        expected = template.render(messages, add_generation_prompt=True)
        plain = [{"role": m.role, "content": m.content} for m in messages]
        actual = tokenizer.apply_chat_template(plain, tokenize=False, add_generation_prompt=True)
        if actual != expected:
            yield Check(
                "template",
                "wrong",
                f"the stored chat template {difference(str(actual), expected)}: train again",
            )
            return
    yield Check(
        "template", "ok", f"{template.name}; answers end with {template.end_token!r} (id {ids[template.end_token]})"
    )


def _base(folder: Path, manifest: RunManifest, base_folder: str) -> Iterator[Check]:
    adapter = folder / manifest.adapter
    if manifest.method == "full":
        yield Check("base", "ok", "the run contains all weights")
        return
    weights = find_base(manifest, base_folder)
    pairs = read_adapter(adapter)
    check_base(pairs, list_tensors(weights), adapter, weights)
    idle = [name for name, pair in pairs.items() if not pair.b.read().any()]
    if len(idle) == len(pairs):
        yield Check("adapter", "wrong", "no matrix changed: nothing was learned; see metrics.jsonl")
    else:
        yield Check(
            "adapter", "ok", f"fits {len(pairs)} weights of {weights}, {len(pairs) - len(idle)} of them changed"
        )


def _weights(folder: Path, manifest: RunManifest, base_folder: str, gguf: Path | None, host: str) -> Iterator[Check]:
    with scratch_folder() as scratch:
        merged = scratch / "model"
        merge(folder, merged, base_folder=base_folder, dtype="float32", measure=False)
        yield from _merge_cost(folder, manifest, merged, base_folder)
        ref = compute_reference(folder, merged)
        if not any(case.ended for case in ref.cases):
            yield Check(
                "stop",
                "wrong",
                f"the trained model ends none of {len(ref.cases)} greedy answers within {MAX_ANSWER_TOKENS} tokens:"
                " train longer, check the loss mask, or give it prompts with shorter answers",
            )
        path = gguf
        if path is None:
            path = scratch / "model.gguf"
            write_gguf(merged, path, template=ref.template)
        modelfile = modelfile_for(ref.template, context_length=context_length(ref.config))
        yield from _steps("gguf", compare(ref, path, kind=kind_of(path)))
        yield from _tags(folder, host, lambda server, tag, kind: compare_tag(server, tag, ref, kind, modelfile))


def _merge_cost(folder: Path, manifest: RunManifest, merged: Path, base_folder: str) -> Iterator[Check]:
    try:
        cost = held_out_cost(folder, manifest, merged, base_folder=base_folder)
    except ExportError as exc:
        yield Check("merge", "note", f"not measured: {exc.message}")
        return
    if not cost:
        yield Check("merge", "note", "not measured: the run's data can no longer be read")
        return
    kl = cost["merged"]["kl"]
    sentence = f"{cost['merged']['nll']:.4f} nats per token, trained {cost['trained']['nll']:.4f}, KL {kl:.2g}"
    if "original" in cost:
        sentence += f"; merged into the full-precision base: KL {cost['original']['kl']:.2g}"
    yield Check("merge", "ok" if kl < MAX_MERGE_KL else "wrong", sentence)


def _steps(where: str, found: Parity) -> Iterator[Check]:
    for step in STEPS:
        if step in found.differences:
            yield Check(where, "wrong", f"{step}: {found.differences[step]}")
    if found.passed:
        yield Check(
            where, "ok", f"{found.kind}: same first choice at {found.top1:.1%} of positions, KL {found.mean_kl:.2g}"
        )
    for notice in found.notices:
        yield Check("text", "note", notice)


def _tags(folder: Path, host: str, compare: Callable[[Ollama, str, str], Parity]) -> Iterator[Check]:
    records = [r for r in read_records() if r.get("run") == str(folder)]
    if not records:
        yield Check("ollama", "note", "no model of this run was exported to Ollama")
        return
    server = Ollama(host)
    for record in records:
        tag = str(record["tag"])
        try:
            digest = server.digest_of(tag)
            if digest is None:
                yield Check("ollama", "wrong", f"{tag} is no longer in Ollama: export it again")
            elif record.get("digest") and digest != record["digest"]:
                yield Check("ollama", "wrong", f"{tag} was changed since it was exported: export it again")
            else:
                yield from _steps(tag, compare(server, tag, str(record["quantization"])))
        except OllamaFailed as exc:
            yield Check("ollama", "note", f"{tag}: {exc.message}")
