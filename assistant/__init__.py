"""Questions to cited answers: search, models, answers, conversations and evaluation."""

import lazy_loader

# the public names are listed in __init__.pyi; a module is loaded when one of its names is first used
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
