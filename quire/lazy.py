"""The public names of a package: listed in its `__init__.pyi`, each loaded when it is first used."""

import importlib
import sys
from collections.abc import Callable


def public_names(package: str) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` for the `__init__.py` of a package.

    The list is read at the first use of a name, not at the import: `lazy_loader` reads it at the import, which costs a
    command that needs no name of the package 10 ms.
    """
    modules: dict[str, str] = {}  # public name: the module that defines it

    def names() -> dict[str, str]:
        if not modules:
            modules.update(_read_stub(package))
        return modules

    def get(name: str) -> object:
        if name == "__all__":
            return sorted(names())
        if name.startswith("__") or name not in names():
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{package}.{names()[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return get, lambda: sorted({*vars(sys.modules[package]), *names()})


def _read_stub(package: str) -> dict[str, str]:
    import re
    from pathlib import Path

    folder = Path(str(sys.modules[package].__file__)).parent
    text = (folder / "__init__.pyi").read_text(encoding="utf-8")
    return {name: module for module, name in re.findall(r"^from \.(\S+) import (\w+) as \2$", text, re.MULTILINE)}
