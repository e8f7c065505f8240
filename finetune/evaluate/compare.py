"""Comparisons: answers of a base model and its runs to the same prompts, as HTML and JSON."""

import html
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from finetune.data.sources.readers import read_rows
from finetune.runs.manifest import find_run, read_manifest, run_name, texts_of
from finetune.templates.find import load_template
from finetune.templates.messages import Message
from finetune.train.generate import generate
from finetune.train.load import LoadedModel, load_base, load_run, load_tokenizer, run_config
from quire import UsageError, strict_json

Comparison = dict[str, Any]
PROMPT_FIELDS = ("prompt", "question", "instruction", "turns")


def lineage(run: str | Path) -> list[str]:
    """Return the folders of a run and of its parents, oldest first."""
    found = [str(find_run(run))]
    while parent := read_manifest(found[0]).parent:
        found.insert(0, str(find_run(parent)))
    return found


def read_prompts(path: Path) -> list[str]:
    """Return the prompts in a text file, one a line, or in JSON Lines, from the first of `PROMPT_FIELDS` in each row.

    Of `turns`, the first is the prompt. Raises UsageError for a missing file, and for a row without such a field.
    """
    if not path.is_file():
        raise UsageError(f"there is no file {path}", "give a text file with one prompt per line, or JSON Lines")
    if path.suffix.lower() not in (".jsonl", ".ndjson", ".json"):
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    found = []
    for row in read_rows(path):
        prompt = next((row.values[name] for name in PROMPT_FIELDS if row.values.get(name)), None)
        prompt = prompt[0] if isinstance(prompt, list) and prompt else prompt
        if not isinstance(prompt, str):
            why = row.error or f"no prompt in {', '.join(row.values)}"
            raise UsageError(f"{path}, line {row.line}: {why}", f"call the field one of {', '.join(PROMPT_FIELDS)}")
        found.append(prompt)
    return found


def compare_runs(
    runs: Sequence[str | Path], prompts: Sequence[str], *, max_new_tokens: int = 128, device: str = "auto"
) -> Comparison:
    """Return the greedy answers of the base and of each run to each prompt; a single run includes all its parents.

    Models are loaded one after the other, so that only one is in memory at a time.
    """
    if not prompts:
        raise UsageError("there are no prompts to compare", "give --prompt TEXT, or --prompts FILE")
    names = lineage(runs[0]) if len(runs) == 1 else [str(find_run(run)) for run in runs]
    manifest = read_manifest(names[0])
    loaders: list[tuple[str, Callable[[], LoadedModel]]] = [
        ("base", lambda: _base(names[0], device)),
        *((run_name(name), lambda name=name: load_run(name, device=device)) for name in names),
    ]
    answers: list[dict[str, Any]] = [{"prompt": prompt, "answers": {}} for prompt in prompts]
    for name, loader in loaders:
        loaded = loader()
        for row in answers:
            found = generate(loaded, (Message("user", row["prompt"]),), max_new_tokens=max_new_tokens)
            row["answers"][name] = {"text": found.text, "finish": found.finish, "tokens": found.tokens}
        del loaded
    return {"base": manifest.base, "models": [name for name, _ in loaders], "prompts": answers}


def _base(run: str, device: str) -> LoadedModel:
    """Return the untuned base as the run has it, so that quantization is not taken for an effect of training.

    The template is the run's, so that all models see the same text.
    """
    manifest, texts = read_manifest(run), texts_of(run)
    model = load_base(run_config(manifest, device=device), for_training=False).eval()
    return LoadedModel(model, load_tokenizer(str(texts)), load_template(texts), manifest.base)


_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Comparison</title>
<style>body{{font:16px/1.5 system-ui;margin:2rem;color:#222}}table{{border-collapse:collapse;width:100%}}
td,th{{border:1px solid #ccc;padding:.6rem;vertical-align:top;text-align:left;white-space:pre-wrap}}
small{{color:#666}}</style><h1>Comparison</h1><p>{base}</p><table><tr><th>prompt</th>{heads}</tr>{rows}</table></html>
"""


def to_html(comparison: Comparison) -> str:
    """Return a comparison as an HTML page without scripts or other files."""
    models = comparison["models"]
    rows = []
    for row in comparison["prompts"]:
        cells = [f"<td>{html.escape(row['prompt'])}</td>"]
        for name in models:
            found = row["answers"][name]
            note = f"{found['tokens']} tokens, {found['finish']}"
            cells.append(f"<td>{html.escape(found['text'])}\n<small>{note}</small></td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    heads = "".join(f"<th>{html.escape(name)}</th>" for name in models)
    return _PAGE.format(base=html.escape(comparison["base"]), heads=heads, rows="".join(rows))


def write_comparison(comparison: Comparison, folder: Path) -> Path:
    """Write compare.html and compare.json to a folder and return the path of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "compare.html"
    page.write_text(to_html(comparison), encoding="utf-8")
    text = strict_json(comparison, indent=2) + "\n"
    (folder / "compare.json").write_text(text, encoding="utf-8")
    return page
