from .config import TrainConfig as TrainConfig
from .errors import FinetuneError as FinetuneError
from .evaluate.compare import compare_runs as compare_runs
from .evaluate.score import score_pairs as score_pairs
from .train.generate import generate as generate
from .train.load import load_run as load_run
from .train.stages import dpo as dpo
from .train.stages import sft as sft
