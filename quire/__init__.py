"""The command `quire`, and the little that all packages share."""

import importlib

# module: its public names. Written out, since the command imports this package before it knows what is needed.
_PUBLIC = {
    "arguments": ("add_json_flag", "command_parser", "positive_int"),
    "cores": ("available_cores",),
    "errors": ("QuireError", "UsageError"),
    "files": ("sha256_of_file", "write_atomically"),
    "home": ("home_folder",),
    "installing": ("install_extra", "pip_install", "require_extra"),
    "settings": ("SECTIONS", "Setting", "resolve_settings"),
    "terminal": ("encodable", "exit_code", "one_line", "pluralize", "print_error", "print_json", "printable"),
}
_HOME = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
