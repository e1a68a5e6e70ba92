"""What a model is taught: the loop knows steps, adapters and checkpoints, this knows examples."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from ablate2tune.models import Studied
from ablate2tune.train.memory.memory_estimate import MemoryEstimate
from ablate2tune.train.train_config import TrainConfig

VALIDATION_ROWS = 8
"""Rows of a validation's forward pass at least: without a graph they need little memory."""


class Lessons(ABC):
    """Examples of one kind, what each step sees of them, their loss, and what judges a run.

    Everything is a function of (seed, step), for the whole batch: processes take parts of it.
    """

    @property
    @abstractmethod
    def studied(self) -> Studied:
        """What is taught."""

    @abstractmethod
    def open(self, config: TrainConfig, seed: int, accelerator: Accelerator, folder: Path) -> None:
        """Make the examples ready; called once, by every process, before anything else.

        Args:
            config: of the run.
            seed: fixes order, captions and noise.
            accelerator: its main process alone writes.
            folder: of the run.

        Raises:
            UserError: examples do not fit the model, or cannot be kept.
        """

    @property
    @abstractmethod
    def data(self) -> str:
        """Hash of all examples."""

    @abstractmethod
    def run(self, step: int) -> None:
        """Run the model on the batch of a step, for methods that look at activations first."""

    @abstractmethod
    def backward(self, step: int, optimizer: torch.optim.Optimizer) -> Tensor:
        """This process's share of the step's loss, and the gradients of that alone."""

    @abstractmethod
    def forward(self, step: int) -> None:
        """The loss of a step's whole batch as `backward` computes it, without gradients."""

    @abstractmethod
    def validate(self) -> dict[str, Any]:
        """What held-out examples say, as log.jsonl holds it: `as_trained` and `mean` at least."""

    @abstractmethod
    def memory(self) -> MemoryEstimate:
        """What a step will hold in one process, by a look at one example; the adapter is on."""

    @abstractmethod
    def look(self, rows: int) -> Tensor:
        """The loss of so many rows like a step's, a scalar with a graph, to see what it costs."""

    @property
    @abstractmethod
    def rows_each(self) -> float:
        """Rows forward and back that a step takes for each of its examples, in the mean."""

    @abstractmethod
    def costs(self, memory: MemoryEstimate) -> Iterator[str | None]:
        """Lines about the memory that a step takes, and what a run does beside its steps."""

    @abstractmethod
    def show(self, step: int) -> Path | None:
        """Write what the model makes now, for people to look at; the file, if there is one."""
