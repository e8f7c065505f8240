# training
from .train.stages import sft as sft
from .train.stages import dpo as dpo
from .config import TrainConfig as TrainConfig
from .train.any_model import load_model as load_model
from .train.load import load_run as load_run

# data
from .data.sources.loader import load_data as load_data
from .templates.messages import Message as Message

# evaluation
from .evaluate.score import score_pairs as score_pairs
from .evaluate.compare import compare_runs as compare_runs
from .train.generate import continue_text as continue_text
from .train.generate import generate as generate
from .train.sampling import Sampling as Sampling

# export
from .export.merge import merge as merge
from .export.handover import to_gguf as to_gguf
from .export.handover import to_ollama as to_ollama

# errors
from .errors import FinetuneError as FinetuneError
