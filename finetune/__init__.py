"""Fine-tuning on your data: SFT, preference training, evaluation, export to GGUF and Ollama."""

from quire.lazy import public_names

__getattr__, __dir__ = public_names(__name__)
