from .config import TrainConfig as TrainConfig
from .errors import FinetuneError as FinetuneError
