"""Fine-tuning: a short loop in plain torch. `train` takes a subject and returns a new one."""

from tiku.training.loop import train
from tiku.training.options import TrainOptions

__all__ = ["TrainOptions", "train"]
