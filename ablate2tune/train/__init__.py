"""Training LoRA on the chosen modules of a model, and nowhere else."""

from ablate2tune.train.lessons.text_lessons import TextLessons
from ablate2tune.train.training_loop import TrainSummary, teach, train

__all__ = ["TextLessons", "TrainSummary", "teach", "train"]
