"""From a finished run to a model that answers: the order of merge, GGUF, parity check and Ollama.

Everything is made under a temporary name and renamed when every step has passed, so a command that fails or is killed
changes nothing.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from finetune.errors import AlreadyExists, OllamaFailed, ParityFailed
from finetune.export.gguf import context_length, read_config, write_gguf
from finetune.export.gguf_header import kind_of, onto_of
from finetune.export.limits import NO_OVERRIDES, Overrides, describe_overrides, limits_of
from finetune.export.merge import base_called, merge, read_merge_report
from finetune.export.modelfile import CONTEXT, Modelfile, check_context, modelfile_for
from finetune.export.ollama import Ollama
from finetune.export.ollama_tags import TagRecord, check_quantization, find_tag, full_tag, record_path, write_record
from finetune.export.parity import Parity, compare, compare_served, difference, require_parity
from finetune.export.reference import CONVERSATIONS, Reference, checked_reference
from finetune.runs.manifest import find_run, read_manifest
from finetune.runs.scratch import scratch_folder

MAX_OLLAMA_ANSWERS = 4  # whose end is checked in Ollama


@dataclass(frozen=True, slots=True)
class ExportedGguf:
    """A GGUF file that passed the parity check, with the figures."""

    path: Path
    parity: Parity
    modelfile: Modelfile


def to_gguf(
    run: str | Path,
    out: Path,
    *,
    kind: str = "F16",
    base: str = "",
    base_folder: str = "",
    merged: Path | None = None,
    num_ctx: int = CONTEXT,
    system: str = "",
    limits: Overrides = NO_OVERRIDES,
    progress: Callable[[str], None] = lambda line: None,
) -> ExportedGguf:
    """Write a run as one GGUF file of type `kind` that passed the parity check.

    `base` and `base_folder` are those of `merge`; `merged` is a folder that `merge` wrote, to save merging again.
    `num_ctx` (tokens) and `system` go into the Modelfile; `limits` replace those of the parity check. Raises AlreadyExists, ParityFailed, or WrongBase for a
    `merged` of another run; then no file is left.
    """
    check_context(num_ctx)
    if out.exists():
        raise AlreadyExists(f"{out} already exists", "choose another --out, or remove it")
    _warn_of(limits, progress)
    unproven = out.with_name(out.name + ".unproven")
    unproven.unlink(missing_ok=True)  # of a command that was killed
    try:
        with merged_folder(run, base=base, base_folder=base_folder, merged=merged, progress=progress) as folder:
            ref = checked_reference(run, folder, base_folder=base_folder, progress=progress)
            progress(f"writing {kind} and comparing it with the trained model: {out}")
            exported = _write_and_compare(run, folder, unproven, kind, ref, num_ctx, system, out.name, limits)
        unproven.replace(out)
    finally:
        unproven.unlink(missing_ok=True)
    return ExportedGguf(out, exported.parity, exported.modelfile)


def check_gguf(
    run: str | Path, path: Path, *, base_folder: str = "", progress: Callable[[str], None] = lambda line: None
) -> ExportedGguf:
    """Run the parity check on an existing GGUF file.

    Raises ParityFailed for a file of another run, UnsupportedModel for one that cannot be read.
    """
    kind = kind_of(path)
    base = base_called(onto_of(path))
    with merged_folder(run, base=base, base_folder=base_folder, merged=None, progress=progress) as folder:
        ref = checked_reference(run, folder, base_folder=base_folder, progress=progress)
        modelfile = modelfile_for(ref.template, context_length=context_length(ref.config))
        progress(f"comparing {path.name} with the trained model")
        parity = compare(ref, path, kind=kind, modelfile=modelfile)
    require_parity(parity, path.name)
    return ExportedGguf(path, parity, modelfile)


@contextmanager
def merged_folder(
    run: str | Path, *, base: str, base_folder: str, merged: Path | None, progress: Callable[[str], None]
) -> Iterator[Path]:
    """Yield a run's merged model: `merged` if given, else a temporary folder.

    Raises WrongBase for a folder that was not merged from this run.
    """
    if merged is not None:
        read_merge_report(run, merged)
        yield merged
        return
    with scratch_folder() as scratch:
        progress("merging the adapter into its base")
        merge(
            run,
            scratch / "model",
            base=base,
            base_folder=base_folder,
            dtype="float32",
            measure=False,
            progress=progress,
        )
        yield scratch / "model"


def _write_and_compare(
    run: str | Path,
    folder: Path,
    out: Path,
    kind: str,
    ref: Reference,
    num_ctx: int,
    system: str,
    name: str,
    limits: Overrides,
) -> ExportedGguf:
    """Write a merged folder as GGUF and check its parity; errors call the file `name`."""
    longest = context_length(read_config(folder))
    modelfile = modelfile_for(ref.template, context_length=longest, num_ctx=num_ctx, system=system)
    onto = str(read_merge_report(run, folder).get("onto", ""))
    write_gguf(folder, out, template=ref.template, kind=kind, system=system, name=find_run(run).name, onto=onto)
    parity = compare(ref, out, kind=kind, modelfile=modelfile, limits=limits)
    require_parity(parity, name)
    return ExportedGguf(out, parity, modelfile)


def _warn_of(limits: Overrides, progress: Callable[[str], None]) -> None:
    for line in describe_overrides(limits):
        progress(f"warning: {line}")


# -- Ollama


def to_ollama(
    run: str | Path,
    tag: str,
    *,
    quantize: str = "",
    base: str = "",
    base_folder: str = "",
    num_ctx: int = CONTEXT,
    system: str = "",
    host: str = "",
    replace: bool = False,
    limits: Overrides = NO_OVERRIDES,
    progress: Callable[[str], None] = lambda line: None,
) -> TagRecord:
    """Create a model in Ollama from a run, checked for parity before and after, and record it.

    `quantize` is one of QUANTIZATIONS (empty: F16), `host` the address of Ollama (empty: OLLAMA_HOST); `base` and `limits`
    are those of `to_gguf`, and the record has what replaced our limits. The model is created under a trial tag; until all steps have passed, an existing model of the tag keeps answering. Raises
    AlreadyExists for a model that quire did not create (unless `replace`), ParityFailed, OllamaFailed, OllamaTooOld,
    UnfinishedRun or WrongBase; then Ollama is as it was.
    """
    tag, kind = full_tag(tag), check_quantization(quantize or "F16")
    check_context(num_ctx)
    server = Ollama(host)
    server.check_version(progress)
    there = find_tag(tag, server.digests())
    if there and not record_path(tag).is_file() and not replace:
        raise AlreadyExists(
            f"Ollama at {server.address} has a model {there} that quire did not create",
            "choose another --tag, or replace that model with --replace",
        )
    _warn_of(limits, progress)
    manifest = read_manifest(run)
    source = "Q8_0" if kind == "Q8_0" else "F16"  # Ollama makes K-quants from F16
    with (
        merged_folder(run, base=base, base_folder=base_folder, merged=None, progress=progress) as folder,
        scratch_folder() as scratch,
        trial_tag(server, tag) as trial,
    ):
        ref = checked_reference(run, folder, base_folder=base_folder, progress=progress)
        progress(f"writing {source} and comparing it with the trained model")
        exported = _write_and_compare(
            run, folder, scratch / "model.gguf", source, ref, num_ctx, system, "the GGUF file", limits
        )
        parity, modelfile = exported.parity, exported.modelfile
        server.create(trial, exported.path, modelfile, quantize="" if kind == source else kind, progress=progress)
        if kind != source:
            progress("comparing the quantized model with the trained one")
            parity = compare_tag(server, trial, ref, kind, modelfile, limits)
            require_parity(parity, tag)
            parity.notices = exported.parity.notices  # a server's tokens cannot always be asked for
        check_served(server, trial, ref, kind=kind, limits=limits)
        record = TagRecord(
            tag,
            manifest.base,
            manifest.data,
            str(find_run(run)),
            kind,
            parity.to_dict(),
            template=manifest.template,
            digest=server.digests()[trial],
            onto=str(read_merge_report(run, folder).get("onto", "")),
        )
        progress(f"recorded in {adopt(server, trial, record)}")
    return record


@contextmanager
def trial_tag(server: Ollama, tag: str) -> Iterator[str]:
    """Yield a temporary tag, and remove its model at the end and at the start, where a killed command left one."""
    trial = f"quire-unproven:{hashlib.sha256(tag.encode()).hexdigest()[:12]}"
    server.remove(trial)
    try:
        yield trial
    finally:
        with contextlib.suppress(
            OllamaFailed
        ):  # must not hide the error that ended the block; the next call removes it
            server.remove(trial)


def adopt(server: Ollama, trial: str, record: TagRecord) -> Path:
    """Rename a checked model to its tag, write its record and return the record's path; a failure undoes both."""
    path = record_path(record.tag)
    before = path.read_bytes() if path.is_file() else None
    old = trial + "-old"
    replaced = find_tag(record.tag, server.digests())
    try:
        write_record(record)
        if replaced:
            server.copy(replaced, old)
        server.copy(trial, record.tag)
        path.touch()  # a page that read the record between the two steps reads it again
    except BaseException:
        if before is None:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(before)
        raise
    finally:
        if replaced:
            with contextlib.suppress(OllamaFailed):
                server.remove(old)  # else the weights of the replaced model stay on the disk
    return path


