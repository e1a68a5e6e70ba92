"""A step of training against the step of diffusers' FLUX LoRA script, on one FLUX-shaped model.

    python benchmarks/train.py                       4 + 8 blocks, width 256, 64 pixels, on the CPU
    python benchmarks/train.py --width 3072 --blocks 19 38 --size 512 --dtype bfloat16 --device cuda
    python benchmarks/train.py --busy 4              beside four busy processes

Weights are random; modules, rank, batch and size are the same on both sides, on all blocks and on
the last third of the blocks alone. The script's step is written anew from its description
(`train_dreambooth_lora_flux.py` with captions of one's own and `--gradient_checkpointing`, as its
README runs it): it encodes each batch's pictures and captions, and checkpoints every block. Ours
takes latents and captions from the cache of examples (`train.example_cache`) and computes blocks
before the first adapted one without a graph, which both have from PyTorch; "checkpointed" is
`train.checkpointing: on`. Each variant runs in a process of its own: median seconds of a step, what
autograd keeps for a backward pass, and the process' peak memory (the device's on CUDA).
"""

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from ablate2tune import files
from ablate2tune.components import discover
from ablate2tune.models import FluxDenoiser
from ablate2tune.models.model_config import ModelConfig
from ablate2tune.testbed.architecture import Sizes, build_pipeline
from ablate2tune.testbed.text import word_list
from ablate2tune.train.adapter import inject, trainable
from ablate2tune.train.checkpointing import cover
from ablate2tune.train.memory_estimate import MemoryEstimate, kept_by_autograd

PARTS = ("all blocks", "last third")
VARIANTS = tuple(f"{who}, {part}" for part in PARTS for who in ("script", "ours", "checkpointed"))
PICTURES = 16
"""Different ones, each with a caption of its own."""


