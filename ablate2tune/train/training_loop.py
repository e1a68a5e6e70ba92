"""The training loop: a frozen denoiser, LoRA on the chosen modules, flow matching.

Everything random is a function of (seed, step), and a step's batch is drawn whole and then split
over the processes. So a resumed run ends at the same weights bit for bit (on the CPU), and a run
on several processes ends at the same weights up to float rounding.
"""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from torch import nn

from ablate2tune import runs
from ablate2tune.errors import UserError
from ablate2tune.models import WEIGHTS, AdapterNote, Denoiser, Progress
from ablate2tune.scenes.dataset.caption_rates import read_rates
from ablate2tune.scenes.dataset.records import SceneRecord
from ablate2tune.seeding import seed_for
from ablate2tune.train import step_plan
from ablate2tune.train.adapter import (
    ParameterCount,
    check_targets,
    count_parameters,
    inject,
    trainable,
)
from ablate2tune.train.example_cache import ExampleCache, data_key, encode_examples, read_examples
from ablate2tune.train.sample_grid import sample_grid
from ablate2tune.train.train_config import TrainConfig
from ablate2tune.train.training_state import load_checkpoint, save_checkpoint
from ablate2tune.train.validation import SIGMAS, example_losses, validation_losses

LOG_SCHEMA = "ablate2tune/train-log/1"
TARGETS_SCHEMA = "ablate2tune/targets/1"


class TrainSummary(NamedTuple):
    """What a training run did."""

    adapter: Path
    """`pytorch_lora_weights.safetensors`, as stock diffusers loads it."""
    injected: list[str]
    """The adapted modules."""
    parameters: ParameterCount
    """`str` of it is the "trainable params" line."""
    steps: int
    resumed_from: int
    """The step training went on from; 0 for a fresh run."""
    validation_before: float
    """Mean validation loss before step 1."""
    validation_after: float
    """Mean validation loss after the last step."""
    seconds: float
    """Wall time of this call."""


