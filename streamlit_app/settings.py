"""Settings of the web page: address, password, upload limit, and the texts that it shows."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quire import Setting, UsageError, resolve_settings

_MIN_PASSWORD_CHARACTERS = 8

_PRIVACY = """quire stores everything in one folder on the machine it runs on, and sends nothing anywhere on its own.
Data leaves that machine only when you ask for it: quire fetches the links you paste, and sends questions with their passages to a model that runs elsewhere if you choose one."""


@dataclass(frozen=True)
class AppConfig:
    """Settings of the page; values only."""

    title: str = "quire"  # of the browser tab and above the sign-in form
    address: str = "127.0.0.1"  # interface the page listens on
    port: int = 8501  # TCP port
    password: str = ""  # for signing in; required unless `address` is loopback
    origins: str = ""  # public URLs of the page, separated by spaces: https://quire.example
    upload_megabytes: int = 200  # size limit of one file
    disclaimer: str = "Answers can be wrong. Check them on the cited page."  # shown below every conversation
    privacy: str = _PRIVACY  # first paragraphs of the privacy view

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65_535:
            raise UsageError(f"port is {self.port}", "use 1 to 65535")
        if not 1 <= self.upload_megabytes <= 10_000:
            raise UsageError(f"upload_megabytes is {self.upload_megabytes}", "use 1 to 10000")
        for origin in self.allowed_origins:
            if not origin.startswith(("http://", "https://")):
                raise UsageError(f"{origin!r} in origins is not a URL", "write https://NAME or http://NAME:PORT")
        if self.password and len(self.password) < _MIN_PASSWORD_CHARACTERS:
            raise UsageError(
                f"the page's password has {len(self.password)} characters", f"use at least {_MIN_PASSWORD_CHARACTERS}"
            )

    @property
    def allowed_origins(self) -> tuple[str, ...]:
        """Return the origins that may connect to the page, besides this machine."""
        return tuple(self.origins.split())


ENVIRONMENT: dict[str, tuple[str, ...]] = {
    "address": ("QUIRE_APP_ADDRESS",),
    "port": ("QUIRE_APP_PORT",),
    "password": ("QUIRE_APP_PASSWORD",),
    "origins": ("QUIRE_APP_ORIGINS",),
}


def load_config(
    *, flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None, folder: Path | None = None
) -> tuple[AppConfig, list[Setting]]:
    """Return the effective settings and where each came from: default, section [app] of quire.toml, environment, flag."""
    config, settings = resolve_settings(
        AppConfig, ENVIRONMENT, section="app", flags=flags, environ=environ, folder=folder
    )
    return config, settings


def is_loopback(address: str | None) -> bool:
    """Return whether an address to listen on is reachable from this machine only; None means every interface."""
    if not address:
        return False
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return False


def check_password_set(config: AppConfig, address: str | None) -> None:
    """Raise UsageError if the page would be reachable over the network without a password."""
    if not is_loopback(address) and not config.password:
        raise UsageError(
            f"the page would listen on {address or 'every interface'}, and no password is set",
            "set QUIRE_APP_PASSWORD, or listen on 127.0.0.1",
        )
