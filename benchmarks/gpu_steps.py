"""Steps of training at FLUX.1's real size: by placement, by size, the peer's, compiled (`gpu.py`).

The step is the loop's own (`train.training_loop`, part 6) without its log, validation and files. No
step, the peer's among them, uses cuDNN's attention (`models.calls.attention_kernels`).
"""

import argparse
import json
import statistics
from typing import Any

import torch
from accelerate import Accelerator
from gpu_bench import Bench, Drawn, Found, captions, failure, guarded
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from train import script_step

from ablate2tune import files
from ablate2tune.components import discover
from ablate2tune.models.calls.attention_kernels import without_cudnn
from ablate2tune.train.adapter import inject, trainable
from ablate2tune.train.lessons.picture_lessons import PictureLessons
from ablate2tune.train.lessons.user_pictures import read_user_pictures
from ablate2tune.train.memory.checkpointing import cover
from ablate2tune.train.memory.compiled_blocks import compile_blocks
from ablate2tune.train.memory.memory_estimate import device_memory
from ablate2tune.train.optimizers.optimizer_kind import optimizer_of
from ablate2tune.train.train_config import TrainConfig
from ablate2tune.train.training_loop import MAX_GRADIENT_NORM

PLACEMENTS = ("last third", "first third", "all")
RANK, WARM, STEPS = 16, 2, (6, 4)
"""Of the adapter; steps that are not timed, after the first; timed ones at each size."""


def lessons_of(bench: Bench, size: int) -> tuple[PictureLessons, TrainConfig]:
    """Pictures and captions as `train` takes a user's own, encoded."""
    bench.denoiser.config = bench.config(size)
    pixels = bench.sizes["pixels"][size]
    folder = bench.folder / f"pictures-{pixels}"
    if not folder.exists():
        folder.mkdir()
        for i in range(4):
            (folder / f"{i}.png").write_bytes(Drawn(i, pixels).data)
        rows = [{"file_name": f"{i}.png", "text": captions(i)[0]} for i in range(4)]
        files.write_jsonl(folder / "metadata.jsonl", rows)
    config = TrainConfig(rank=RANK, batch_size=1, validation_images=1)
    lessons = PictureLessons(bench.denoiser, [], users=read_user_pictures(folder))
    accelerator = Accelerator(cpu=bench.device.type == "cpu", mixed_precision="no")
    lessons.open(config, 0, accelerator, bench.folder / f"lessons-{pixels}")
    return lessons, config


def placed(bench: Bench, where: str) -> int:
    """Put the adapter on every Linear of some blocks; how many layers these are."""
    blocks = discover(bench.denoiser.model).blocks
    third = len(blocks) // 3
    chosen = {"all": blocks, "first third": blocks[:third], "last third": blocks[-third:]}[where]
    return len(inject(bench.denoiser.model, [n for b in chosen for n in b.linears], RANK, seed=0))


def train(bench: Bench) -> Found:
    """Steps by placement, size and checkpointing; the last adapter stays on."""
    found: Found = {}
    lessons = [lessons_of(bench, size) for size in range(2)]
    for where in bench.options.placements:
        try:
            bench.denoiser.remove_adapter()
            seconds = bench.seconds(lambda where=where: placed(bench, where))
        except Exception as error:  # a card that failed fails in all: what was found is kept
            found[where] = failure(error)
            continue
        bench.say(f"{where}: adapter on in {seconds:.1f} s")
        for size, pixels in enumerate(bench.sizes["pixels"]):
            bench.denoiser.config = bench.config(size)
            for checkpointing in ("off", "on"):
                name = f"{where}, {pixels} px, checkpointing {checkpointing}"
                if bench.left < bench.options.reserve:
                    found[name] = {"skipped": "no time left"}
                    continue
                found[name] = guarded(
                    lambda s=size, c=checkpointing: step(bench, *lessons[s], c, STEPS[s])
                )
                bench.say(f"{name}: {json.dumps(found[name])}")
    return found


