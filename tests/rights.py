"""Runs a command as someone whom the permissions of files bind: the superuser is bound once its capabilities are gone."""

import os
import shutil

import pytest


def bound() -> list[str]:
    """Return the words that go before a command so that permissions bind it; skips the test where that cannot be."""
    if os.geteuid() != 0:
        return []
    if not shutil.which("setpriv"):
        pytest.skip("the superuser may write anything, and setpriv is not there: run as another user")
    return ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]
