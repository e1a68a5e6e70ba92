"""A step of training against the step of diffusers' FLUX LoRA script, on one FLUX-shaped model.

    python benchmarks/train.py                       4 + 8 blocks, width 256, 64 pixels, on the CPU
    python benchmarks/train.py --width 3072 --blocks 19 38 --size 512 --dtype bfloat16 --device cuda
    python benchmarks/train.py --busy 4              beside four busy processes

Weights are random; modules, rank, batch and size are the same on both sides, on all blocks and on
the last third of the blocks alone. The script's step is written anew from its description
(`train_dreambooth_lora_flux.py` with captions of one's own and `--gradient_checkpointing`, as its
README runs it): it encodes each batch's pictures and captions, and checkpoints every block. Ours
encodes all of them before the denoiser is read, frees the encoders, and computes blocks before the
first adapted one without a graph, which both have from PyTorch; it takes memory as `train` does
(`process.large_tensors`); "checkpointed" is `train.checkpointing: on`. Each variant runs in a
process of its own, which loads the model from a folder: median seconds of a step, by the clock and
by the processors, which other load changes less; what autograd keeps for a backward pass; and the
process' peak memory (the device's on CUDA), with what of it the libraries took before the model was
loaded.

With `--busy` so many processes compute beside the steps, and a step of ours is timed alone too: its
slowdown is held against the one that is fair, that of threads which share the cores with so many
more. Other load makes both times longer. All take as many threads as the command line would, by the
cores that are free at the start; beside busy processes ours look again, and the script has the one
that `accelerate launch` gives it, as its README starts it. OMP_NUM_THREADS says otherwise for all.

    python benchmarks/train.py --width 1024 --encoders 1365 3

has text encoders as large beside the denoiser as FLUX.1's are, and weighs more than the libraries.
"""

import argparse
import json
import multiprocessing
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch.nn import functional as F

from ablate2tune import files
from ablate2tune.components import discover
from ablate2tune.models import Denoiser, load_denoiser
from ablate2tune.models.calls.attention_kernels import without_cudnn
from ablate2tune.models.model_config import ModelConfig
from ablate2tune.process.cpu_threads import settle_threads
from ablate2tune.process.large_tensors import map_large_tensors
from ablate2tune.testbed.architecture import Sizes, build_pipeline
from ablate2tune.testbed.text import word_list
from ablate2tune.train.adapter import inject, trainable
from ablate2tune.train.memory.checkpointing import cover
from ablate2tune.train.memory.memory_estimate import MemoryEstimate, kept_by_autograd

PARTS = ("all blocks", "last third")
VARIANTS = tuple(f"{who}, {part}" for part in PARTS for who in ("script", "ours", "checkpointed"))
OURS = "ours, all blocks"
ALONE = "ours, all blocks, alone"
READY = "ready"
"""What a variant says before its first step; busy processes go on from there to its end."""
PICTURES, TOKENS = 16, 64
"""Different pictures, each with a caption of its own, and the tokens captions are padded to."""