def train(
    denoiser: Denoiser,
    records: Sequence[SceneRecord],
    targets: Sequence[str],
    config: TrainConfig,
    seed: int,
    folder: Path,
    *,
    ranking_rows: Sequence[dict[str, Any]] = (),
    sample_prompts: Sequence[str] | None = None,
    sample_steps: int = 16,
    base: str = "",
    on_progress: Progress | None = None,
    on_message: Callable[[str], None] | None = None,
) -> TrainSummary:
    """Train LoRA on `targets` alone, or go on from the checkpoint in `folder`.

    Works without a launcher and under `accelerate launch` on several processes, which must share
    `folder`; the main process alone writes and reports. The denoiser keeps the adapter.

    Args:
        denoiser: the model; every weight of it is frozen.
        records: the data set; the "train" split is used, its last `config.validation_images`
            (whole groups) for validation only.
        targets: full names of the linear layers to adapt.
        config: rank, steps, rates, noise levels, intervals.
        seed: fixes adapter, data order, captions, noise.
        folder: gets `adapter/`, `targets.json`, `log.jsonl`, `samples/`, `checkpoint/`, `cache/`.
        ranking_rows: the rows of the ranking that chose the targets, kept in `targets.json`.
        sample_prompts: prompts of the sample grids; validation captions by default.
        sample_steps: sampling steps of the grids.
        base: identity of the base model, kept in the adapter's file.
        on_progress: called with (steps done, steps in all).
        on_message: called with one line, the count of trainable parameters.

    Raises:
        UserError: no images, a target that is no linear layer, a folder of other settings, an
            unwritable folder, or a loss that is not finite (the last checkpoint stays).
    """
    began = time.perf_counter()

    # 1. The processes that take part. float32 adapters need no loss scaling, so no autocast.
    accelerator = Accelerator(cpu=denoiser.device.type == "cpu", mixed_precision="no")
    main, world = accelerator.is_main_process, accelerator.num_processes
    denoiser.pipe.to(accelerator.device)
    model = denoiser.model

    # 2. The data, encoded once, by example.
    split = step_plan.split_records(records, config.validation_images)
    names = check_targets(model, targets)
    everything = split.train + split.validation
    rates = read_rates(everything[0].folder)
    captions = [caption for r in everything for caption in step_plan.captions_of(r, config, rates)]
    if main:
        encode_examples(denoiser, everything, captions, folder / "cache" / "examples.safetensors")
    accelerator.wait_for_everyone()
    cache = read_examples(folder / "cache" / "examples.safetensors")

    # 3. The adapter: everything else is frozen.
    injected = inject(model, names, config.rank, seed)
    parameters = trainable(model)
    count = count_parameters(model)
    if main:
        targets_note = _targets(names, injected, config.rank, count, model, ranking_rows)
        runs.write_json(folder / "targets.json", targets_note)
        if on_message:
            on_message(str(count))

    # 4. The optimizer, and the checkpoint to go on from.
    optimizer = torch.optim.AdamW(
        list(parameters.values()), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    identity = {
        "targets": names,
        "seed": seed,
        "train": config.model_dump(mode="json", exclude={"checkpoint_every"}),
        "data": data_key(everything, captions),
        "model": denoiser.config.model_dump(include={"dtype", "height", "width"}),
    }
    checkpoint = folder / "checkpoint" / "state.safetensors"
    start = load_checkpoint(checkpoint, identity, parameters, optimizer)
    log = folder / "log.jsonl"
    if main:
        kept = [row for row in runs.read_jsonl(log) if start and row["step"] <= start]
        runs.write_jsonl(log, kept)
    accelerator.wait_for_everyone()

    shift = config.shift or denoiser.sigma_shift
    prompts = list(sample_prompts or dict.fromkeys(r.text for r in split.validation))
    prompts = prompts[: config.sample_prompts]

    def validate() -> dict[str, Any]:
        first = len(split.train)
        losses = validation_losses(
            denoiser,
            cache,
            range(first, first + len(split.validation)),
            [record.text for record in split.validation],
            seed,
            config.guidance,
            max(1, config.batch_size // world),
            accelerator,
        )
        mean = sum(losses) / len(losses)
        by_sigma = {str(sigma): loss for sigma, loss in zip(SIGMAS, losses, strict=True)}
        return {"mean": mean, "by_sigma": by_sigma}

    def write_row(step: int, **values: Any) -> None:
        if main:
            row = {"schema": LOG_SCHEMA, "step": step, **values}
            runs.append_jsonl(log, [{**row, "memory_gb": round(_peak_memory_gb(denoiser), 3)}])

    def write_samples(step: int) -> None:
        if main and prompts:
            seeds = [seed_for(seed, "train sample", i) for i in range(len(prompts))]
            grid = sample_grid(denoiser.sample(prompts, seeds, sample_steps), prompts)
            runs.write_bytes(folder / "samples" / f"step-{step:06d}.png", grid)

    # 5. Where it starts: the loss and the pictures of the untouched model.
    if start == 0:
        validation = validate()
        _check_finite(0, checkpoint, validation=validation["mean"])
        write_row(0, loss=None, validation=validation, lr=0.0, seconds=0.0)
        write_samples(0)
    if main and on_progress:
        on_progress(start, config.steps)

    # 6. The loop.
    for step in range(start + 1, config.steps + 1):
        clock = time.perf_counter()
        optimizer.param_groups[0]["lr"] = step_plan.learning_rate_at(step, config)
        whole = step_plan.batch_at(
            seed, step, split.train, cache.latents.shape[1:], config, shift, rates
        )
        mine = whole.part(accelerator.process_index, world)

        optimizer.zero_grad(set_to_none=True)
        loss = _backward(denoiser, cache, mine, config)
        loss = _sum_over_processes(accelerator, loss, parameters)
        norm = nn.utils.clip_grad_norm_(parameters.values(), config.max_grad_norm).item()
        _check_finite(step, checkpoint, loss=loss, gradient=norm)
        optimizer.step()
        seconds = time.perf_counter() - clock

        last = step == config.steps
        values: dict[str, Any] = {"loss": loss, "grad_norm": norm}
        if last or step % config.validate_every == 0:
            values["validation"] = validate()
        rate = optimizer.param_groups[0]["lr"]
        write_row(step, **values, lr=rate, seconds=round(seconds, 4))
        if last or step % config.sample_every == 0:
            write_samples(step)
        if main and (last or step % config.checkpoint_every == 0):
            save_checkpoint(checkpoint, step, identity, parameters, optimizer)
        if main and on_progress:
            on_progress(step, config.steps)

    # 7. The adapter, as other tools load it.
    path = folder / "adapter" / WEIGHTS
    if main:
        note = AdapterNote(
            base=base,
            rank=config.rank,
            targets=injected,
            seed=seed,
            height=denoiser.config.height,
            width=denoiser.config.width,
        )
        path = denoiser.save_adapter(folder / "adapter", note)
    accelerator.wait_for_everyone()
    validations = [row["validation"]["mean"] for row in runs.read_jsonl(log) if "validation" in row]
    return TrainSummary(
        adapter=path,
        injected=injected,
        parameters=count,
        steps=config.steps,
        resumed_from=start,
        validation_before=validations[0],
        validation_after=validations[-1],
        seconds=time.perf_counter() - began,
    )


def _backward(
    denoiser: Denoiser, cache: ExampleCache, batch: step_plan.Batch, config: TrainConfig
) -> torch.Tensor:
    """This process's share of the global batch's mean loss, after its backward pass."""
    if not batch.examples:
        return torch.zeros((), device=denoiser.device)
    losses = example_losses(
        denoiser,
        cache.latents[batch.examples],
        cache.captions(batch.captions),
        batch.sigma,
        batch.noise,
        config.guidance,
    )
    loss = losses.sum() / config.batch_size
    loss.backward()
    return loss.detach()


def _sum_over_processes(
    accelerator: Accelerator, loss: torch.Tensor, parameters: dict[str, nn.Parameter]
) -> float:
    """Add up loss and gradients in one reduction; each process holds its share of the mean."""
    for parameter in parameters.values():
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    if accelerator.num_processes == 1:
        return loss.item()
    gradients = [p.grad for p in parameters.values() if p.grad is not None]
    flat = torch.cat([loss.reshape(1), *(gradient.flatten() for gradient in gradients)])
    total: torch.Tensor = accelerator.reduce(flat, reduction="sum")  # pyright: ignore
    sizes = [gradient.numel() for gradient in gradients]
    for gradient, summed in zip(gradients, total[1:].split(sizes), strict=True):
        gradient.copy_(summed.view_as(gradient))
    return total[0].item()


def _check_finite(step: int, checkpoint: Path, **values: float) -> None:
    """Stop before a value that is not finite reaches the weights."""
    for name, value in values.items():
        if not math.isfinite(value):
            kept = f"the checkpoint in {checkpoint.parent} is kept; " if checkpoint.exists() else ""
            raise UserError(
                f"the {name} is {value} at step {step}",
                where="train",
                mend=f"{kept}lower train.learning_rate, or use model.dtype: float32",
            )


def _targets(
    names: list[str],
    injected: list[str],
    rank: int,
    count: ParameterCount,
    model: nn.Module,
    ranking_rows: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    sizes = {name: p.numel() for name, p in trainable(model).items()}
    by_module = {
        module: sum(size for name, size in sizes.items() if name.startswith(f"{module}.lora_"))
        for module in injected
    }
    return {
        "schema": TARGETS_SCHEMA,
        "requested": names,
        "injected": injected,
        "ranks": dict.fromkeys(injected, rank),
        "parameters": {"trainable": count.trainable, "total": count.total, "by_module": by_module},
        "ranking": list(ranking_rows),
    }


def _peak_memory_gb(denoiser: Denoiser) -> float:
    if denoiser.device.type == "cuda":
        return torch.cuda.max_memory_allocated(denoiser.device) / 1e9
    return runs.peak_memory_gb()
