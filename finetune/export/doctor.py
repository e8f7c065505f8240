"""Checks every step from a run to its models in Ollama, to find where an answer changed."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from finetune.config import build
from finetune.data.sources.fingerprint import UNKNOWN, fingerprints
from finetune.errors import ExportError, OllamaFailed
from finetune.export.gguf import context_length, write_gguf
from finetune.export.gguf_header import kind_of, onto_of
from finetune.export.handover import compare_tag
from finetune.export.held_out import HeldOut, measure_trained
from finetune.export.limits import describe_overrides
from finetune.export.lora import check_base, find_base, read_adapter
from finetune.export.merge import MAX_MERGE_KL, base_called, merge
from finetune.export.modelfile import Modelfile, modelfile_for
from finetune.export.ollama import Ollama
from finetune.export.ollama_tags import read_records
from finetune.export.parity import STEPS, Parity, compare, difference
from finetune.export.reference import CONVERSATIONS, MAX_ANSWER_TOKENS, Reference, compute_reference
from finetune.export.streamed import open_streamed
from finetune.runs.manifest import RunManifest, find_run, read_manifest
from finetune.runs.scratch import scratch_folder
from finetune.safetensors_io import list_tensors
from finetune.templates.find import load_template
from finetune.train.device import machine_problems
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

    What would keep a training from starting on this machine is a note, since no export needs it. `gguf` is a file to check instead of a new one. Raises NoSuchRun.
    """
    folder = find_run(run)
    checks: list[Check] = []
    checks += [Check("machine", "note", f"{p.message} ({p.hint})") for p in machine_problems(build({}))]
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
        checks.append(
            Check(
                "chain" if any(check.step == "run" for check in checks) else "run",
                "wrong",
                f"{exc.message} ({exc.hint})",
            )
        )
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
    """Check merge, GGUF and the run's models in Ollama, for each base that one of them was merged into."""
    records = [record for record in read_records() if record.get("run") == str(folder)]
    cost = _held_out(folder, manifest, base_folder)
    ours = onto_of(gguf) if gguf else str(records[0].get("onto") or "dequantised") if records else cost.onto
    by_base: dict[str, list[dict[str, Any]]] = {ours: []}
    for record in records:
        by_base.setdefault(str(record.get("onto") or "dequantised"), []).append(record)
    for onto, tags in by_base.items():
        with scratch_folder() as scratch:
            merged = scratch / "model"
            merge(folder, merged, base=base_called(onto), base_folder=base_folder, dtype="float32", measure=False)
            yield cost.check(merged, onto)
            ref = compute_reference(folder, merged)
            if onto == ours:
                yield from _file(ref, gguf, merged, scratch)
            modelfile = modelfile_for(ref.template, context_length=context_length(ref.config))
            yield from _tags(tags, host, ref, modelfile)
    if not records:
        yield Check("ollama", "note", "no model of this run was exported to Ollama")


def _file(ref: Reference, gguf: Path | None, merged: Path, scratch: Path) -> Iterator[Check]:
    if not any(case.ended for case in ref.cases):
        yield Check(
            "stop",
            "wrong",
            f"the trained model ends none of {len(ref.cases)} greedy answers within {MAX_ANSWER_TOKENS} tokens:"
            " train longer, check the loss mask, or give it prompts with shorter answers",
        )
    path = gguf or write_gguf(merged, scratch / "model.gguf", template=ref.template)
    yield from _steps("gguf", compare(ref, path, kind=kind_of(path)))


@dataclass(frozen=True, slots=True)
class _Measured:
    """The held-out loss of a run, or why it is not known."""

    held_out: HeldOut | None
    problem: str = ""

    @property
    def onto(self) -> str:
        """Return the base that an export takes by default, as `merge.json` spells it."""
        return "original" if self.held_out and self.held_out.favors_full_precision else "dequantised"

    def check(self, merged: Path, onto: str) -> Check:
        """Compare a merged folder with the trained model; on the full-precision base, with the adapter on that base."""
        if self.held_out is None:
            return Check("merge", "note", f"not measured: {self.problem}")
        self.held_out.add("merged", open_streamed(merged, device=self.held_out.device))
        cost = self.held_out.cost
        kl, expected = cost["merged"]["kl"], cost["original"]["kl"] if onto == "original" else 0.0
        sentence = f"{cost['merged']['nll']:.4f} nats per token, trained {cost['trained']['nll']:.4f}, KL {kl:.2g}"
        if "original" in cost:
            sentence += f"; merged into the {base_called(onto)} base; {self.held_out.choice()}"
        return Check("merge", "ok" if abs(kl - expected) < MAX_MERGE_KL else "wrong", sentence)


def _held_out(folder: Path, manifest: RunManifest, base_folder: str) -> _Measured:
    try:
        found = measure_trained(folder, manifest, base_folder=base_folder)
    except ExportError as exc:
        return _Measured(None, exc.message)
    return _Measured(found, "" if found else "the run's data can no longer be read")


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


def _tags(records: list[dict[str, Any]], host: str, ref: Reference, modelfile: Modelfile) -> Iterator[Check]:
    server = Ollama(host)
    for record in records:
        tag, kind = str(record["tag"]), str(record["quantization"])
        limits = (record.get("parity") or {}).get("limits") or {}
        for line in describe_overrides(limits):
            yield Check("limits", "note", f"{tag} was exported with another limit: {line}")
        try:
            digest = server.digest_of(tag)
            if digest is None:
                yield Check("ollama", "wrong", f"{tag} is no longer in Ollama: export it again")
            elif record.get("digest") and digest != record["digest"]:
                yield Check("ollama", "wrong", f"{tag} was changed since it was exported: export it again")
            else:
                yield from _steps(tag, compare_tag(server, tag, ref, kind, modelfile, limits))
        except OllamaFailed as exc:
            yield Check("ollama", "note", f"{tag}: {exc.message}")
