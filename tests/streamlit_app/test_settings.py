"""The page's settings: ranges, origins, and no page on the network without a password."""

from __future__ import annotations

import pytest

from quire import UsageError
from streamlit_app.settings import AppConfig, check_password_set, is_loopback, load_config


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("localhost", True),
        ("::1", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.5", False),
        ("localhost.evil.example", False),
        ("", False),
        (None, False),
    ],
)
def test_only_loopback_needs_no_password(address: str | None, local: bool) -> None:
    assert is_loopback(address) is local
    if local:
        check_password_set(AppConfig(), address)
    else:
        with pytest.raises(UsageError, match="QUIRE_APP_PASSWORD"):
            check_password_set(AppConfig(), address)
    check_password_set(AppConfig(password="long enough"), address)


def test_invalid_settings_are_refused_with_a_hint() -> None:
    with pytest.raises(UsageError, match="at least 8"):
        AppConfig(password="short")
    with pytest.raises(UsageError, match="1 to 65535"):
        AppConfig(port=0)
    with pytest.raises(UsageError, match="write https://NAME"):
        AppConfig(origins="https://quire.example quire.example")
    assert AppConfig(origins="https://a.example http://b:8").allowed_origins == ("https://a.example", "http://b:8")
    with pytest.raises(UsageError, match="1 to 10000"):
        AppConfig(upload_megabytes=0)


def test_flags_outrank_environment_and_environment_the_file(tmp_path) -> None:
    (tmp_path / "quire.toml").write_text('[app]\nport = 9001\naddress = "127.0.0.2"\ntitle = "Archive"\n')
    environ = {"QUIRE_HOME": str(tmp_path), "QUIRE_APP_PORT": "9002"}
    config, settings = load_config(environ=environ, folder=tmp_path)
    assert (config.port, config.address, config.title) == (9002, "127.0.0.2", "Archive")
    config, settings = load_config(environ=environ, folder=tmp_path, flags={"port": 9003, "address": None})
    assert (config.port, config.address) == (9003, "127.0.0.2")
    assert {s.name: s.origin for s in settings}["port"] == "flag"