@without_cudnn()
def step(
    bench: Bench,
    lessons: PictureLessons,
    config: TrainConfig,
    checkpointing: Any,
    steps: int,
    compiles: bool = False,
) -> Found:
    """The loop's step, timed; and what the tool says of memory beside what it takes."""
    model, available = bench.denoiser.model, device_memory(bench.device)
    blocks = [model.get_submodule(b.address) for b in discover(model).blocks]
    bench.fresh()
    covered = cover(blocks, checkpointing, lessons.memory, None)
    estimate = lessons.memory()
    parameters = list(trainable(model).values())
    told: Found = {
        "estimate_gb": round(estimate.total / 1e9, 2),
        "estimate_activations_gb": round(estimate.activations / 1e9, 2),
        "estimate_fits": available is None or estimate.total <= available,
        "parameters": sum(p.numel() for p in parameters),
    }
    optimizer = optimizer_of(config).make(parameters, config.learning_rate)
    counter = FlopCounterMode(display=False)
    bench.fresh()

    def run(number: int) -> None:
        lessons.backward(number, optimizer)
        nn.utils.clip_grad_norm_(parameters, MAX_GRADIENT_NORM).item()
        optimizer.step()

    def counted() -> None:
        with counter:
            run(1)

    try:
        if compiles:
            compile_blocks(blocks, covered)
        told["first_step_seconds"] = round(
            bench.seconds((lambda: run(1)) if compiles else counted), 3
        )
        bench.fresh()  # counting operations keeps what checkpointing would let go
        last = 2 + WARM + steps
        seconds = [bench.seconds(lambda n=n: run(n)) for n in range(2, last)][WARM:]
    except Exception as error:
        return told | failure(error) | bench.memory()
    finally:
        for parameter in parameters:
            parameter.grad = None
        if not compiles:
            cover(blocks, "off", lessons.memory, None)
    median, flops = statistics.median(seconds), counter.get_total_flops()
    return {
        "seconds": round(median, 4),
        "slowest": round(max(seconds), 4),
        **({"tflop": round(flops / 1e12, 2), **bench.of_peak(flops, median)} if flops else {}),
        **told,
        **bench.memory(),
    }


@without_cudnn()
def script(bench: Bench) -> Found:
    """The step of diffusers' script, every block checkpointed, pictures encoded in every step."""
    found: Found = {}
    if not hasattr(bench.denoiser.model, "peft_config"):
        placed(bench, "all")
    parameters = list(trainable(bench.denoiser.model).values())
    for size, pixels in enumerate(bench.sizes["pixels"]):
        bench.denoiser.config = bench.config(size)
        bench.fresh()
        optimizer = torch.optim.AdamW(parameters, lr=1e-4)
        loss = script_step(bench.denoiser, argparse.Namespace(size=pixels, batch=1))

        def run(number: int, loss=loss, optimizer=optimizer) -> None:
            loss(number).backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        steps = range(WARM + 1 + STEPS[size])
        times = [bench.seconds(lambda n=n, run=run: run(n)) for n in steps][WARM + 1 :]
        name = f"all, {pixels} px"
        found[name] = {"seconds": round(statistics.median(times), 4), **bench.memory()}
        bench.say(f"script, {name}: {found[name]}")
    bench.denoiser.model.disable_gradient_checkpointing()  # pyright: ignore
    bench.denoiser.model.eval()
    return found


def compiled(bench: Bench) -> Found:
    """`train.compile` on the last third at the first size, beside the same step without it."""
    bench.denoiser.remove_adapter()
    placed(bench, "last third")
    lessons = lessons_of(bench, 0)
    found = {}
    for name, compiles in (("not compiled", False), ("compiled", True)):
        found[name] = step(bench, *lessons, "off", STEPS[0], compiles)
        bench.say(f"{name}: {json.dumps(found[name])}")
    return found
