"""The command `quire`, and the little that all packages share."""


def __getattr__(name: str) -> object:
    from quire.lazy import public_names  # here, because `quire --help` needs no public name

    globals()["__getattr__"], globals()["__dir__"] = public_names(__name__)
    return globals()["__getattr__"](name)