def main() -> None:
    """Measure, print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", nargs=2, type=int, default=(4, 8), metavar=("DOUBLE", "SINGLE"))
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument(
        "--encoders", nargs=2, type=int, default=(256, 4), metavar=("WIDTH", "DEEP")
    )
    parser.add_argument("--size", type=int, default=64, help="pixels")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--steps", type=int, default=8, help="timed ones, after two")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--busy", type=int, default=0, help="processes that compute beside it")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/train.json"))
    parser.add_argument("--variant", help=argparse.SUPPRESS)
    parser.add_argument("--model", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.variant == "save":
        save_flux(options)
        return
    if options.variant:
        print(json.dumps(measured(options.variant, options)))
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(options, folder)


def compare(options: argparse.Namespace, folder: str) -> None:
    """All variants, on a model that is saved in a folder."""
    threads = settle_threads().taken if options.device == "cpu" else torch.get_num_threads()

    def variant(name: str, busy: Sequence[multiprocessing.Process] = ()) -> str:
        more = ["--variant", name, "--model", folder]
        command = [sys.executable, __file__, *sys.argv[1:], *more]
        script = name.startswith("script")
        given = {} if script else {"GOMP_SPINCOUNT": "10000"}  # as the command line sets it
        if not options.busy:
            given["OMP_NUM_THREADS"] = str(threads)
        elif script:  # what its launcher gives it
            given["OMP_NUM_THREADS"] = "1"
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, env={**given, **os.environ}, **pipes) as process:
            assert process.stdout
            told = process.stdout.readline()  # ready, or all there is to say
            for other in busy:
                os.kill(cast(int, other.pid), signal.SIGCONT)
            told += process.communicate("go\n")[0]
            for other in busy:
                os.kill(cast(int, other.pid), signal.SIGSTOP)
        if process.returncode:
            raise SystemExit(f"{name} failed")
        return told

    variant("save")
    found: dict[str, Any] = {}
    if options.busy:
        found[ALONE] = json.loads(variant(OURS).splitlines()[-1])
        print(f"{ALONE}: {told(found[ALONE])}", flush=True)
    busy = [multiprocessing.Process(target=spin, daemon=True) for _ in range(options.busy)]
    for process in busy:
        process.start()
        os.kill(cast(int, process.pid), signal.SIGSTOP)
    for name in VARIANTS:
        found[name] = json.loads(variant(name, busy).splitlines()[-1])
        print(f"{name}: {told(found[name])}", flush=True)
    for process in busy:
        process.kill()
    for part in PARTS:
        for who in ("ours", "checkpointed"):
            print(f"{who} / script, {part}: {ratio(found, f'{who}, {part}', f'script, {part}')}")
    last = ratio(found, "ours, last third", "ours, all blocks")
    print(f"last third / all blocks, ours: {last}")
    if options.busy:
        slower = found[OURS]["seconds"] / found[ALONE]["seconds"]
        fair = fair_slowdown(int(found[ALONE]["threads"]), options.busy, os.cpu_count() or 1)
        print(
            f"{OURS}, beside {options.busy} busy processes: {slower:.2f} x its time alone, which "
            f"is {slower / fair:.2f} x its fair share (that is {fair:.2f} x)"
        )
    settings = {k: v for k, v in vars(options).items() if k not in ("out", "variant", "model")}
    files.write_json(options.out, {"settings": settings, "machine": machine(), "found": found})


@without_cudnn()
def measured(variant: str, options: argparse.Namespace) -> dict[str, float]:
    """Seconds of a step, the sides of the model, and peak memory, of one variant."""
    who, where = variant.split(", ")
    libraries = files.peak_memory_gb()
    config = ModelConfig(
        path=options.model,
        device=options.device,
        height=options.size,
        width=options.size,
        dtype=options.dtype,
        max_sequence_length=TOKENS,
    )
    denoiser = load_denoiser(config, encoders_first=who != "script")
    if who != "script" and options.device == "cpu":
        map_large_tensors(denoiser.model)
    loss = (script_step if who == "script" else our_step)(denoiser, options)
    blocks = discover(denoiser.model).blocks
    chosen = blocks if where == "all blocks" else blocks[-(len(blocks) // 3) :]
    inject(denoiser.model, [n for b in chosen for n in b.linears], options.rank, seed=0)
    parameters = list(trainable(denoiser.model).values())
    optimizer = torch.optim.AdamW(parameters, lr=1e-4)
    if who == "checkpointed":
        cover([denoiser.model.get_submodule(b.address) for b in blocks], "on", no_memory, None)
    held = [x for m in denoiser.parts.values() for x in (*m.parameters(), *m.buffers())]
    kept = kept_by_autograd(lambda: loss(0), held)
    on_cuda = denoiser.device.type == "cuda"
    if on_cuda:
        torch.cuda.reset_peak_memory_stats()
    if options.busy:
        print(READY, flush=True)
        sys.stdin.readline()
    if who != "script" and options.device == "cpu":
        settle_threads()
    seconds, forward, processor = [], [], []
    for step in range(options.steps + 2):
        if on_cuda:
            torch.cuda.synchronize()
        clock, own = time.perf_counter(), time.process_time()
        found = loss(step)
        if on_cuda:
            torch.cuda.synchronize()
        forward.append(time.perf_counter() - clock)
        found.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if on_cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - clock)
        processor.append(time.process_time() - own)
    peak = torch.cuda.max_memory_allocated() / 1e9 if on_cuda else files.peak_memory_gb()
    return {
        "seconds": statistics.median(seconds[2:]),
        "processor_seconds": statistics.median(processor[2:]),
        "forward_seconds": statistics.median(forward[2:]),
        "kept_gb": kept / 1e9,
        "peak_gb": peak,
        "libraries_gb": 0.0 if on_cuda else libraries,
        "parameters": sum(parameter.numel() for parameter in parameters),
        "threads": torch.get_num_threads(),
    }


def no_memory() -> MemoryEstimate:
    """Nobody asks where all blocks are checkpointed."""
    raise AssertionError


def save_flux(options: argparse.Namespace) -> None:
    """A random FLUX in the folder."""
    width, layers = options.encoders
    sizes = Sizes(
        double_blocks=options.blocks[0],
        single_blocks=options.blocks[1],
        heads=options.width // 64,
        head_dim=64,
        text_width=width // 4 * 4,
        text_layers=layers,
        text_tokens=TOKENS,
        vae_channels=(32, 64, 128, 128),
        image_size=options.size,
    )
    build_pipeline(word_list(), sizes, seed=0).save_pretrained(options.model)


def pictures(options: argparse.Namespace) -> tuple[np.ndarray, list[str]]:
    """Pictures of noise, and captions."""
    shape = (PICTURES, options.size, options.size, 3)
    drawn = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    words = word_list()
    return drawn, [f"a {words[i % len(words)]} ball left of a red cube" for i in range(PICTURES)]


def rows(step: int, options: argparse.Namespace) -> list[int]:
    """The examples of a step."""
    return [(step * options.batch + i) % PICTURES for i in range(options.batch)]


def our_step(denoiser: Denoiser, options: argparse.Namespace) -> Callable[[int], torch.Tensor]:
    """Everything encoded once; the family's own loss."""
    images, captions = pictures(options)
    latents, told = denoiser.encode_images(images), denoiser.encode_prompts(captions)
    denoiser.weights.drop(denoiser.encoders)
    denoiser.weights.fetch([denoiser.part])

    def loss(step: int) -> torch.Tensor:
        places, generator = rows(step, options), torch.Generator().manual_seed(step)
        clean = latents[places]
        noise = torch.randn(clean.shape, generator=generator)
        sigma = torch.rand(len(places), generator=generator)
        return denoiser.denoising_loss(clean, noise, sigma, told[places], 1.0).mean()

    return loss


