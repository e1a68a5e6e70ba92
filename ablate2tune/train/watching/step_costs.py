"""What a step costs: foretold by a look at a few rows before the first, and told after the last."""

import math
import time
from collections.abc import Callable, Iterable
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ablate2tune.train.lessons.lessons import Lessons
from ablate2tune.train.memory.memory_estimate import MemoryEstimate
from ablate2tune.train.train_config import TrainConfig

SCHEMA = "ablate2tune/train-costs/1"
LOOKED_AT = 4
"""Rows that the look takes at most."""
BRIEF, REPEATS = 0.5, 3
"""What is done within so many seconds is timed again, so often in all."""


class Foretold(NamedTuple):
    """What a run is thought to cost."""

    memory: MemoryEstimate
    seconds: float | None
    """Of a step; None where the rows that were looked at did not fit into memory."""
    threads: int | None = None
    """That compute it on the CPU; None elsewhere."""

    def line(self, steps: int) -> str | None:
        """Seconds of a step and minutes of all, in a line; None where they are not known.

        >>> Foretold(MemoryEstimate(0, 0, 0, 1), 0.5).line(400)
        'time: about 0.5 s a step, 3.3 min for 400 steps'
        >>> Foretold(MemoryEstimate(0, 0, 0, 1), 0.5, threads=1).line(400)
        'time: about 0.5 s a step, 3.3 min for 400 steps, on 1 thread'
        """
        if self.seconds is None:
            return None
        minutes = self.seconds * steps / 60
        on = f", on {self.threads} thread{'s' * (self.threads > 1)}" if self.threads else ""
        return f"time: about {self.seconds:.2g} s a step, {minutes:.2g} min for {steps} steps{on}"

    def beside(self, seconds: float, peak_gb: float) -> str:
        """What it was, beside what had been told.

        >>> Foretold(MemoryEstimate(2 * 10**9, 0, 0, 1), 0.5).beside(0.612, 2.34)
        'a step took 0.61 s (0.5 were foretold), memory peaked at 2.3 GB (2)'
        """
        told = "" if self.seconds is None else f" ({self.seconds:.2g} were foretold)"
        return (
            f"a step took {seconds:.2g} s{told}, memory peaked at {peak_gb:.2g} GB "
            f"({self.memory.total / 1e9:.2g})"
        )

    def row(self, steps: int, seconds: float, peak_gb: float) -> dict[str, Any]:
        """Both, as costs.json holds them."""
        told = {"seconds_per_step": self.seconds, "memory_gb": self.memory.total / 1e9}
        found = {"seconds_per_step": seconds, "memory_gb": peak_gb}
        threads = {} if self.threads is None else {"threads": self.threads}
        return {"schema": SCHEMA, "steps": steps, **threads, "foretold": told, "measured": found}


def foretell(
    lessons: Lessons, trained: Iterable[Tensor], config: TrainConfig, processes: int
) -> Foretold:
    """What a step will hold, and how long it will take; weights and gradients stay as they are.

    Args:
        lessons: opened, and the model with its adapter on.
        trained: what gradients are taken of.
        config: of the run.
        processes: among which a step is divided.
    """
    pictures = math.ceil(config.batch_size / processes)
    seconds = predict_seconds(
        lessons.look, [*trained], pictures, config.at_once(processes), lessons.rows_each
    )
    on_cpu = lessons.studied.device.type == "cpu"
    return Foretold(lessons.memory(), seconds, torch.get_num_threads() if on_cpu else None)


def predict_seconds(
    loss: Callable[[int], Tensor],
    trained: list[Tensor],
    pictures: int,
    at_once: int,
    rows_each: float = 1.0,
) -> float | None:
    """Seconds of a step's forward and backward passes, by those of one row and of a few.

    A pass has a cost of its own and one for each row. Random states, weights and gradients stay as
    they are.

    Args:
        loss: of so many rows, a scalar.
        trained: what gradients are taken of.
        pictures: of a step, in one process.
        at_once: of them in one pass.
        rows_each: rows that a picture takes, in the mean.

    Returns:
        None where so few rows do not fit into memory.
    """
    most = max(1, min(LOOKED_AT, round(at_once * rows_each)))
    device = trained[0].device
    on_card = device.type == "cuda"

    def run(rows: int) -> float:
        start = time.perf_counter()
        with torch.enable_grad():
            torch.autograd.grad(loss(rows), trained, allow_unused=True)
        if on_card:
            torch.cuda.synchronize(device)
        return time.perf_counter() - start

    def timed(rows: int) -> float:
        seconds = [run(rows)]
        while len(seconds) < REPEATS and sum(seconds) < BRIEF:
            seconds.append(run(rows))
        return median(seconds)

    try:
        with torch.random.fork_rng([device] if on_card else []):
            run(1)  # the first one is slower
            one = timed(1)
            many = timed(most) if most > 1 else one
    except torch.OutOfMemoryError:
        return None
    each = one if most == 1 else min(max(many - one, 0.0) / (most - 1), many / most)
    passes = math.ceil(pictures / at_once)
    return passes * (many - most * each) + pictures * rows_each * each
