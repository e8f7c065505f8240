"""From a finished run to something that answers: merge, GGUF, gate, Ollama; the order of the steps is written here.

Whatever is handed on is made under another name first and gets its own when every step has passed: a command that fails
or is killed leaves what was there before.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from finetune.errors import AlreadyExists, ExportError, OllamaFailed, ParityFailed, WrongBase
from finetune.export import parity
from finetune.export.gguf import kind_of, read_config, write_gguf
from finetune.export.merge import MERGE_FILE, NEAR, held_out_rows, merge
from finetune.export.modelfile import CONTEXT, Modelfile, check_context, modelfile_for
from finetune.export.ollama import Ollama, TagRecord, check_quantization, full_tag, record_path, write_record
from finetune.runs.manifest import find_run, read_manifest
from finetune.runs.scratch import scratch_folder
from finetune.templates.find import load_template
from finetune.templates.messages import Message
from finetune.templates.template import Template

Say = Callable[[str], None]
PROMPTS = 12  # at most; every one costs a pass of the trained model and some dozens of llama.cpp
ANSWERS = 4  # that Ollama itself must end, at most


@dataclass(frozen=True, slots=True)
class Exported:
    """A GGUF file that passed the gate, with the figures."""

    path: Path
    parity: parity.Parity
    modelfile: Modelfile


def export_gguf(
    run: str | Path,
    out: Path,
    *,
    kind: str = "F16",
    onto: str = "dequantised",
    base: str = "",
    merged: Path | None = None,
    num_ctx: int = CONTEXT,
    system: str = "",
    say: Say = lambda line: None,
) -> Exported:
    """Merge a run (unless `merged` has it merged), write it as GGUF and let it through the gate.

    The file is there when it has passed, and not before. Raises AlreadyExists, ParityFailed, or WrongBase for a `merged` of
    another run.
    """
    check_context(num_ctx)
    if out.exists():
        raise AlreadyExists(f"{out} is there already", "give another --out, or remove it")
    unproven = out.with_name(out.name + ".unproven")
    unproven.unlink(missing_ok=True)  # of a command that was killed
    try:
        with merged_folder(run, onto=onto, base=base, merged=merged, say=say) as folder:
            ref = proven_reference(run, folder, base=base, say=say)
            made = _gated(run, folder, unproven, kind, ref, num_ctx, system, say, shown=out)
        unproven.replace(out)
    finally:
        unproven.unlink(missing_ok=True)
    return Exported(out, made.parity, made.modelfile)


def check_gguf(run: str | Path, path: Path, *, base: str = "", say: Say = lambda line: None) -> Exported:
    """Let a GGUF file that was made before through the gate of a run.

    Raises ParityFailed for a file of another run, UnsupportedModel for one that cannot be read.
    """
    kind = kind_of(path)
    with merged_folder(run, onto="dequantised", base=base, merged=None, say=say) as folder:
        ref = proven_reference(run, folder, base=base, say=say)
        modelfile = modelfile_for(ref.template, context_length=int(ref.config["max_position_embeddings"]))
        say(f"comparing {path.name} with the trained model")
        found = parity.compare(ref, path, kind=kind, modelfile=modelfile)
    parity.require(found, path.name)
    return Exported(path, found, modelfile)


@contextmanager
def merged_folder(run: str | Path, *, onto: str, base: str, merged: Path | None, say: Say) -> Iterator[Path]:
    """Give a run's merged model: the folder given, else one made for the time of the `with` statement.

    Raises WrongBase for a folder that `merge` did not make of this run.
    """
    if merged is not None:
        check_merged(run, merged)
        yield merged
        return
    with scratch_folder() as made:
        say("merging the adapter into its base")
        merge(run, made / "model", onto=onto, base=base, dtype="float32", measure=False)
        yield made / "model"


def check_merged(run: str | Path, merged: Path) -> dict[str, Any]:
    """Read what `merge` wrote of a folder.

    Raises WrongBase unless it was made of this run.
    """
    try:
        report = dict(json.loads((merged / MERGE_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as exc:
        raise WrongBase(
            f"{merged} is no folder that `quire finetune merge` wrote", "give one, or leave it out"
        ) from exc
    made_of, name = Path(str(report.get("run"))).name, find_run(run).name
    if made_of != name:
        raise WrongBase(
            f"{merged} was merged from the run {made_of!r}, not from {name!r}", "give the folder of this run"
        )
    return report


def reference_of(run: str | Path, merged: Path) -> parity.Reference:
    """Compute the merged model's side of the comparison on the prompts kept with the run."""
    from transformers import AutoTokenizer

    template = load_template(merged)
    return parity.reference(merged, template, gate_prompts(run, template, AutoTokenizer.from_pretrained(merged)))


