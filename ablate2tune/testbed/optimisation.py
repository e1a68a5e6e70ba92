"""What the testbed's four trainings share: the learning rate and the resumable loop."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from ablate2tune.disk.state_file import load_state, optimizer_tensors, restore_optimizer, save_state
from ablate2tune.files import append_jsonl
from ablate2tune.progress import Progress
from ablate2tune.testbed.testbed_recipe import PartConfig

Parts = Sequence[Callable[[], Tensor]]
"""The losses of a step's micro-batches, to be computed and averaged."""
Graphed = Callable[[], Tensor]
"""Sets the parameters' gradients by itself, as `GraphedGradients` does, and gives the loss."""
Gradients = tuple[Tensor | None, ...]
OPTIMIZER = "optimizer0"
"""Prefix of its tensors in the state."""


def learning_rate(step: int, config: PartConfig) -> float:
    """Warm-up, plateau, linear decay to zero, in each of equally long cycles.

    The plateau does not depend on the number of steps, so a longer run can be shortened, or a
    shorter one prolonged, before the decay begins.
    """
    length = config.steps / config.cycles
    place = step % length
    decay_steps = config.decay * length
    rising = min(1.0, (place + 1) / config.warmup)
    falling = min(1.0, (length - place) / decay_steps) if decay_steps else 1.0
    return config.learning_rate * rising * falling


def resumable_training(
    name: str,
    module: nn.Module,
    parts_at: Callable[[int], Parts | Graphed],
    config: PartConfig,
    work: Path,
    on_progress: Progress | None = None,
    *,
    ema: tuple[nn.Module, float] | None = None,
    betas: tuple[float, float] = (0.9, 0.999),
    weight_decay: float = 0.0,
) -> None:
    """Train until `config.steps`, resuming from `work/NAME.safetensors` if it is there.

    Args:
        name: names the state and the log.
        module: is trained by AdamW, and frozen in the end.
        parts_at: the losses of a step's micro-batches, or what sets the gradients by itself;
            everything random in them is a function of the step. Several micro-batches are
            computed side by side, one thread each.
        config: steps and rates.
        work: folder of the state and of the log.
        on_progress: called with (step, steps).
        ema: a copy of the module that holds the running average, and its decay.
        betas: AdamW's.
        weight_decay: AdamW's.
    """
    state_path, log_path = work / f"{name}.safetensors", work / f"{name}.jsonl"
    averaged, decay = ema or (None, 0.0)
    held = {"module": module} | ({"ema": averaged} if averaged is not None else {})
    parameters = list(module.requires_grad_(True).train().parameters())
    device = parameters[0].device
    optimizer = torch.optim.AdamW(
        parameters,
        lr=config.learning_rate,
        betas=betas,
        weight_decay=weight_decay,
        fused=True if device.type == "cuda" else None,
    )
    start = 0
    if state_path.exists():
        tensors, counters = load_state(state_path)
        start = counters["step"]
        for part, holder in held.items():
            own = [key for key in tensors if key.startswith(f"{part}.")]
            holder.load_state_dict({key.removeprefix(f"{part}."): tensors[key] for key in own})
        restore_optimizer(optimizer, tensors, OPTIMIZER)

    began = time.perf_counter()
    for step in range(start, config.steps):
        optimizer.param_groups[0]["lr"] = learning_rate(step, config)
        parts = parts_at(step)
        loss = parts() if callable(parts) else accumulate_gradients(parts, parameters)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if averaged is not None:
            _update_average(averaged, module, min(decay, (1 + step) / (10 + step)))
        done = step + 1
        if done % config.checkpoint_every == 0 or done == config.steps:
            tensors = {
                f"{part}.{key}": value
                for part, holder in held.items()
                for key, value in holder.state_dict().items()
            }
            tensors |= optimizer_tensors(optimizer, OPTIMIZER)
            save_state(state_path, tensors, {"step": done})
            seconds = round(time.perf_counter() - began, 1)
            told = {"step": done, "loss": float(loss), "seconds": seconds}
            if device.type == "cuda":
                told["device"] = torch.cuda.get_device_name(device)
            append_jsonl(log_path, [told])
        if on_progress:
            on_progress(done, config.steps)
    module.requires_grad_(False).eval()


class GraphedGradients:
    """A loss and its gradients as one CUDA graph, for models so small that launches take longest.

    Args:
        loss: of tensors whose shapes are the same at every call; it must not synchronise.
        parameters: get the gradients, which the next call overwrites.
    """

    def __init__(self, loss: Callable[..., Tensor], parameters: Sequence[nn.Parameter]) -> None:
        self.of, self.parameters = loss, parameters
        self.inputs: tuple[Tensor, ...] = ()

    def __call__(self, *inputs: Tensor) -> Tensor:
        """The loss, on the device; inputs may lie in pinned memory."""
        if not self.inputs:
            self._capture(inputs)
        for held, new in zip(self.inputs, inputs, strict=True):
            held.copy_(new, non_blocking=True)
        self.graph.replay()
        for parameter, gradient in zip(self.parameters, self.gradients, strict=True):
            parameter.grad = gradient
        return self.loss

    def _capture(self, inputs: Sequence[Tensor]) -> None:
        device = self.parameters[0].device
        self.inputs = tuple(x.to(device, copy=True) for x in inputs)
        self.graph, aside = torch.cuda.CUDAGraph(), torch.cuda.Stream(device)
        aside.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(aside):
            for _ in range(3):  # as PyTorch's notes on CUDA graphs warm up
                self._compute()
        torch.cuda.current_stream(device).wait_stream(aside)
        # Other threads may be pinning memory, at which a capture of mode "global" can fail.
        with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):
            self.loss, self.gradients = self._compute()

    def _compute(self) -> tuple[Tensor, Gradients]:
        loss = self.of(*self.inputs)
        return loss.detach(), torch.autograd.grad(loss, self.parameters, allow_unused=True)


def accumulate_gradients(parts: Parts, parameters: Sequence[nn.Parameter]) -> float:
    """Set the parameters' gradients to those of the parts' mean loss, and return that loss.

    The sum is taken in the order of the parts, whichever is ready first.
    """

    def gradients(part: Callable[[], Tensor]) -> tuple[float, Gradients]:
        loss = part()
        return loss.item(), torch.autograd.grad(loss, parameters, allow_unused=True)

    with _one_thread_each(len(parts)) as pool:
        results = list(pool.map(gradients, parts)) if pool else [gradients(parts[0])]
    for index, parameter in enumerate(parameters):
        shares = [result[1][index] for result in results]
        known = [share for share in shares if share is not None]
        parameter.grad = sum(known[1:], known[0]) / len(parts) if known else None
    return sum(result[0] for result in results) / len(parts)


@contextmanager
def _one_thread_each(parts: int) -> Iterator[ThreadPoolExecutor | None]:
    if parts == 1:
        yield None
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(min(parts, os.cpu_count() or 1)) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)


@torch.no_grad()
def _update_average(averaged: nn.Module, module: nn.Module, decay: float) -> None:
    torch._foreach_lerp_(list(averaged.parameters()), list(module.parameters()), 1 - decay)