def script_step(denoiser: Denoiser, options: argparse.Namespace) -> Callable[[int], torch.Tensor]:
    """Pictures and captions encoded in every step, every block checkpointed."""
    pipe = denoiser.pipe
    images, captions = pictures(options)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).to(pipe.vae.dtype) / 127.5 - 1
    pipe.transformer.enable_gradient_checkpointing()
    pipe.transformer.train()
    tokens, guided = denoiser.max_sequence_length, pipe.transformer.config.guidance_embeds

    def loss(step: int) -> torch.Tensor:
        places, device = rows(step, options), denoiser.device
        with torch.no_grad():
            embeds, pooled, text_ids = pipe.encode_prompt(
                [captions[i] for i in places], None, max_sequence_length=tokens
            )
            latents = pipe.vae.encode(pixels[places].to(device)).latent_dist.sample()
        config = pipe.vae.config
        latents = (latents - config.shift_factor) * config.scaling_factor
        batch, channels, height, width = latents.shape
        noise = torch.randn_like(latents)
        sigma = torch.rand(batch, device=device).to(latents.dtype)
        at = sigma[:, None, None, None]
        packed = pipe._pack_latents((1 - at) * latents + at * noise, batch, channels, height, width)
        ids = pipe._prepare_latent_image_ids(batch, height // 2, width // 2, device, latents.dtype)
        output = pipe.transformer(
            hidden_states=packed,
            timestep=sigma,
            guidance=torch.ones(batch, device=device) if guided else None,
            pooled_projections=pooled,
            encoder_hidden_states=embeds,
            txt_ids=text_ids,
            img_ids=ids,
            return_dict=False,
        )[0]
        target = pipe._pack_latents(noise - latents, batch, channels, height, width)
        return F.mse_loss(output.float(), target.float())

    return loss


def spin() -> None:
    """One busy core."""
    x = torch.randn(256, 256)
    torch.set_num_threads(1)
    while True:
        x = torch.tanh(x @ x)


def fair_slowdown(threads: int, busy: int, cores: int) -> float:
    """How much slower a process is where its threads and other processes share the cores alike.

    >>> fair_slowdown(1, 4, 2), fair_slowdown(2, 4, 2), fair_slowdown(1, 4, 8)
    (2.5, 3.0, 1.0)
    """
    alone = min(threads, cores)
    return alone / min(alone, cores * threads / (threads + busy))


def told(found: dict[str, float]) -> str:
    """A variant's figures."""
    return (
        f"{found['seconds']:.3f} s a step ({found['forward_seconds']:.3f} of them forward; "
        f"{found['processor_seconds']:.3f} s of processors), "
        f"{1000 * found['kept_gb']:.1f} MB kept for the backward pass, "
        f"peak {found['peak_gb']:.2f} GB ({found['libraries_gb']:.2f} before the model), "
        f"{found['parameters']:,.0f} parameters trained, {found['threads']:.0f} threads"
    )


def ratio(found: dict[str, Any], ours: str, theirs: str) -> str:
    """Time and memory of one variant over another's."""
    keys = ("seconds", "processor_seconds", "kept_gb", "peak_gb")
    times, busy, kept, peak = (found[ours][key] / found[theirs][key] for key in keys)
    return (
        f"{times:.2f} x time ({busy:.2f} x processor time), {kept:.2f} x kept, "
        f"{peak:.2f} x peak memory"
    )


def machine() -> dict[str, Any]:
    """What it ran on."""
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "gpu": card,
        "torch": torch.__version__,
        "load": list(os.getloadavg()),
    }


if __name__ == "__main__":
    main()