def proven_reference(run: str | Path, merged: Path, *, base: str, say: Say) -> parity.Reference:
    """Compute the merged model's side of the comparison, and compare it with base and adapter as they were trained.

    Raises ParityFailed when they part: every later step is compared with the merged model.
    """
    onto = check_merged(run, merged).get("onto", "dequantised")
    ref = reference_of(run, merged)
    say("comparing the merged model with the trained one")
    kl = trained_divergence(run, ref, onto=str(onto), base=base)
    if not kl <= NEAR:
        raise ParityFailed(
            f"the merged model does not say what the trained model says:\n  - merge: KL is {kl:.2g} nats a token;"
            f" {NEAR:g} may be",
            "merge again from the run; `quire finetune doctor RUN` walks the chain",
            steps=("merge",),
        )
    return ref


def trained_divergence(run: str | Path, ref: parity.Reference, *, onto: str, base: str = "") -> float:
    """Compute the mean KL in nats of base and adapter against the merged model, at the positions of `ref`.

    A merge onto the original base is compared with the adapter on that one.
    """
    import torch

    from finetune.train.load import load_run

    unrounded = read_manifest(run).method == "qlora" and onto == "original"
    model = load_run(run, device="cpu", method="lora" if unrounded else "", base=base).model
    rows: list[float] = []
    for case in ref.cases:
        ids = torch.tensor([[*case.prompt, *case.answer]])
        with torch.no_grad():
            logs = torch.log_softmax(model(ids).logits[0, case.first :].float(), dim=-1).numpy()
        if logs.shape != case.log_probs.shape:
            return float("inf")
        rows += (np.exp(logs) * (logs - case.log_probs)).sum(axis=-1).tolist()
    return float(np.mean(rows))


def gate_prompts(run: str | Path, template: Template, tokenizer: Any) -> list[list[int]]:
    """Give prompts as ids: those the run was sampled with, then those of its held-out (else its training) rows."""
    manifest = read_manifest(run)
    found = [template.encode_prompt(tokenizer, (Message("user", p),)) for p in manifest.config.get("prompts") or ()]
    try:
        rows = held_out_rows(run, manifest)
    except (OSError, ExportError):
        rows = []  # the data has moved; the prompts and the probes remain
    for ids, at, _ in rows:
        prompt = ids[: at[0] + 1] if at else []
        if prompt and prompt not in found and len(found) < PROMPTS:
            found.append(prompt)
    return found or [template.encode_prompt(tokenizer, c) for c in parity.CONVERSATIONS[:4]]


def hand_over(
    run: str | Path,
    tag: str,
    *,
    quantize: str = "",
    onto: str = "dequantised",
    base: str = "",
    num_ctx: int = CONTEXT,
    system: str = "",
    host: str = "",
    replace: bool = False,
    say: Say = lambda line: None,
) -> TagRecord:
    """Bring a run into Ollama as a tag, gated before and after, and record it.

    The tag is made under a name of its own and gets the name asked for when all has passed; a tag of that name that was
    handed over before answers until then. Raises AlreadyExists for a tag that quire did not make (unless `replace`),
    ParityFailed (Ollama is as it was), OllamaFailed, OllamaTooOld, UnfinishedRun or WrongBase.
    """
    tag, kind = full_tag(tag), check_quantization(quantize or "F16")
    check_context(num_ctx)
    server = Ollama(host)
    server.check_version(say)
    if tag in server.tags() and not record_path(tag).is_file() and not replace:
        raise AlreadyExists(
            f"Ollama at {server.address} has a model {tag} that quire did not hand over",
            "give another --tag, or --replace to put yours in its place",
        )
    manifest = read_manifest(run)
    source = "Q8_0" if kind == "Q8_0" else "F16"
    with (
        merged_folder(run, onto=onto, base=base, merged=None, say=say) as folder,
        scratch_folder() as scratch,
        trial_tag(server, tag) as trial,
    ):
        ref = proven_reference(run, folder, base=base, say=say)
        exported = _gated(run, folder, scratch / "model.gguf", source, ref, num_ctx, system, say)
        found = exported.parity
        server.create(trial, exported.path, exported.modelfile, quantize="" if kind == source else kind, say=say)
        if kind != source:
            say("comparing what Ollama quantised with the trained model")
            found = compare_tag(server, trial, ref, kind, exported.modelfile)
            parity.require(found, tag)
        verify(server, trial, ref, kind=kind)
        record = TagRecord(
            tag,
            manifest.base,
            manifest.data,
            str(find_run(run)),
            kind,
            found.to_dict(),
            template=manifest.template,
            digest=str(server.tags()[trial]["digest"]),
        )
        say(f"recorded in {adopt(server, trial, record)}")
    return record


