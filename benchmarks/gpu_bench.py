"""A random FLUX of the real size made on a card, and what times things there (`gpu.py`)."""

import argparse
import gc
import io
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
)
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from ablate2tune.models import FluxDenoiser
from ablate2tune.models.model_config import ModelConfig
from ablate2tune.scenes import vocabulary
from ablate2tune.testbed.architecture import word_tokenizer
from ablate2tune.testbed.text import word_list

REAL: dict[str, Any] = {
    "transformer": {"guidance_embeds": True},  # FLUX.1-dev's, but for diffusers' defaults
    "vae": {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2},
    "groups": 32,
    "latent": 16,
    "clip": {"num_attention_heads": 12},
    "t5": {"d_ff": 10240, "num_heads": 64, "d_kv": 64},
    "tokens": 512,
    "pixels": (512, 1024),
}
TINY: dict[str, Any] = {
    "transformer": {
        **{"num_layers": 2, "num_single_layers": 4, "num_attention_heads": 4},
        **{"attention_head_dim": 16, "axes_dims_rope": (4, 6, 6), "guidance_embeds": True},
        **{"joint_attention_dim": 64, "pooled_projection_dim": 32, "in_channels": 16},
    },
    "vae": {"block_out_channels": (8, 16), "layers_per_block": 1},
    "groups": 4,
    "latent": 4,
    "clip": {"num_attention_heads": 2},
    "t5": {"d_ff": 64, "num_heads": 4, "d_kv": 16},
    "tokens": 32,
    "pixels": (32, 64),
}

Found = dict[str, Any]
"""Figures by name."""


class Bench:
    """The model, the card and what is left of the time."""

    def __init__(self, options: argparse.Namespace, sizes: dict[str, Any], folder: Path):
        self.options, self.sizes, self.folder = options, sizes, folder
        self.device = torch.device(options.device)
        alive = time.time() - psutil.Process().create_time()  # imports count
        self.began = time.perf_counter() - (alive if 0 < alive < 60 else 20)
        self.peak = None
        with torch.no_grad():
            self.denoiser = FluxDenoiser(flux(sizes, self.device), self.config(0))

    def config(self, size: int) -> ModelConfig:
        """The section `model` at one of the sizes."""
        pixels = self.sizes["pixels"][size]
        return ModelConfig(
            path=str(self.folder),
            dtype="bfloat16",
            device=self.options.device,
            height=pixels,
            width=pixels,
            max_sequence_length=self.sizes["tokens"],
        )

    @property
    def left(self) -> float:
        """Seconds."""
        return self.options.seconds - (time.perf_counter() - self.began)

    def say(self, line: str) -> None:
        """A line of progress."""
        print(f"[{time.perf_counter() - self.began:6.1f} s] {line}", flush=True)

    def seconds(self, run: Callable[[], object]) -> float:
        """What something takes, the card's work included."""
        self.sync()
        clock = time.perf_counter()
        run()
        self.sync()
        return time.perf_counter() - clock

    def sync(self) -> None:
        """Wait for the card."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def fresh(self) -> None:
        """Nothing unused is held, and peaks are counted from here."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def memory(self) -> Found:
        """Peaks since `fresh`, in GB; none on the CPU."""
        if self.device.type != "cuda":
            return {"peak_gb": None}
        peaks = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
        return {"peak_gb": round(peaks[0] / 1e9, 2), "reserved_gb": round(peaks[1] / 1e9, 2)}

    def of_peak(self, flops: float, seconds: float) -> Found:
        """A rate, and what of the card's matrix products' it is."""
        rate = flops / seconds / 1e12
        return {
            "tflop_per_s": round(rate, 1),
            "of_matmul_peak": round(rate / self.peak, 3) if self.peak else None,
        }


def flux(sizes: dict[str, Any], device: torch.device) -> FluxPipeline:
    """A stock pipeline of random bfloat16 weights, made where it is used."""
    tokens = sizes["tokens"]
    with torch.device("meta"):
        transformer = FluxTransformer2DModel(**sizes["transformer"])
        levels = len(sizes["vae"]["block_out_channels"])
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * levels,  # pyright: ignore
            up_block_types=("UpDecoderBlock2D",) * levels,  # pyright: ignore
            latent_channels=sizes["latent"],
            norm_num_groups=sizes["groups"],
            scaling_factor=0.3611,
            shift_factor=0.1159,
            use_quant_conv=False,
            use_post_quant_conv=False,
            **sizes["vae"],
        )
    transformer, vae = (_filled(part, device) for part in (transformer, vae))
    clip_words, t5_words = (word_tokenizer(word_list(), n, n == 77) for n in (77, tokens))
    with device:
        clip = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(clip_words),
                hidden_size=transformer.config["pooled_projection_dim"],
                num_hidden_layers=1,
                pad_token_id=clip_words.pad_token_id,  # pyright: ignore
                bos_token_id=clip_words.bos_token_id,  # pyright: ignore
                eos_token_id=clip_words.eos_token_id,  # pyright: ignore
                **sizes["clip"],
            )
        )
        t5 = T5EncoderModel(
            T5Config(
                vocab_size=len(t5_words),
                d_model=transformer.config["joint_attention_dim"],
                num_layers=1,
                feed_forward_proj="gated-gelu",
                **sizes["t5"],
            )
        )
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        vae=vae,
        text_encoder=clip.to(device, torch.bfloat16),  # pyright: ignore
        tokenizer=clip_words,  # pyright: ignore
        text_encoder_2=t5.to(device, torch.bfloat16),  # pyright: ignore
        tokenizer_2=t5_words,  # pyright: ignore
        transformer=transformer,
    )


def _filled(module: Any, device: torch.device) -> Any:
    """A module of the meta device on another: norms 1, biases 0, the rest normal(0, 0.02)."""
    module = module.to(torch.bfloat16).to_empty(device=device)
    for name, parameter in module.named_parameters():
        if parameter.ndim > 1:
            parameter.data.normal_(0, 0.02)
        else:
            parameter.data.fill_(float(name.endswith("weight")))
    return module


class Drawn:
    """A picture of coarse noise."""

    def __init__(self, index: int, pixels: int):
        drawn = np.random.default_rng(index).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(drawn).resize((pixels, pixels)).save(file, "PNG")
        self.data = file.getvalue()

    def read_bytes(self) -> bytes:
        """The file."""
        return self.data


def captions(index: int) -> list[str]:
    """A caption and its foil."""
    first, second = np.roll(vocabulary.COLOURS, index)[:2]
    subject, thing = np.roll(vocabulary.KINDS, index)[:2]
    relation = vocabulary.RELATIONS[index % 6]
    said = relation, vocabulary.OPPOSITE[relation]
    return [vocabulary.caption(first, subject, each, second, thing) for each in said]


def failure(error: Exception) -> Found:
    """What went wrong, in a line; its trace goes to the log."""
    traceback.print_exception(error)
    return {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"}


def guarded(run: Callable[[], Found]) -> Found:
    """What it finds, or what went wrong."""
    try:
        return run()
    except Exception as error:
        return failure(error)
