"""The home folder is where QUIRE_HOME says."""

from pathlib import Path

import pytest

from quire import home_folder


def test_the_home_folder_is_the_one_in_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("QUIRE_HOME", str(tmp_path))
    assert home_folder() == tmp_path
