"""The wheel: what a person installs works outside the clone and holds what it needs."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    subprocess.run(["git", "clone", "-q", "--depth=1", f"file://{ROOT}", source], check=True)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, source],
        check=True,
        capture_output=True,
    )
    [built] = folder.glob("*.whl")
    return built


def test_the_wheel_holds_the_packages_and_their_data_and_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"quire", "ingest", "assistant", "finetune", "streamlit_app"}
    assert any(name.endswith("LICENSE") for name in names)
    assert [name for name in names if name.startswith("finetune/recipes/") and name.endswith(".toml")]


def test_an_installed_wheel_ingests_and_answers_outside_the_clone(wheel: Path, tmp_path: Path) -> None:
    from tests.documents import write_facts

    target = tmp_path / "site"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", target, wheel], check=True)
    write_facts(tmp_path / "pdfs")
    environ = {**os.environ, "PYTHONPATH": str(target), "QUIRE_HOME": str(tmp_path / "home"), "QUIRE_MODEL": "quotes"}

    def quire(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [target / "bin" / "quire", *words], cwd=tmp_path, env=environ, capture_output=True, text=True
        )

    done = quire("ingest", "pdfs")
    assert done.returncode == 0, done.stderr
    done = quire("ask", "How much does the heart of a blue whale weigh?")
    assert done.returncode == 0, done.stderr
    assert "180 kilograms" in done.stdout
    assert "whales.pdf" in done.stdout
