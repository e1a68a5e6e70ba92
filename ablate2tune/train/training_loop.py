"""The training loop: a frozen model, LoRA on the chosen modules, the loss of its lessons.

Everything random is a function of (seed, step), and a step's batch is drawn whole and then split
over the processes. So a resumed run ends at the same weights bit for bit (on the CPU), and a run
on several processes ends at the same weights up to float rounding.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, cast

import torch
from peft.tuners.lora import LoraLayer
from torch import nn

from ablate2tune import files
from ablate2tune.components import discover
from ablate2tune.models import AdapterNote, Denoiser
from ablate2tune.models.adapter_files import NAME
from ablate2tune.models.calls.attention_kernels import without_cudnn
from ablate2tune.process.large_tensors import map_large_tensors
from ablate2tune.process.launched import divided_among
from ablate2tune.scenes.dataset.records import SceneRecord
from ablate2tune.train import step_plan
from ablate2tune.train.adapter import (
    ParameterCount,
    check_targets,
    count_parameters,
    trainable,
)
from ablate2tune.train.checkpoints.kept_checkpoints import KeptCheckpoints
from ablate2tune.train.course import BestWeights, Course, course_of, judged
from ablate2tune.train.lessons.lessons import Lessons
from ablate2tune.train.lessons.picture_lessons import PictureLessons
from ablate2tune.train.memory.checkpointing import cover
from ablate2tune.train.memory.compiled_blocks import compile_blocks
from ablate2tune.train.memory.divided_model import Processes
from ablate2tune.train.memory.memory_estimate import device_memory
from ablate2tune.train.methods.adapter_method import METHODS, rank_of
from ablate2tune.train.optimizers.optimizer_kind import optimizer_of
from ablate2tune.train.placements.head_slices import cut, head_slices
from ablate2tune.train.train_config import TrainConfig
from ablate2tune.train.training_log import TrainingLog
from ablate2tune.train.training_state import Checkpoint, put_back, tensors_hash
from ablate2tune.train.watching.finite_check import FiniteCheck
from ablate2tune.train.watching.step_costs import foretell

TARGETS_SCHEMA = "ablate2tune/targets/1"
MAX_GRADIENT_NORM = 1.0
"""Gradients are clipped to it, as is usual for transformers: what one odd batch would throw far
away is shortened."""
OnProgress = Callable[[int, int, str], None]
"""Called with steps done, steps in all, and the losses now."""
OnStep = Callable[[Mapping[str, Any], Path | None], None]
"""Called with the row of a step, step 0 among them, and the file of samples where there is one."""


class TrainSummary(NamedTuple):
    """What a training run did."""

    adapter: Path
    """`pytorch_lora_weights.safetensors`, as stock diffusers loads it."""
    injected: list[str]
    """The adapted modules."""
    parameters: ParameterCount
    """`str` of it is the "trainable params" line."""
    resumed_from: int
    """The step training went on from; 0 for a fresh run."""
    course: Course
    """Losses from where to where, and which step's weights were kept."""


def train(
    denoiser: Denoiser,
    records: Sequence[SceneRecord],
    targets: Sequence[str],
    config: TrainConfig,
    seed: int,
    folder: Path,
    *,
    sample_steps: int = 16,
    **more: Any,
) -> TrainSummary:
    """`teach` pictures.

    Args:
        denoiser: the model.
        records: the data set; the "train" split is used, its last `config.validation_images`
            (whole groups) for validation only.
        targets: and what follows: see `teach`.
        sample_steps: sampling steps of the grids, whose prompts are captions of validation.
    """
    lessons = PictureLessons(denoiser, records, sample_steps)
    return teach(lessons, targets, config, seed, folder, **more)