def main() -> None:
    """Measure, print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", nargs=2, type=int, default=(4, 8), metavar=("DOUBLE", "SINGLE"))
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--size", type=int, default=64, help="pixels")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--steps", type=int, default=8, help="timed ones, after two")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--busy", type=int, default=0, help="processes that compute beside it")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/train.json"))
    parser.add_argument("--variant", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.variant:
        print(json.dumps(measured(options.variant, options)))
        return
    busy = [multiprocessing.Process(target=spin, daemon=True) for _ in range(options.busy)]
    for process in busy:
        process.start()
    found: dict[str, Any] = {}
    for variant in VARIANTS:
        command = [sys.executable, __file__, *sys.argv[1:], "--variant", variant]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found[variant] = json.loads(done.stdout.splitlines()[-1])
        print(f"{variant}: {told(found[variant])}", flush=True)
    for process in busy:
        process.terminate()
    for part in PARTS:
        for who in ("ours", "checkpointed"):
            print(f"{who} / script, {part}: {ratio(found, f'{who}, {part}', f'script, {part}')}")
    last = ratio(found, "ours, last third", "ours, all blocks")
    print(f"last third / all blocks, ours: {last}")
    settings = {k: v for k, v in vars(options).items() if k not in ("out", "variant")}
    files.write_json(options.out, {"settings": settings, "machine": machine(), "found": found})


def measured(variant: str, options: argparse.Namespace) -> dict[str, float]:
    """Seconds of a step, the sides of the model, and peak memory, of one variant."""
    who, where = variant.split(", ")
    denoiser = flux(options)
    blocks = discover(denoiser.model).blocks
    chosen = blocks if where == "all blocks" else blocks[-(len(blocks) // 3) :]
    inject(denoiser.model, [n for b in chosen for n in b.linears], options.rank, seed=0)
    parameters = list(trainable(denoiser.model).values())
    optimizer = torch.optim.AdamW(parameters, lr=1e-4)
    if who == "checkpointed":
        cover([denoiser.model.get_submodule(b.address) for b in blocks], "on", no_memory, None)
    loss = (script_step if who == "script" else our_step)(denoiser, options)
    modules = (m for m in denoiser.pipe.components.values() if isinstance(m, torch.nn.Module))
    held = [x for m in modules for x in (*m.parameters(), *m.buffers())]
    kept = kept_by_autograd(lambda: loss(0), held)
    on_cuda = denoiser.device.type == "cuda"
    if on_cuda:
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for step in range(options.steps + 2):
        if on_cuda:
            torch.cuda.synchronize()
        clock = time.perf_counter()
        loss(step).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if on_cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - clock)
    peak = torch.cuda.max_memory_allocated() / 1e9 if on_cuda else files.peak_memory_gb()
    return {
        "seconds": statistics.median(seconds[2:]),
        "kept_gb": kept / 1e9,
        "peak_gb": peak,
        "parameters": sum(parameter.numel() for parameter in parameters),
    }


def no_memory() -> MemoryEstimate:
    """Nobody asks where all blocks are checkpointed."""
    raise AssertionError


def flux(options: argparse.Namespace) -> FluxDenoiser:
    """A random FLUX; all weights frozen."""
    sizes = Sizes(
        double_blocks=options.blocks[0],
        single_blocks=options.blocks[1],
        heads=options.width // 64,
        head_dim=64,
        text_width=256,
        text_layers=4,
        text_tokens=64,
        vae_channels=(32, 64, 128, 128),
        image_size=options.size,
    )
    config = ModelConfig(
        path="random",
        height=options.size,
        width=options.size,
        dtype=options.dtype,
        max_sequence_length=sizes.text_tokens,
    )
    pipe = build_pipeline(word_list(), sizes, seed=0)
    return FluxDenoiser(pipe.to(options.device, getattr(torch, options.dtype)), config)


def pictures(options: argparse.Namespace) -> tuple[np.ndarray, list[str]]:
    """Pictures of noise, and captions."""
    shape = (PICTURES, options.size, options.size, 3)
    drawn = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    words = word_list()
    return drawn, [f"a {words[i % len(words)]} ball left of a red cube" for i in range(PICTURES)]


def rows(step: int, options: argparse.Namespace) -> list[int]:
    """The examples of a step."""
    return [(step * options.batch + i) % PICTURES for i in range(options.batch)]


def our_step(denoiser: FluxDenoiser, options: argparse.Namespace) -> Callable[[int], torch.Tensor]:
    """Everything encoded once; the family's own loss."""
    images, captions = pictures(options)
    latents, told = denoiser.encode_images(images), denoiser.encode_prompts(captions)

    def loss(step: int) -> torch.Tensor:
        places, generator = rows(step, options), torch.Generator().manual_seed(step)
        clean = latents[places]
        noise = torch.randn(clean.shape, generator=generator)
        sigma = torch.rand(len(places), generator=generator)
        return denoiser.denoising_loss(clean, noise, sigma, told[places], 1.0).mean()

    return loss


def script_step(
    denoiser: FluxDenoiser, options: argparse.Namespace
) -> Callable[[int], torch.Tensor]:
    """Pictures and captions encoded in every step, every block checkpointed."""
    pipe = denoiser.pipe
    images, captions = pictures(options)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).to(pipe.vae.dtype) / 127.5 - 1
    pipe.transformer.enable_gradient_checkpointing()
    pipe.transformer.train()

    def loss(step: int) -> torch.Tensor:
        places, device = rows(step, options), denoiser.device
        with torch.no_grad():
            embeds, pooled, text_ids = pipe.encode_prompt(
                [captions[i] for i in places], None, max_sequence_length=64
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
            guidance=None,
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


def told(found: dict[str, float]) -> str:
    """A variant's figures."""
    return (
        f"{found['seconds']:.3f} s a step, {1000 * found['kept_gb']:.1f} MB kept for the backward "
        f"pass, peak {found['peak_gb']:.2f} GB, {found['parameters']:,.0f} parameters trained"
    )


def ratio(found: dict[str, Any], ours: str, theirs: str) -> str:
    """Time and memory of one variant over another's."""
    keys = ("seconds", "kept_gb", "peak_gb")
    times, kept, peak = (found[ours][key] / found[theirs][key] for key in keys)
    return f"{times:.2f} x time, {kept:.2f} x kept, {peak:.2f} x peak memory"


def machine() -> dict[str, Any]:
    """What it ran on."""
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": card,
        "torch": torch.__version__,
        "load": list(os.getloadavg()),
    }


if __name__ == "__main__":
    main()
