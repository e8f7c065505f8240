"""The memory and the disk that an export needs, from the shape of a model, before anything loads."""

from typing import NamedTuple

from finetune.export.reference import CONTEXT, MAX_ANSWER_TOKENS, MAX_PROMPTS
from finetune.export.streamed import MAX_TOKENS
from finetune.train.architectures import Shape
from finetune.train.plan import NF4_BYTES

LIBRARIES_BYTES = 0.7 * 2**30  # Python, torch, transformers and llama.cpp; measured


class ExportNeeds(NamedTuple):
    """Bytes of memory that an export holds, without mapped files, and of free disk under QUIRE_HOME."""

    memory: float
    disk: float


def export_needs(shape: Shape, method: str) -> ExportNeeds:
    """Return what merge, GGUF in F16 and parity check of a run need.

    The trained model is the larger side of the check: its tables in fp32, one layer in fp32 (qlora: all layers in 4 bits),
    the activations of a batch, and two sets of log-probabilities.
    """
    layer = shape.linear_weights / shape.layers
    layers = shape.linear_weights * NF4_BYTES if method == "qlora" else layer * 4
    activations = MAX_TOKENS * 4 * (8 * shape.hidden + 3 * shape.intermediate)
    log_probs = 2 * MAX_PROMPTS * (CONTEXT + MAX_ANSWER_TOKENS) * shape.vocab * 4
    memory = LIBRARIES_BYTES + shape.table_weights * 4 + layers + activations + log_probs
    return ExportNeeds(memory, shape.parameters * (4.0 + 2.0))  # the merged folder in F32, and the file
