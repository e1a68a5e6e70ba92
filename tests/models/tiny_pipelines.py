"""A tiny random pipeline of each family: stock classes, one or two blocks, 32 pixels."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import diffusers
from tiny_diffusion import cogview3_plus, hunyuan_dit, pixart, stable_diffusion, stable_diffusion_xl
from tiny_flow import (
    aura_flow,
    chroma,
    cogview4,
    flux,
    flux2,
    flux2_klein,
    lumina2,
    qwen_image,
    sana,
    stable_diffusion_3,
    z_image,
)
from tiny_parts import TOKENS


@dataclass(frozen=True)
class Family:
    """One pipeline class."""

    name: str
    build: Callable[[], Any]
    blocks: dict[str, int]
    """Stacks of the denoiser with their blocks."""
    unskippable: tuple[str, ...] = ()
    """Blocks that cannot be skipped."""
    span: int | None = None
    """Row of the seventh word's embedding; None for causal encoders, where it can be seen."""
    tokens: int = TOKENS
    """Tokens that prompts are padded to."""
    uses_mean: bool = True
    """Whether mode "mean" has a meaning."""
    label: str = ""

    def __str__(self) -> str:
        return self.label or self.name.removesuffix("Pipeline")


UNET = {
    "down_blocks.1.attentions.0.transformer_blocks": 1,
    "mid_block.attentions.0.transformer_blocks": 1,
    "up_blocks.0.attentions.0.transformer_blocks": 1,
    "up_blocks.0.attentions.1.transformer_blocks": 1,
}
JOINT = {"transformer_blocks": 2, "single_transformer_blocks": 2}
FAMILIES = [
    Family("FluxPipeline", flux, JOINT, span=6),
    Family("StableDiffusion3Pipeline", stable_diffusion_3, {"transformer_blocks": 2}, span=30),
    Family(
        "AuraFlowPipeline",
        aura_flow,
        {"joint_transformer_blocks": 1, "single_transformer_blocks": 2},
        span=6,
    ),
    Family(
        "Lumina2Pipeline",
        lumina2,
        tokens=64,
        blocks={"noise_refiner": 1, "context_refiner": 1, "layers": 2},
        uses_mean=False,
    ),
    Family("QwenImagePipeline", qwen_image, {"transformer_blocks": 2}),
    Family("SanaPipeline", sana, {"transformer_blocks": 2}),
    Family("ChromaPipeline", chroma, JOINT, span=6),
    Family("CogView4Pipeline", cogview4, {"transformer_blocks": 2}),
    Family(
        "ZImagePipeline",
        z_image,
        {"noise_refiner": 1, "context_refiner": 1, "layers": 2},
        uses_mean=False,
    ),
    Family("Flux2Pipeline", flux2, JOINT, tokens=128),
    Family("Flux2KleinPipeline", flux2_klein, JOINT),
    Family(
        "PixArtAlphaPipeline",
        lambda: pixart(diffusers.PixArtAlphaPipeline),
        {"transformer_blocks": 2},
        span=6,
    ),
    Family(
        "PixArtSigmaPipeline",
        lambda: pixart(diffusers.PixArtSigmaPipeline),
        {"transformer_blocks": 2},
        span=6,
    ),
    Family(
        "HunyuanDiTPipeline",
        hunyuan_dit,
        {"blocks": 4},
        unskippable=("blocks.3",),
        span=7,
    ),
    Family("CogView3PlusPipeline", cogview3_plus, {"transformer_blocks": 2}, span=6),
    Family("StableDiffusionPipeline", lambda: stable_diffusion("epsilon"), UNET),
    Family(
        "StableDiffusionPipeline",
        lambda: stable_diffusion("v_prediction"),
        UNET,
        label="StableDiffusion-v",
    ),
    Family("StableDiffusionXLPipeline", stable_diffusion_xl, UNET),
]