@contextmanager
def trial_tag(server: Ollama, tag: str) -> Iterator[str]:
    """Give a name to make a tag under, and remove it at the end, whatever happens; one left by a killed command too."""
    trial = f"quire-unproven:{hashlib.sha256(tag.encode()).hexdigest()[:12]}"
    server.remove(trial)
    try:
        yield trial
    finally:
        with contextlib.suppress(OllamaFailed):  # what ended the command is told, not this; the next one removes it
            server.remove(trial)


def adopt(server: Ollama, trial: str, record: TagRecord) -> Path:
    """Give a tag that has passed its name, and record it; on failure both are as they were."""
    path = record_path(record.tag)
    before = path.read_bytes() if path.is_file() else None
    old = trial + "-old"
    replaced = record.tag in server.tags()
    try:
        write_record(record)
        if replaced:
            server.copy(record.tag, old)
        server.copy(trial, record.tag)
        path.touch()  # a page that looked between the two steps looks again
    except BaseException:
        if before is None:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(before)
        raise
    finally:
        if replaced:
            with contextlib.suppress(OllamaFailed):
                server.remove(old)  # a copy alone would keep the weights of the replaced tag on the disk
    return path


def _gated(
    run: str | Path,
    folder: Path,
    out: Path,
    kind: str,
    ref: parity.Reference,
    num_ctx: int,
    system: str,
    say: Say,
    *,
    shown: Path | None = None,
) -> Exported:
    modelfile = modelfile_for(
        ref.template,
        context_length=int(read_config(folder)["max_position_embeddings"]),
        num_ctx=num_ctx,
        system=system,
    )
    say(f"writing {kind}" + (f": {shown}" if shown else ""))
    write_gguf(folder, out, template=ref.template, kind=kind, system=system, name=find_run(run).name)
    say("comparing it with the trained model")
    found = parity.compare(ref, out, kind=kind, modelfile=modelfile)
    parity.require(found, shown.name if shown else "the GGUF file")
    return Exported(out, found, modelfile)


def compare_tag(server: Ollama, tag: str, ref: parity.Reference, kind: str, modelfile: Modelfile) -> parity.Parity:
    """Compare a tag's weights with the trained model: its file where it can be read, else its log-probabilities."""
    weights = server.weights_of(tag)
    if weights is not None:
        return parity.compare(ref, weights, kind=kind, modelfile=modelfile)
    return parity.compare_served(ref, lambda prompt: server.next_tokens(tag, prompt), kind=kind)


def verify(server: Ollama, tag: str, ref: parity.Reference, *, kind: str = "F16") -> None:
    """Let Ollama render and answer: its prompts must be those of training, and its answers must end where training ended.

    Raises ParityFailed for another prompt or answers that do not end, OllamaFailed for no answer.
    """
    for messages in parity.CONVERSATIONS:
        plain = [{"role": m.role, "content": m.content} for m in messages]
        has = server.render(tag, plain)
        wanted = ref.template.render(messages, add_generation_prompt=True)
        if has and has != wanted:
            raise ParityFailed(
                f"{tag} does not say what the trained model says:\n  - template: Ollama {parity.difference(has, wanted)}",
                "unset OLLAMA_GO_TEMPLATE, or update Ollama",
                steps=("template",),
            )
    answer = server.chat(tag, [{"role": "user", "content": "Hello"}], num_predict=64)
    if not answer.get("done"):
        raise OllamaFailed(f"{tag} gave no answer: {json.dumps(answer)[:200]}", "its log tells more")
    ending = [case for case in ref.cases if case.ended][:ANSWERS]
    reasons = [
        server.write(tag, ref.tokenizer.decode(case.prompt, skip_special_tokens=False), len(case.answer) + 8)
        for case in ending
    ]
    ended = reasons.count("stop")
    if ending and ended / len(ending) < parity.LIMITS[kind].ended:
        raise ParityFailed(
            f"{tag} does not say what the trained model says:\n  - stop: {len(ending) - ended} of {len(ending)} answers of"
            " Ollama do not end where the trained model ends them",
            "`ollama show --modelfile` tells its stops",
            steps=("stop",),
        )
