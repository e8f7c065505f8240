from pathlib import Path

import pytest

from ingest.config import IngestConfig, load_config
from quire import UsageError


def load(tmp_path: Path, toml: str = "", **environ: str):
    (tmp_path / "quire.toml").write_text(toml, encoding="utf-8")
    return load_config(environ={"QUIRE_HOME": str(tmp_path / "home"), **environ}, folder=tmp_path)


def test_each_source_of_settings_outranks_the_one_before_it(tmp_path: Path) -> None:
    toml = '[ingest]\nlibrary = "from-file"\nchunk_size = 700\ntenant = "from-file"\n'
    (tmp_path / "quire.toml").write_text(toml)
    environ = {
        "QUIRE_HOME": str(tmp_path),
        "QUIRE_LIBRARY": "from-environment",
        "QUIRE_TENANT": "from-environment",
    }
    config, settings = load_config(flags={"library": "from-flag", "tenant": None}, environ=environ, folder=tmp_path)
    assert (config.library, config.tenant, config.chunk_size) == ("from-flag", "from-environment", 700)
    origins = {s.name: s.origin for s in settings}
    assert origins["library"] == "flag"
    assert origins["tenant"] == "QUIRE_TENANT"
    assert origins["chunk_size"] == str(tmp_path / "quire.toml")
    assert origins["jobs"] == "default"


def test_quire_toml_of_the_home_folder_counts_where_the_working_folder_has_none(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "quire.toml").write_text("[ingest]\njobs = 3\n")
    config, _ = load_config(environ={"QUIRE_HOME": str(tmp_path / "home")}, folder=tmp_path)
    assert config.jobs == 3


def test_a_weaviate_address_alone_selects_weaviate(tmp_path: Path) -> None:
    assert load(tmp_path, WEAVIATE_URL="http://127.0.0.1:8080")[0].store == "weaviate"


def test_the_store_setting_outranks_a_weaviate_address(tmp_path: Path) -> None:
    assert load(tmp_path, WEAVIATE_URL="http://127.0.0.1:8080", QUIRE_STORE="sqlite")[0].store == "sqlite"


@pytest.mark.parametrize(
    ("toml", "fix"),
    [
        ("[ingest]\nlibary = 'x'\n", "known: .*library"),
        ("[ingest]\njobs = 'many'\n", "a whole number"),
        ("[ingest]\nchunk_size = 500.5\n", "a whole number"),
        ("[ingest]\nchunk_size = true\n", "a whole number"),
        ("[ingest]\nlibrary = ['a']\n", "a text"),
        ("[ingest]\njobs = -1\n", "one parser process per core"),
        ("[ingest]\nparse_seconds = 0\n", "at least 1 second"),
        ("[ingest]\nlink_seconds = nan\n", "at least 1 second"),
        ("[ingest]\nlink_seconds = inf\n", "at least 1 second"),
        ("[ingest]\nparse_pages = -1\n", "at least 1 page"),
        ("[ingst]\njobs = 1\n", r"\[ingest\]"),
        ("jobs = 1\n", r"\[ingest\]"),
        ("ingest = 3\n", r"\[ingest\]"),
        ("[ingest\n", "fix the file"),
        ("[ingest]\nstore = 'oracle'\n", "sqlite, weaviate"),
    ],
)
def test_a_wrong_settings_file_is_refused_with_the_fix(tmp_path: Path, toml: str, fix: str) -> None:
    with pytest.raises(UsageError, match=fix):
        load(tmp_path, toml)


def test_an_overlap_as_large_as_the_chunk_is_refused() -> None:
    with pytest.raises(UsageError, match="smaller than the size"):
        IngestConfig(chunk_size=100, chunk_overlap=100)


def test_a_home_folder_of_nobody_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="QUIRE_HOME is '~nobody-of-that-name'"):
        load_config(environ={"QUIRE_HOME": "~nobody-of-that-name"}, folder=tmp_path)


def test_an_invalid_value_is_named_with_the_place_it_was_set_in(tmp_path):
    from assistant.config import load_config as load_assistant_config
    from quire import UsageError as AssistantUsageError

    path = tmp_path / "quire.toml"
    path.write_text("[ingest]\nchunk_size = 3\n[assistant]\ntemperature = 9\n")
    with pytest.raises(UsageError, match=r"quire.toml: chunk_size is 3 .*at least 50"):
        load_config(environ={"QUIRE_HOME": str(tmp_path)}, folder=tmp_path)
    with pytest.raises(AssistantUsageError, match=r"quire.toml: temperature is 9.0 .*from 0 to 1"):
        load_assistant_config(environ={"QUIRE_HOME": str(tmp_path)}, folder=tmp_path)
    with pytest.raises(UsageError, match=r"^QUIRE_STORE: store is 'x'"):
        load_config(environ={"QUIRE_HOME": str(tmp_path / "h"), "QUIRE_STORE": "x"}, folder=tmp_path / "h")
    with pytest.raises(UsageError, match=r"^chunk_size is 4 "):
        load_config(environ={"QUIRE_HOME": str(tmp_path)}, folder=tmp_path, flags={"chunk_size": 4})


def test_a_working_folder_that_is_gone_holds_no_settings(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    config, _ = load_config(environ={"QUIRE_HOME": str(tmp_path)})
    assert config.home == tmp_path
