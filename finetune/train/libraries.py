"""The libraries that training needs: whether they are installed, and how much they print."""

import importlib.util
import logging
import sys
import warnings

from finetune.errors import MissingLibrary
from quire import pip_install, require_extra


def require_libraries() -> None:
    """Raise MissingLibrary, with the install command, when a training library is not installed."""
    require_extra("finetune", "torch", "transformers", "peft", "trl", purpose="training", error=MissingLibrary)


def require_trackers(trackers: tuple[str, ...]) -> None:
    """Raise MissingLibrary for a tracker whose library is not installed."""
    for tracker in trackers:
        if importlib.util.find_spec(tracker) is None:
            raise MissingLibrary(f"the tracker {tracker} is not installed here", pip_install(tracker))


def require_kernels() -> None:
    """Raise MissingLibrary without a version of the package `kernels` that transformers can use."""
    from transformers.utils import is_kernels_available

    if not is_kernels_available():
        raise MissingLibrary(
            "use_kernels needs the package kernels, which is not installed here", pip_install("kernels")
        )


def quiet_libraries() -> None:
    """Silence warnings that only developers can act on; without a terminal, progress bars too."""
    renamed = r"`(is_)?gradient_checkpointing(_enable|_disable)?` is deprecated"
    warnings.filterwarnings("ignore", message=renamed, category=FutureWarning)
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)  # suggests an optional faster kernel
    for name in ("trainer_utils", "tokenization_utils_base", "generation.stopping_criteria"):
        logging.getLogger(f"transformers.{name}").setLevel(logging.ERROR)  # file times, and lengths that we count
    if sys.stderr.isatty():
        return
    import datasets
    import transformers

    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