@without_cudnn()
def teach(
    lessons: Lessons,
    targets: Sequence[str],
    config: TrainConfig,
    seed: int,
    folder: Path,
    *,
    initial: Mapping[str, torch.Tensor] | None = None,
    ranks: Mapping[str, int] | None = None,
    ranking_rows: Sequence[dict[str, Any]] = (),
    on_progress: OnProgress | None = None,
    on_message: Callable[[str], None] | None = None,
    on_step: OnStep | None = None,
) -> TrainSummary:
    """Train LoRA on `targets` alone, or go on from the checkpoint in `folder`.

    `adapter/` gets the last weights, unless those of an earlier step are to be preferred (see
    `course`): then that step's, and `adapter-last/` gets the last ones.

    Works without a launcher and under `accelerate launch` on several processes, which must share
    `folder`; the main process alone writes and reports. The model keeps the adapter.

    Args:
        lessons: the model, every weight of which is frozen, and what it is taught.
        targets: full names of the linear layers to adapt.
        config: rank, steps, rates, noise levels, intervals.
        seed: fixes adapter, data order, captions, noise.
        folder: gets `adapter/`, `targets.json`, `log.jsonl`, `costs.json`, `samples/`,
            `checkpoint/`, `checkpoints/`, `cache/`.
        initial: weights to begin with in place of drawn ones, by parameter name (`trainable`);
            those of other modules are not looked at.
        ranks: of modules that have a rank of their own.
        ranking_rows: the rows of the ranking that chose the targets, kept in `targets.json`.
        on_progress: called with steps done, steps in all, and the losses now.
        on_message: called with lines: the count of trainable parameters, what memory, a step and
            validation will cost, warnings, and at the end what a step did cost and the losses.
        on_step: called with each step's row of the log, and its samples.

    Raises:
        UserError: no examples, a target that is no linear layer or too small for the rank, a folder
            of other settings, an unwritable folder, or a loss that is not finite.
    """
    # 1. The processes that take part. float32 adapters need no loss scaling, so no autocast.
    studied = lessons.studied
    accelerator = Processes(cpu=studied.device.type == "cpu", mixed_precision="no")
    main, divided = accelerator.is_main_process, divided_among() > 1
    if studied.device.type == "cpu":
        map_large_tensors(studied.model)
    if divided and isinstance(studied, Denoiser):
        studied.weights.leave_on_cpu(studied.part)
    studied.to(accelerator.device)
    model = studied.model

    def say(line: str | None) -> None:
        if main and on_message and line:
            on_message(line)

    # 2. The examples.
    names = check_targets(model, targets)
    method = METHODS[config.method](model, config, seed)
    if ranks:
        method.ranks = dict(ranks)
    method.check(names)
    listed = config.modules if config.targets == "list" else ()
    slices = head_slices(discover(model), model, listed)
    lessons.open(config, seed, accelerator, folder)

    # 3. The adapter: everything else is frozen.
    blocks = [model.get_submodule(block.address) for block in discover(model).blocks]
    injected = method.inject(names, lessons.run)
    parameters = trainable(model)
    if initial is not None:
        put_back(parameters, initial)
    cut(model, {name: slices[name] for name in injected if name in slices})
    count = count_parameters(model)
    say(str(count))
    available = device_memory(studied.device)
    wanted = "on" if divided and config.checkpointing == "auto" else config.checkpointing
    covered = cover(blocks, wanted, lessons.memory, available)
    if covered:
        say(f"checkpointing: {covered} of {len(blocks)} blocks are computed again going back")

    if divided:
        say(accelerator.divide(model, blocks))

    # 4. The optimizer, and the checkpoint to go on from.
    optimizer = optimizer_of(config).make(parameters.values(), config.learning_rate)
    identity = {
        "targets": names,
        "seed": seed,
        "train": config.decisive(),
        "data": lessons.data,
        "model": studied.config.decisive(),
        **({} if initial is None else {"initial": tensors_hash(parameters)}),
        **({"ranks": dict(ranks)} if ranks else {}),
    }
    state = folder / "checkpoint" / "state.safetensors"
    checkpoint = Checkpoint(state, identity, parameters, optimizer, method.state)
    start = checkpoint.load()
    if main:  # once the folder is known to be this recipe's
        targets_note = _targets(names, injected, count, model, ranking_rows)
        files.write_json(folder / "targets.json", targets_note)
    finite = FiniteCheck(model, injected, state, config, studied.config)
    retained = config.retention > 0
    best = BestWeights(folder / "checkpoint" / "best.safetensors", parameters)
    kept = KeptCheckpoints(folder / "checkpoints", config.keep_checkpoints)
    log = TrainingLog(folder / "log.jsonl", studied.device)
    if main:
        log.cut(start)
        kept.forget_after(start)
        if start == 0:
            best.forget()
    accelerator.wait_for_everyone()

    def validate(step: int) -> dict[str, Any]:
        values = lessons.validate()
        finite.loss(step, "validation", values["mean"], lessons.validate)
        return values

    def write_adapter(place: Path, at: int | None = None) -> None:
        weights = method.weights()
        note = AdapterNote(
            base=identity["model"]["path"],
            rank=rank_of(weights),
            targets=injected,
            seed=seed,
            height=studied.config.height,
            width=studied.config.width,
            acts_above=studied.acts_above,
            step=at,
        )
        studied.save_adapter(place, note, weights)

    # 5. What it costs, and where it starts: the loss and the samples of the untouched model.
    foretold, spent = None, list[float]()
    if main and start < config.steps and not divided:
        foretold = foretell(lessons, parameters.values(), config, accelerator.num_processes)
        for line in (*lessons.costs(foretold.memory), foretold.line(config.steps - start)):
            say(line)
    if config.compile:
        compile_blocks(blocks, covered)
    if start == 0:
        values = {"loss": None, "validation": validate(0)}
        if main:
            log.write(0, **values, lr=0.0, seconds=0.0)
            shown = lessons.show(0)
            if on_step:
                on_step({"step": 0, "lr": 0.0, **values}, shown)
    if main and on_progress:
        on_progress(start, config.steps, log.note)

    # 6. The loop.
    for step in range(start + 1, config.steps + 1):
        clock = time.perf_counter()
        optimizer.param_groups[0]["lr"] = step_plan.learning_rate_at(step, config)

        loss = lessons.backward(step, optimizer)
        if main:  # the processes' gradients are added up
            method.add_gradients()
        loss = _sum_over_processes(accelerator, loss, parameters)
        finite.loss(step, "loss", loss, partial(lessons.forward, step))
        norm = nn.utils.get_total_norm([p.grad for p in parameters.values() if p.grad is not None])
        finite.gradient(step, norm.item(), parameters)
        nn.utils.clip_grads_with_norm_(parameters.values(), MAX_GRADIENT_NORM, norm)
        optimizer.step()
        method.stepped(step)
        seconds = time.perf_counter() - clock
        spent.append(seconds)

        last = step == config.steps
        values = {"loss": loss, "grad_norm": norm.item()}
        if last or step % config.validate_every == 0:
            values["validation"] = validate(step)
        if main:
            rate = optimizer.param_groups[0]["lr"]
            say(log.write(step, **values, lr=rate, seconds=round(seconds, 4)))
            if "validation" in values:
                best.offer(step, judged(values["validation"], retained))
        shown = None
        if main and (last or step % config.sample_every == 0):
            shown = lessons.show(step)
        if main and on_step:
            on_step({"step": step, "lr": optimizer.param_groups[0]["lr"], **values}, shown)
        if main and (last or step % config.checkpoint_every == 0):
            kept.keep(
                step, partial(write_adapter, at=step)
            )  # before the state that goes on after it
            checkpoint.save(step)
        if main and on_progress:
            on_progress(step, config.steps, log.note)

    # 7. The adapter, as other tools load it: the last weights, or the best if those fell behind.
    accelerator.wait_for_everyone()
    course = course_of(log.rows(), best.step, retained)

    if course.keeps_best:
        if main:
            write_adapter(folder / "adapter-last")
        best.restore()
    if main:
        write_adapter(folder / "adapter")
    accelerator.wait_for_everyone()
    if foretold:
        took = median(spent), log.peak_memory_gb()
        files.write_json(folder / "costs.json", foretold.row(len(spent), *took))
        say(foretold.beside(*took))
    say(course.line())
    say(course.warning(config.learning_rate))
    return TrainSummary(
        adapter=studied.adapter_file(folder / "adapter"),
        injected=injected,
        parameters=count,
        resumed_from=start,
        course=course,
    )


def _sum_over_processes(
    accelerator: Processes, loss: torch.Tensor, parameters: dict[str, nn.Parameter]
) -> float:
    """Add up loss and gradients in one reduction; each process holds its share of the mean."""
    for parameter in parameters.values():
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    if accelerator.num_processes > 1:
        held = [loss, *(p.grad for p in parameters.values() if p.grad is not None)]
        total = accelerator.reduce(nn.utils.parameters_to_vector(held), reduction="sum")
        nn.utils.vector_to_parameters(total, held)  # pyright: ignore
    return loss.item()


def _targets(
    names: list[str],
    injected: list[str],
    count: ParameterCount,
    model: nn.Module,
    ranking_rows: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    by_module = {
        name: sum(p.numel() for p in trainable(model.get_submodule(name)).values())
        for name in injected
    }
    return {
        "schema": TARGETS_SCHEMA,
        "requested": names,
        "injected": injected,
        "ranks": {name: cast(LoraLayer, model.get_submodule(name)).r[NAME] for name in injected},
        "parameters": {"trainable": count.trainable, "total": count.total, "by_module": by_module},
        "ranking": list(ranking_rows),
    }
