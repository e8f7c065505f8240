"""How a GGUF file says that its weights are stored."""

from pathlib import Path

import pytest

from finetune.errors import UnsupportedModel
from finetune.export import gguf
from finetune.export.gguf_header import kind_of
from tests.finetune.export_home import Tuned


@pytest.mark.parametrize("kind", gguf.KINDS)
def test_a_file_names_its_type(tuned: Tuned, tmp_path: Path, kind: str) -> None:
    path = gguf.write_gguf(tuned.merged, tmp_path / "m.gguf", template=tuned.template, kind=kind)
    assert kind_of(path) == kind


def test_a_type_without_measured_limits_is_named(tuned: Tuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(gguf.FILE_TYPE, "F16", 17)
    path = gguf.write_gguf(tuned.merged, tmp_path / "m.gguf", template=tuned.template)
    monkeypatch.undo()
    with pytest.raises(UnsupportedModel, match="file type 17"):
        kind_of(path)
