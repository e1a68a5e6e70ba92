"""The training of a small GPT: resumes to the same weights, and says when it diverged."""

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ablate2tune import files
from ablate2tune.disk.state_file import (
    load_state,
    optimizer_tensors,
    restore_optimizer,
    save_state,
)
from ablate2tune.errors import DivergedError
from ablate2tune.progress import Progress
from ablate2tune.seeding import numpy_generator
from ablate2tune.small_gpt.byte_text import ByteText
from ablate2tune.small_gpt.gpt_config import GptConfig
from ablate2tune.small_gpt.gpt_model import SmallGpt, flops_per_byte, parameter_counts

STATE, LOG, RESULT = "state.safetensors", "log.jsonl", "result.json"
SCHEMA = "ablate2tune/small-gpt/1"
BETAS, CLIP, FLOOR = (0.9, 0.99), 1.0, 0.1
SAMPLE, PROMPT = 200, b"\n"
"""Bytes of the sample text, and what it begins with."""


def train_gpt(
    config: GptConfig, text: ByteText, seed: int, folder: Path, on_progress: Progress | None = None
) -> dict[str, Any]:
    """Train, and write log.jsonl and result.json below `folder`.

    Batches follow from (seed, step) alone, so that models of one seed see the same text.

    Returns:
        What result.json holds.

    Raises:
        DivergedError: a loss is not finite, or the last is above that of the bytes' frequencies.
    """
    model = SmallGpt(config, seed)
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": config.weight_decay},
         {"params": others, "weight_decay": 0.0}],
        lr=config.learning_rate, betas=BETAS,
    )  # fmt: skip
    windows = _windows(text.validation, config)
    start, curve = 0, [[0, _loss(model, windows)]]
    if (folder / STATE).exists():
        tensors, counters = load_state(folder / STATE)
        model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
        restore_optimizer(optimizer, tensors)
        start, curve = counters["step"], counters["curve"]
    files.write_jsonl(folder / LOG, files.read_jsonl(folder / LOG)[:start])
    rows: list[dict[str, Any]] = []
    for step in range(start, config.steps):
        began = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, config)
        loss = _step(model, optimizer, batch(text.training, config, seed, step))
        if not math.isfinite(loss):
            files.append_jsonl(folder / LOG, rows)
            raise DivergedError(
                f"the loss is not finite at step {step + 1}, at a rate of "
                f"{learning_rate(step, config):.2g}",
                where="gpt.learning_rate",
            )
        seconds = round(time.perf_counter() - began, 5)
        rows.append({"step": step + 1, "loss": loss, "seconds": seconds})
        done = step + 1
        if done % config.validate_every == 0 or done == config.steps:
            curve.append([done, _loss(model, windows)])
            rows[-1]["validation_loss"] = curve[-1][1]
            files.append_jsonl(folder / LOG, rows)
            rows = []
        if done % config.checkpoint_every == 0 or done == config.steps:
            files.append_jsonl(folder / LOG, rows)
            rows = []
            tensors = {f"model.{key}": value for key, value in model.state_dict().items()}
            counters = {"step": done, "curve": curve}
            save_state(folder / STATE, tensors | optimizer_tensors(optimizer), counters)
        if on_progress:
            on_progress(done, config.steps)
    final = curve[-1][1]
    if not final < text.unigram:
        raise DivergedError(
            f"the loss ends at {final:.2f}, above {text.unigram:.2f} of the bytes' frequencies",
            where="gpt.learning_rate",
        )
    result = _result(model, config, text, curve)
    files.write_json(folder / RESULT, result)
    return result


def learning_rate(step: int, config: GptConfig) -> float:
    """Linear warm-up, then a cosine down to a tenth."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    past = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.learning_rate * (FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * past)))


def batch(training: np.ndarray, config: GptConfig, seed: int, step: int) -> Tensor:
    """Random stretches of the text, int64 (batch, context + 1)."""
    draw = numpy_generator(seed, "gpt-batch", step)
    starts = draw.integers(0, len(training) - config.context, config.batch_size)
    rows = [training[start : start + config.context + 1] for start in starts]
    return torch.from_numpy(np.stack(rows).astype(np.int64))


def _windows(validation: np.ndarray, config: GptConfig) -> Tensor:
    last = len(validation) - config.context - 1
    starts = np.unique(np.linspace(0, last, config.validation_windows).astype(int))
    rows = [validation[start : start + config.context + 1] for start in starts]
    return torch.from_numpy(np.stack(rows).astype(np.int64))


def _mean_loss(model: SmallGpt, rows: Tensor) -> Tensor:
    logits = model(rows[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())


@torch.no_grad()
def _loss(model: SmallGpt, rows: Tensor) -> float:
    return float(_mean_loss(model, rows))


def _step(model: SmallGpt, optimizer: torch.optim.Optimizer, rows: Tensor) -> float:
    loss = _mean_loss(model, rows)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    optimizer.step()
    return float(loss.detach())


def _result(
    model: SmallGpt, config: GptConfig, text: ByteText, curve: list[list[Any]]
) -> dict[str, Any]:
    best = min(curve, key=lambda point: point[1])
    total, inner = parameter_counts(model)
    return {
        "schema": SCHEMA,
        "validation_loss": curve[-1][1],
        "best_loss": best[1],
        "best_step": best[0],
        "unigram_loss": text.unigram,
        "parameters": total,
        "parameters_outside_embeddings": inner,
        "kflops_per_byte": flops_per_byte(model, config) / 1e3,
        "width": config.width,
        "head_width": config.width // config.heads,
        "hidden_width": config.hidden,
        "bytes_seen": config.steps * config.batch_size * config.context,
        "curve": curve,
        "sample": sample(model, config),
    }


@torch.no_grad()
def sample(model: SmallGpt, config: GptConfig) -> str:
    """Text that the model writes: each byte drawn by its probability, always by the same draws."""
    draw = numpy_generator(0, "gpt-sample")
    ids = list(PROMPT)
    for _ in range(SAMPLE):
        window = torch.tensor([ids[-config.context :]])
        shares = model(window)[0, -1].double().softmax(-1).numpy()
        ids.append(int(np.searchsorted(np.cumsum(shares), draw.random()).clip(0, 255)))
    return bytes(ids[len(PROMPT) :]).decode("utf-8", errors="replace")
