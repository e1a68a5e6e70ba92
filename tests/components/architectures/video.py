"""Tiny configurations of transformers of diffusers' video pipelines, which also draw stills."""

import torch
from torch import randn

from .image import LAYER_KWARGS, T1000, TEXT, pixels
from .tiny import UNREAD_TEXT, Inputs, Tiny


def clip(text: int = 8, size: int = 4, frames: int = 1, frames_first: bool = False, **more):
    """Latents of one frame, (batch, channels, frames, height, width)."""
    shape = (1, frames, 4, size, size) if frames_first else (1, 4, frames, size, size)
    return pixels(text) | {"hidden_states": randn(shape)} | more


def wan(name: str, inputs=clip, reasons: dict[str, str] | None = None, **config) -> Tiny:
    """Wan and its descendants."""
    return Tiny(
        name,
        {
            "num_attention_heads": 2,
            "attention_head_dim": 12,
            "in_channels": 4,
            "out_channels": 4,
            "text_dim": 8,
            "freq_dim": 16,
            "ffn_dim": 16,
            "num_layers": 2,
            "cross_attn_norm": True,
            "rope_max_seq_len": 8,
            **config,
        },
        inputs,
        reasons=reasons or {},
    )


def hunyuan_video() -> Inputs:
    return clip(
        size=2,
        pooled_projections=randn(1, 8),
        encoder_attention_mask=torch.ones(1, TEXT),
        guidance=torch.tensor([1000.0]),
        timestep=T1000.float(),
    )


def hunyuan_video15() -> Inputs:
    return clip(
        size=2,
        timestep=T1000.float(),
        encoder_attention_mask=torch.ones(1, TEXT),
        encoder_hidden_states_2=randn(1, TEXT, 8),
        encoder_attention_mask_2=torch.ones(1, TEXT),
        image_embeds=torch.zeros(1, 3, 8),
    )


def vace() -> Inputs:
    return clip(control_hidden_states=randn(1, 8, 1, 4, 4))


