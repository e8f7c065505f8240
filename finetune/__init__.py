"""A data set to a model tag: data, templates, training, export."""

import lazy_loader

# the public names stand in __init__.pyi, each with the module that is loaded when it is first used
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
