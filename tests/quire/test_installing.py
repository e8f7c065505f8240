import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from quire import install_extra, pip_install

ROOT = Path(__file__).parent.parent.parent


def line_of(*, cwd: Path, site: Path) -> str:
    """What `install_extra("app")` says in a process that finds the packages in `site` first."""
    code = "from quire.installing import install_extra; print(install_extra('app'))"
    environ = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=environ, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def installed_at(folder: Path, url: str, *, editable: bool = False) -> Path:
    """A folder of packages as pip leaves it, with the record of where quire was installed from."""
    (folder / "quire").mkdir(parents=True)
    (folder / "quire" / "__init__.py").touch()
    text = (ROOT / "quire" / "installing.py").read_text(encoding="utf-8")
    (folder / "quire" / "installing.py").write_text(text, encoding="utf-8")
    about = folder / "quire-0.1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: quire\nVersion: 0.1.0\n", encoding="utf-8")
    if url:
        (about / "direct_url.json").write_text(json.dumps({"url": url, "dir_info": {}}), encoding="utf-8")
    return folder


def test_in_a_clone_the_line_installs_that_clone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(ROOT)
    assert install_extra("app") == pip_install("-e '.[app]'")
    monkeypatch.chdir(ROOT.parent)
    assert install_extra("app").endswith(f" -m pip install -e './{ROOT.name}[app]'")
    monkeypatch.chdir(tmp_path)
    assert install_extra("app").endswith(f" -m pip install -e '{ROOT}[app]'")


def test_the_line_names_the_python_that_runs_as_it_can_be_typed_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(sys.executable).parent.parent)
    assert pip_install("x") == f"bin/{Path(sys.executable).name} -m pip install x"
    monkeypatch.chdir("/")
    assert (Path("/") / pip_install("x").split()[0]).samefile(sys.executable)


@pytest.mark.parametrize(
    ("url", "source"),
    [
        ("file:///home/a%20b/quire-0.1.0-py3-none-any.whl", "/home/a b/quire-0.1.0-py3-none-any.whl"),
        ("file:///home/me/quire", "/home/me/quire"),
        ("", "quire"),
    ],
)
def test_an_installed_copy_names_what_it_came_from(tmp_path: Path, url: str, source: str) -> None:
    line = line_of(cwd=tmp_path, site=installed_at(tmp_path / "site", url))
    assert line.endswith(f" -m pip install '{source}[app]'")


def test_no_hint_of_any_package_names_quire_on_an_index() -> None:
    bare = re.compile(r"""pip install ["']?quire""")
    files = [f for p in ("quire", "ingest", "assistant", "finetune", "streamlit_app") for f in (ROOT / p).rglob("*.py")]
    assert len(files) > 100
    assert [str(file) for file in files if bare.search(file.read_text(encoding="utf-8"))] == []