CLASSES = [
    Tiny(
        "AllegroTransformer3DModel",
        {
            "num_attention_heads": 2,
            "attention_head_dim": 12,
            "in_channels": 4,
            "out_channels": 4,
            "num_layers": 2,
            "cross_attention_dim": 24,
            "sample_width": 4,
            "sample_height": 4,
            "sample_frames": 2,
            "caption_channels": 8,
        },
        clip,
    ),
    wan("ChronoEditTransformer3DModel", lambda: clip(frames=2), rope_temporal_skip_len=8),
    Tiny(
        "CogVideoXTransformer3DModel",
        LAYER_KWARGS
        | {
            "in_channels": 4,
            "out_channels": 4,
            "time_embed_dim": 2,
            "text_embed_dim": 8,
            "num_layers": 2,
            "sample_width": 4,
            "sample_height": 4,
            "sample_frames": 1,
            "max_text_seq_length": TEXT,
        },
        lambda: clip(frames_first=True),
    ),
    Tiny(
        "CosmosTransformer3DModel",
        {
            "in_channels": 4,
            "out_channels": 4,
            "num_attention_heads": 2,
            "attention_head_dim": 12,
            "num_layers": 2,
            "mlp_ratio": 2,
            "text_embed_dim": 8,
            "adaln_lora_dim": 4,
            "max_size": (2, 4, 4),
            "concat_padding_mask": False,
        },
        clip,
        reasons={
            "zeroing:transformer_blocks": "each block also adds a position embedding to its stream"
        },
    ),
    Tiny(
        "EasyAnimateTransformer3DModel",
        {
            "attention_head_dim": 16,
            "num_attention_heads": 2,
            "in_channels": 4,
            "out_channels": 4,
            "patch_size": 2,
            "mmdit_layers": 2,
            "num_layers": 2,
            "sample_height": 4,
            "sample_width": 4,
            "text_embed_dim": 8,
            "time_embed_dim": 8,
        },
        clip,
        reasons={"writers:transformer_blocks": UNREAD_TEXT},
    ),
    Tiny(
        "HunyuanVideoTransformer3DModel",
        LAYER_KWARGS
        | {
            "in_channels": 4,
            "out_channels": 4,
            "num_layers": 2,
            "num_single_layers": 2,
            "num_refiner_layers": 2,
            "patch_size": 1,
            "guidance_embeds": True,
            "text_embed_dim": 8,
            "pooled_projection_dim": 8,
            "rope_axes_dim": (2, 2, 4),
        },
        hunyuan_video,
    ),
    Tiny(
        "HunyuanVideo15Transformer3DModel",
        LAYER_KWARGS
        | {
            "in_channels": 4,
            "out_channels": 4,
            "num_layers": 2,
            "num_refiner_layers": 2,
            "mlp_ratio": 2.0,
            "patch_size": 1,
            "text_embed_dim": 8,
            "text_embed_2_dim": 8,
            "image_embed_dim": 8,
            "rope_axes_dim": (2, 2, 4),
            "target_size": 16,
            "task_type": "t2v",
        },
        hunyuan_video15,
        reasons={"writers:transformer_blocks": UNREAD_TEXT},
    ),
    Tiny(
        "LatteTransformer3DModel",
        LAYER_KWARGS
        | {
            "sample_size": 4,
            "num_layers": 2,
            "patch_size": 2,
            "caption_channels": 8,
            "in_channels": 4,
            "cross_attention_dim": 16,
            "out_channels": 8,
            "num_embeds_ada_norm": 1000,
            "norm_type": "ada_norm_single",
            "norm_elementwise_affine": False,
            "video_length": 1,
        },
        clip,
        reasons={
            f"deletion:{kind}": "spatial and temporal blocks alternate by index"
            for kind in ("transformer_blocks", "temporal_transformer_blocks")
        },
    ),
    Tiny(
        "LTXVideoTransformer3DModel",
        {
            "in_channels": 4,
            "out_channels": 4,
            "num_attention_heads": 2,
            "attention_head_dim": 8,
            "cross_attention_dim": 16,
            "num_layers": 2,
            "caption_channels": 8,
        },
        lambda: (
            pixels(encoder_attention_mask=torch.ones(1, TEXT).bool())
            | {
                "hidden_states": randn(1, 4, 4),
                "num_frames": 1,
                "height": 2,
                "width": 2,
            }
        ),
    ),
    Tiny(
        "MochiTransformer3DModel",
        LAYER_KWARGS
        | {
            "num_layers": 2,
            "pooled_projection_dim": 8,
            "in_channels": 4,
            "text_embed_dim": 8,
            "time_embed_dim": 4,
            "max_sequence_length": TEXT,
        },
        lambda: clip(encoder_attention_mask=torch.ones(1, TEXT, dtype=torch.bool)),
    ),
    Tiny(
        "MotifVideoTransformer3DModel",
        {
            "in_channels": 4,
            "out_channels": 4,
            "num_attention_heads": 2,
            "attention_head_dim": 12,
            "num_layers": 2,
            "num_single_layers": 2,
            "num_decoder_layers": 0,
            "mlp_ratio": 2.0,
            "patch_size": 1,
            "text_embed_dim": 8,
            "image_embed_dim": 4,
            "rope_axes_dim": (4, 4, 4),
            "enable_text_cross_attention_dual": False,
            "enable_text_cross_attention_single": False,
        },
        lambda: clip(size=2),
    ),
    Tiny(
        "SanaVideoTransformer3DModel",
        {
            "in_channels": 4,
            "out_channels": 4,
            "num_attention_heads": 2,
            "attention_head_dim": 12,
            "num_layers": 2,
            "num_cross_attention_heads": 2,
            "cross_attention_head_dim": 12,
            "cross_attention_dim": 24,
            "caption_channels": 8,
            "sample_size": 4,
            "rope_max_seq_len": 8,
        },
        clip,
    ),
    wan("SkyReelsV2Transformer3DModel"),
    wan("WanTransformer3DModel"),
    wan(
        "WanVACETransformer3DModel",
        vace,
        {"deletion:blocks": "hints join the blocks of certain indices"},
        num_layers=3,
        vace_layers=[0, 2],
        vace_in_channels=8,
    ),
]
