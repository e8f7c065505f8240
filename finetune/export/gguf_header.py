"""The keys of a GGUF file, read back: for the parity check, and to learn how its weights are stored."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune.errors import UnsupportedModel
from finetune.export.gguf import FILE_TYPE

_OLLAMA_FILE_TYPE = {"Q4_K_S": 14, "Q4_K_M": 15}  # types that Ollama makes


@dataclass(frozen=True, slots=True)
class Header:
    """The keys of a GGUF file with their values."""

    keys: dict[str, Any]

    def get(self, key: str, default: Any = None) -> Any:
        """Return a key's value; `{arch}` in the key stands for the file's architecture."""
        return self.keys.get(key.replace("{arch}", str(self.keys.get("general.architecture"))), default)


def read_header(path: Path) -> Header:
    """Return the keys of a GGUF file, arrays as lists; raises UnsupportedModel for any other file."""
    from gguf import GGUFReader

    try:
        reader = GGUFReader(path)
    except (OSError, ValueError) as exc:
        raise UnsupportedModel(
            f"{path} cannot be read as GGUF: {exc}", "write it again with `quire finetune gguf`"
        ) from exc
    return Header({name: field.contents() for name, field in reader.fields.items()})


def onto_of(path: Path) -> str:
    """Return what the adapter in a GGUF file was merged into, as `merge.json` spells it; files of older versions lack it."""
    return str(read_header(path).get("quire.onto", "dequantised"))


def kind_of(path: Path) -> str:
    """Return the type in which a GGUF file stores its matrices; raises UnsupportedModel for one without parity limits."""
    number = read_header(path).get("general.file_type", FILE_TYPE["F16"])
    names = {value: name for name, value in (FILE_TYPE | _OLLAMA_FILE_TYPE).items()}
    if number not in names:
        raise UnsupportedModel(
            f"{path} is stored as GGUF file type {number}", f"supported: {', '.join(names.values())}"
        )
    return names[number]
