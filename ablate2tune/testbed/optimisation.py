"""What the testbed's four trainings share: the learning rate and the resumable loop."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from ablate2tune.checkpoint import load_state, optimizer_tensors, restore_optimizer, save_state
from ablate2tune.progress import Progress
from ablate2tune.runs import append_jsonl
from ablate2tune.testbed.testbed_recipe import PartConfig

Parts = Sequence[Callable[[], Tensor]]
"""The losses of a step's micro-batches, to be computed and averaged."""
Gradients = tuple[Tensor | None, ...]


def learning_rate(step: int, config: PartConfig) -> float:
    """Warm-up, plateau, linear decay to zero.

    The plateau does not depend on the number of steps, so a longer run can be shortened, or a
    shorter one prolonged, before the decay begins.
    """
    decay_steps = config.decay * config.steps
    rising = min(1.0, (step + 1) / config.warmup)
    falling = min(1.0, (config.steps - step) / decay_steps) if decay_steps else 1.0
    return config.learning_rate * rising * falling


def resumable_training(
    name: str,
    module: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    parts_at: Callable[[int], Parts],
    config: PartConfig,
    work: Path,
    ema: tuple[nn.Module, float] | None = None,
    on_progress: Progress | None = None,
) -> None:
    """Train until `config.steps`, resuming from `work/NAME.safetensors` if it is there.

    Args:
        name: names the state and the log.
        module: what is trained, in train mode.
        optimizers: over the module's parameters.
        parts_at: the losses of a step's micro-batches; everything random in them is a function
            of the step. Several are computed side by side, one thread each.
        config: steps and rates.
        work: folder of the state and of the log.
        ema: a copy of the module that holds the running average, and its decay.
        on_progress: called with (step, steps).
    """
    state_path, log_path = work / f"{name}.safetensors", work / f"{name}.jsonl"
    averaged, decay = ema or (None, 0.0)

    def save(step: int) -> None:
        tensors = {f"module.{key}": value for key, value in module.state_dict().items()}
        if averaged is not None:
            tensors |= {f"ema.{key}": value for key, value in averaged.state_dict().items()}
        for index, optimizer in enumerate(optimizers):
            tensors |= optimizer_tensors(optimizer, f"optimizer{index}")
        save_state(state_path, tensors, {"step": step})

    start = 0
    if state_path.exists():
        tensors, counters = load_state(state_path)
        start = counters["step"]
        module.load_state_dict(_under("module.", tensors))
        if averaged is not None:
            averaged.load_state_dict(_under("ema.", tensors))
        for index, optimizer in enumerate(optimizers):
            restore_optimizer(optimizer, tensors, f"optimizer{index}")

    began = time.perf_counter()
    parameters = list(module.parameters())
    for step in range(start, config.steps):
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, config)
        loss = accumulate_gradients(parts_at(step), parameters)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        if averaged is not None:
            _update_average(averaged, module, min(decay, (1 + step) / (10 + step)))
        done = step + 1
        if done % config.checkpoint_every == 0 or done == config.steps:
            save(done)
            seconds = round(time.perf_counter() - began, 1)
            append_jsonl(log_path, [{"step": done, "loss": loss, "seconds": seconds}])
        if on_progress:
            on_progress(done, config.steps)


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


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)
    }