def compare_tag(
    server: Ollama, tag: str, ref: Reference, kind: str, modelfile: Modelfile, limits: Overrides = NO_OVERRIDES
) -> Parity:
    """Compare a model in Ollama with the trained model: its file if readable, else Ollama's log-probabilities."""
    weights = server.weights_of(tag)
    if weights is not None:
        return compare(ref, weights, kind=kind, modelfile=modelfile, limits=limits)
    return compare_served(ref, lambda prompt: server.next_tokens(tag, prompt), kind=kind, limits=limits)


def check_served(
    server: Ollama, tag: str, ref: Reference, *, kind: str = "F16", limits: Overrides = NO_OVERRIDES
) -> None:
    """Check that Ollama renders the prompts of training and ends answers where the trained model does.

    Raises ParityFailed, or OllamaFailed when Ollama gives no answer.
    """
    for messages in CONVERSATIONS:
        actual = server.render(tag, [{"role": m.role, "content": m.content} for m in messages])
        expected = ref.template.render(messages, add_generation_prompt=True)
        if actual and actual != expected:  # an Ollama without this debug option returns nothing
            raise ParityFailed(
                f"{tag} diverges from the trained model:\n  - template: Ollama {difference(actual, expected)}",
                "unset OLLAMA_GO_TEMPLATE, or update Ollama",
                steps=("template",),
            )
    answer = server.chat(tag, [{"role": "user", "content": "Hello"}], num_predict=64)
    if not answer.done:
        raise OllamaFailed(f"{tag} gave no answer: {answer.model_dump_json()[:200]}", "see Ollama's log")
    cases = [case for case in ref.cases if case.ended][:MAX_OLLAMA_ANSWERS]
    reasons = [
        server.done_reason(tag, ref.template.decode(ref.tokenizer, case.prompt), len(case.answer) + 8) for case in cases
    ]
    ended = reasons.count("stop")
    if cases and ended / len(cases) < limits_of(kind, limits).ended:
        raise ParityFailed(
            f"{tag} diverges from the trained model:\n  - stop: {len(cases) - ended} of {len(cases)} answers in Ollama"
            " do not end where the trained model ends them",
            "`ollama show --modelfile` lists its stops",
            steps=("stop",),
        )
