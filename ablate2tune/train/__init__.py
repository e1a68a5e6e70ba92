"""Training LoRA on the chosen modules of a denoiser, and nowhere else."""

from ablate2tune.train.training_loop import TrainSummary, train

__all__ = ["TrainSummary", "train"]
