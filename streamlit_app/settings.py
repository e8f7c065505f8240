"""What the web page can be told beside what `ingest` and `assistant` can: address, password, upload limit, its own words."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quire import Setting, UsageError, resolve_settings

SHORTEST_PASSWORD = 8

_PRIVACY = """quire keeps everything in one folder of the machine it runs on, and sends nothing anywhere on its own.
What leaves that machine is what you ask for: the request for a link you paste, and questions with their passages when you choose a model that runs elsewhere."""


@dataclass(frozen=True)
class AppConfig:
    """Everything the page can be told; values only."""

    title: str = "quire"  # stands above the page
    address: str = "127.0.0.1"  # interface the page listens on
    port: int = 8501  # its port
    password: str = ""  # asked for at the door; must be set where `address` is not this machine's own
    origins: str = ""  # addresses browsers reach it at beyond this machine, separated by blanks: https://quire.example
    upload_megabytes: int = 200  # size one dropped file may have
    disclaimer: str = "Answers can be wrong. Check them on the cited page."  # stands under every conversation
    privacy: str = _PRIVACY  # first words of the privacy view

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65_535:
            raise UsageError(f"port is {self.port}", "use 1 to 65535")
        if not 1 <= self.upload_megabytes <= 10_000:
            raise UsageError(f"upload_megabytes is {self.upload_megabytes}", "use 1 to 10000")
        for origin in self.allowed_origins:
            if not origin.startswith(("http://", "https://")):
                raise UsageError(
                    f"{origin!r} among the page's origins is no address", "write https://NAME or http://NAME:PORT"
                )
        if self.password and len(self.password) < SHORTEST_PASSWORD:
            raise UsageError(
                f"the page's password has {len(self.password)} characters", f"use at least {SHORTEST_PASSWORD}"
            )

    @property
    def allowed_origins(self) -> tuple[str, ...]:
        """Return the addresses whose pages may open this page's socket beside this machine's own."""
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
    """Return the page's settings in force and their origins: defaults, section [app] of quire.toml, environment, flags."""
    config, settings = resolve_settings(
        AppConfig, ENVIRONMENT, section="app", flags=flags, environ=environ, folder=folder
    )
    return config, settings


def is_loopback(address: str | None) -> bool:
    """Say whether an address to listen on can be reached from this machine only; None means every interface."""
    if not address:
        return False
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return False


def check_door(config: AppConfig, address: str | None) -> None:
    """Raise UsageError where the page listens beyond this machine and no password is set."""
    if not is_loopback(address) and not config.password:
        raise UsageError(
            f"the page would listen on {address or 'every interface'}, and no password is set",
            "set QUIRE_APP_PASSWORD, or listen on 127.0.0.1",
        )
