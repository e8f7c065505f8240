"""From a finished run to a model that others load: merge, GGUF, parity check, Ollama, hub."""
