"""The files of a folder that are trained: those of one split, without held-out files and notes."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from finetune.data.sources.readers import SUFFIXES
from finetune.errors import SourceUnavailable

_HELD_OUT = {
    "test": "test", "tests": "test", "testing": "test", "validation": "validation", "valid": "validation",
    "val": "validation", "dev": "validation", "eval": "validation", "evaluation": "validation", "heldout": "validation",
    "held": "validation", "holdout": "validation",
}  # fmt: skip
_SPLITS = {"train": "train", "training": "train", **_HELD_OUT}
# Texts and settings that stand beside data.
_NOTES = re.compile(
    r"^(readme|licen[cs]e|copying|notice|authors|contributing|changelog|requirements|citation|citations|todo|sources)"
    r"([-_.].*)?$",
    re.IGNORECASE,
)
_SETTINGS = (
    "dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "config.json", "tokenizer.json",
    "tokenizer_config.json", "special_tokens_map.json", "generation_config.json", "croissant.json",
    "metadata.json", "meta.json", "manifest.json", "schema.json", "stats.json", "info.json", "features.json",
)  # fmt: skip


@dataclass(slots=True)
class FolderFiles:
    """The files of a folder to read rows from, in order, and a sentence on each kind of file that is left out."""

    files: list[Path] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


def training_files(folder: Path, split: str = "") -> FolderFiles:
    """Return the files of a folder that belong to a split (empty: train).

    Files whose names have no split belong to the training rows. Folders that `save_to_disk` of the library `datasets` wrote are
    read as well; of other folders, `data`, `train` and other names of splits are searched when no file is beside them.
    Raises SourceUnavailable for a folder without such a file.
    """
    wanted = _SPLITS.get(split.lower(), split) if split else "train"
    if (folder / "dataset_dict.json").is_file():
        return _of_dataset_dict(folder, wanted)
    if arrow := _arrow_files(folder):
        return FolderFiles(arrow)
    found, notes = FolderFiles(), list[str]()
    others: dict[str, list[str]] = {}
    for file in sorted(folder.iterdir()):
        if not file.is_file() or file.name.startswith(".") or not _has_rows(file):
            continue
        own = _split_of(file.name.split(".")[0])
        if file.name.lower() in _SETTINGS or (_NOTES.match(file.name) and file.suffix.lower() in (".txt", ".json")):
            notes.append(file.name)
        elif (own or "train") == wanted:
            found.files.append(file)
        else:
            others.setdefault(own or "train", []).append(file.name)
    if notes:
        found.notices.append(f"{folder}: not data, left out: {', '.join(notes)}")
    _note_splits(found, folder, others)
    if not found.files and not others:
        found = _of_subfolders(folder, wanted)
    if not found.files and others:
        raise _no_split(folder, wanted, others)
    return found


def _has_rows(file: Path) -> bool:
    return any(suffix.lower() in SUFFIXES for suffix in file.suffixes)


def _split_of(stem: str) -> str:
    """Return the split that a name tells, such as `validation` of `alpaca-val` or `dev-00000-of-00001`; "" without one."""
    words = [word for word in re.split(r"[^a-z]+", stem.lower()) if word]
    return next((_SPLITS[word] for word in words if word in _SPLITS), "")


def _note_splits(found: FolderFiles, folder: Path, others: dict[str, list[str]]) -> None:
    for name, files in others.items():
        found.notices.append(f"{folder}: left out, as they belong to the split {name}: {', '.join(files)}")


def _no_split(folder: Path, wanted: str, others: dict[str, list[str]]) -> SourceUnavailable:
    return SourceUnavailable(
        f"{folder} has no file of the split {wanted}; it has {', '.join(sorted(others))}",
        "name one of its files, or convert a split: `quire finetune data convert` with --split",
    )


def _arrow_files(folder: Path) -> list[Path]:
    """Return the files of a data set that `save_to_disk` wrote, in the order of its `state.json`."""
    state = folder / "state.json"
    if not state.is_file():
        return []
    try:
        entries = json.loads(state.read_text(encoding="utf-8")).get("_data_files") or []
        files = [folder / str(entry["filename"]) for entry in entries]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise SourceUnavailable(f"{state} cannot be read: {exc}", "copy the folder again") from exc
    if missing := [file.name for file in files if not file.is_file()]:
        raise SourceUnavailable(f"{folder} has no {missing[0]}, which its state.json names", "copy the folder again")
    return files


def _of_dataset_dict(folder: Path, wanted: str) -> FolderFiles:
    """Return the files of one split of a `DatasetDict` that `save_to_disk` wrote."""
    splits = {child.name: child for child in sorted(folder.iterdir()) if (child / "state.json").is_file()}
    chosen = next((name for name in splits if name == wanted or _SPLITS.get(name) == wanted), "")
    others = {name: [f"{name}/"] for name in splits if name != chosen}
    if not chosen:
        raise _no_split(folder, wanted, others)
    found = FolderFiles(_arrow_files(splits[chosen]))
    _note_splits(found, folder, others)
    return found


def _of_subfolders(folder: Path, wanted: str) -> FolderFiles:
    """Return the files of `data/` or of the folder of the split, in a folder that has no data files itself."""
    children = {child.name.lower(): child for child in folder.iterdir() if child.is_dir()}
    splits = {name: child for name, child in children.items() if name in _SPLITS}
    if not splits and "data" in children:
        return training_files(children["data"], wanted)
    found = FolderFiles()
    for name, child in splits.items():
        if _SPLITS[name] == wanted:
            found.files += [file for file in sorted(child.iterdir()) if file.is_file() and _has_rows(file)]
    others = {_SPLITS[name]: [f"{name}/"] for name in splits if _SPLITS[name] != wanted}
    if found.files:
        _note_splits(found, folder, others)
    elif others:
        raise _no_split(folder, wanted, others)
    return found
