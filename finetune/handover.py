"""From a finished run to something that answers: merge, GGUF, gate, Ollama; the order of the steps is written here."""

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune import parity
from finetune.config import home_folder
from finetune.errors import GateFailed, OllamaFailed
from finetune.gguf import read_config, write_gguf
from finetune.manifest import find_run, read_manifest
from finetune.merge import held_out_rows, merge
from finetune.modelfile import CONTEXT, Modelfile, modelfile_for
from finetune.ollama_tags import Ollama, TagRecord, full_tag, write_record
from finetune.records import Message
from finetune.template import Template
from finetune.template import load as load_template

Say = Callable[[str], None]
PROMPTS = 12  # at most; every one costs a pass of the trained model and some dozens of llama.cpp


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

    Raises GateFailed, and then leaves no file.
    """
    with merged_folder(run, onto=onto, base=base, merged=merged, say=say) as folder:
        template = load_template(folder)
        say(f"writing {kind}: {out}")
        write_gguf(folder, out, template=template, kind=kind, system=system, name=find_run(run).name)
        modelfile = modelfile_for(
            template, context_length=int(read_config(folder)["max_position_embeddings"]), num_ctx=num_ctx, system=system
        )
        say("comparing it with the trained model")
        found = parity.compare(reference_of(run, folder), out, kind=kind, modelfile=modelfile)
    try:
        parity.require(found, out.name)
    except GateFailed:
        out.unlink(missing_ok=True)
        raise
    return Exported(out, found, modelfile)


class merged_folder:
    """A run's merged model: the folder given, else one made for the time of the `with` statement."""

    def __init__(self, run: str | Path, *, onto: str, base: str, merged: Path | None, say: Say) -> None:
        self._given, self._run, self._onto, self._base, self._say = merged, run, onto, base, say
        self._made: Path | None = None

    def __enter__(self) -> Path:
        if self._given is not None:
            return self._given
        home_folder().mkdir(parents=True, exist_ok=True)
        # beside the runs, not in the system's own folder for such: that may be a small disk in memory
        self._made = Path(tempfile.mkdtemp(prefix="merge-", dir=home_folder()))
        self._say("merging the adapter into its base")
        merge(self._run, self._made / "model", onto=self._onto, base=self._base, dtype="float32", measure=False)
        return self._made / "model"

    def __exit__(self, *_: object) -> None:
        if self._made is not None:
            shutil.rmtree(self._made, ignore_errors=True)


def reference_of(run: str | Path, merged: Path) -> parity.Reference:
    """Compute the trained side of the comparison on the prompts kept with the run."""
    from transformers import AutoTokenizer

    template = load_template(merged)
    return parity.reference(merged, template, gate_prompts(run, template, AutoTokenizer.from_pretrained(merged)))


def gate_prompts(run: str | Path, template: Template, tokenizer: Any) -> list[list[int]]:
    """Give prompts as ids: those the run was sampled with, then those of its held-out (else its training) rows."""
    from finetune.errors import ExportError

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
    say: Say = lambda line: None,
) -> TagRecord:
    """Bring a run into Ollama as a tag, gated before and after, and record it.

    Raises GateFailed (nothing is left in Ollama), OllamaFailed, OllamaTooOld, UnfinishedRun or WrongBase.
    """
    tag = full_tag(tag)
    server = Ollama(host)
    server.check_version(say)
    manifest = read_manifest(run)
    source = "Q8_0" if quantize.upper() == "Q8_0" else "F16"
    with (
        merged_folder(run, onto=onto, base=base, merged=None, say=say) as folder,
        tempfile.TemporaryDirectory(prefix="gguf-", dir=home_folder()) as scratch,
    ):
        ref = reference_of(run, folder)
        exported = _gated(run, folder, Path(scratch) / "model.gguf", source, ref, num_ctx, system, say)
        existed = tag in server.tags()
        asked = "" if source == "Q8_0" else quantize
        server.create(tag, exported.path, exported.modelfile, quantize=asked, say=say)
        try:
            found = exported.parity
            if asked:
                say("comparing what Ollama quantised with the trained model")
                found = compare_tag(server, tag, ref, quantize.upper(), exported.modelfile)
                parity.require(found, tag)
            verify(server, tag, ref)
        except Exception:
            if not existed:
                server.remove(tag)
            raise
    record = TagRecord(
        tag,
        manifest.base,
        manifest.data,
        str(find_run(run)),
        (quantize or "F16").upper(),
        found.to_dict(),
        template=manifest.template,
        digest=str(server.tags().get(tag, {}).get("digest", "")),
    )
    say(f"recorded in {write_record(record)}")
    return record


def _gated(
    run: str | Path, folder: Path, out: Path, kind: str, ref: parity.Reference, num_ctx: int, system: str, say: Say
) -> Exported:
    say(f"writing {kind}")
    write_gguf(folder, out, template=ref.template, kind=kind, system=system, name=find_run(run).name)
    modelfile = modelfile_for(
        ref.template, context_length=int(ref.config["max_position_embeddings"]), num_ctx=num_ctx, system=system
    )
    say("comparing it with the trained model")
    found = parity.compare(ref, out, kind=kind, modelfile=modelfile)
    parity.require(found, "the GGUF file")
    return Exported(out, found, modelfile)


def compare_tag(server: Ollama, tag: str, ref: parity.Reference, kind: str, modelfile: Modelfile) -> parity.Parity:
    """Compare a tag's weights with the trained model: its file where it can be read, else its log-probabilities."""
    weights = server.weights_of(tag)
    if weights is not None:
        return parity.compare(ref, weights, kind=kind, modelfile=modelfile)
    return parity.compare_served(ref, lambda prompt: server.next_tokens(tag, prompt), kind=kind)


def verify(server: Ollama, tag: str, ref: parity.Reference) -> None:
    """Let Ollama render and answer: its prompt must be that of training, and its answer must end.

    Raises GateFailed for another prompt or an answer that does not end, OllamaFailed for no answer.
    """
    for messages in parity.CONVERSATIONS:
        plain = [{"role": m.role, "content": m.content} for m in messages]
        has = server.render(tag, plain)
        wanted = ref.template.render(messages, add_generation_prompt=True)
        if has and has != wanted:
            raise GateFailed(
                f"{tag} does not say what the trained model says:\n  - template: Ollama {parity.difference(has, wanted)}",
                "unset OLLAMA_GO_TEMPLATE, or update Ollama",
                steps=("template",),
            )
    answer = server.chat(tag, [{"role": "user", "content": "Hello"}], num_predict=64)
    if not answer.get("done"):
        raise OllamaFailed(f"{tag} gave no answer: {json.dumps(answer)[:200]}", "its log tells more")
