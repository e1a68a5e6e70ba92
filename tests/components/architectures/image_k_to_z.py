"""Tiny configurations of the transformers of diffusers' image pipelines, Kandinsky to Z-Image."""

import torch
from torch import rand, randn

from .image import LAYER_KWARGS, T1000, TEXT, T, flux, pixels, tokens
from .tiny import UNREAD_TEXT, Inputs, Tiny


def krea2() -> Inputs:
    return {
        "hidden_states": randn(1, 4, 4),
        "encoder_hidden_states": randn(1, TEXT, 2, 8),
        "timestep": T,
        "position_ids": torch.arange(TEXT + 4)[:, None].repeat(1, 3).float(),
        "encoder_attention_mask": torch.ones(1, TEXT, dtype=torch.bool),
    }


def qwen_image() -> Inputs:
    return {
        "hidden_states": randn(1, 4, 16),
        "encoder_hidden_states": randn(1, TEXT, 8),
        "encoder_hidden_states_mask": torch.ones(1, TEXT, dtype=torch.long),
        "timestep": T,
        "img_shapes": [[(1, 2, 2)]],
    }


def qwen_image21() -> Inputs:
    slots = torch.tensor([[False] * TEXT + [True] * 4])
    return {
        "hidden_states": randn(1, 16, 4),
        "encoder_hidden_states": randn(1, TEXT, 8),
        "timestep": T,
        "img_shapes": [[(1, 4, 4)]],
        "img_mask": slots,
    }


def omnigen() -> Inputs:
    length = TEXT + 1 + 4
    return {
        "hidden_states": randn(1, 4, 4, 4),
        "timestep": T,
        "input_ids": torch.arange(1, TEXT + 1)[None],
        "input_img_latents": [],
        "input_image_sizes": {},
        "attention_mask": torch.ones(1, length, length),
        "position_ids": torch.arange(length)[None],
    }


def kandinsky5() -> Inputs:
    return {
        "hidden_states": randn(1, 1, 4, 4, 4),
        "encoder_hidden_states": randn(1, TEXT, 8),
        "timestep": T1000.float(),
        "pooled_projections": randn(1, 8),
        "visual_rope_pos": [torch.arange(1), torch.arange(2), torch.arange(2)],
        "text_rope_pos": torch.arange(TEXT),
    }


def z_image() -> Inputs:
    return {"x": [randn(4, 1, 4, 4)], "cap_feats": [randn(TEXT, 8)], "t": T}


CLASSES = [
    Tiny(
        "Kandinsky5Transformer3DModel",
        {
            "in_visual_dim": 4,
            "in_text_dim": 8,
            "in_text_dim2": 8,
            "time_dim": 16,
            "out_visual_dim": 4,
            "model_dim": 16,
            "ff_dim": 16,
            "num_text_blocks": 2,
            "num_visual_blocks": 2,
            "axes_dims": (4, 2, 2),
        },
        kandinsky5,
        shared=("visual_rope_pos", "text_rope_pos"),
    ),
    Tiny(
        "Krea2Transformer2DModel",
        {
            "in_channels": 4,
            "num_layers": 2,
            "attention_head_dim": 8,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "intermediate_size": 16,
            "timestep_embed_dim": 8,
            "text_hidden_dim": 8,
            "num_text_layers": 2,
            "text_num_attention_heads": 2,
            "text_num_key_value_heads": 1,
            "text_intermediate_size": 16,
            "num_layerwise_text_blocks": 2,
            "num_refiner_text_blocks": 2,
            "axes_dims_rope": (4, 2, 2),
        },
        krea2,
        shared=("position_ids",),
    ),
    flux(
        "LongCatImageTransformer2DModel",
        lambda: tokens(guidance=torch.tensor([3.5])),
        pooled_projection_dim=8,
    ),
    Tiny(
        "LuminaNextDiT2DModel",
        {
            "sample_size": 4,
            "patch_size": 2,
            "in_channels": 4,
            "hidden_size": 16,
            "num_layers": 2,
            "num_attention_heads": 4,
            "num_kv_heads": 2,
            "multiple_of": 8,
            "learn_sigma": False,
            "qk_norm": True,
            "cross_attention_dim": 8,
        },
        lambda: pixels(
            time=T,
            encoder_mask=torch.ones(1, TEXT),
            image_rotary_emb=torch.polar(torch.ones(4, 4, 2), rand(4, 4, 2)),
            cross_attention_kwargs={},
        ),
        shared=("image_rotary_emb",),
    ),
    Tiny(
        "Lumina2Transformer2DModel",
        {
            "sample_size": 4,
            "in_channels": 4,
            "hidden_size": 32,
            "num_layers": 2,
            "num_refiner_layers": 2,
            "num_attention_heads": 4,
            "num_kv_heads": 2,
            "multiple_of": 8,
            "axes_dim_rope": (4, 2, 2),
            "axes_lens": (32, 32, 32),
            "cap_feat_dim": 8,
        },
        lambda: pixels(time=T, encoder_attention_mask=torch.ones(1, TEXT, dtype=torch.bool)),
    ),
    Tiny(
        "NucleusMoEImageTransformer2DModel",
        LAYER_KWARGS
        | {
            "in_channels": 16,
            "out_channels": 4,
            "num_layers": 2,
            "attention_head_dim": 24,
            "joint_attention_dim": 8,
            "axes_dims_rope": (8, 8, 8),
            "moe_enabled": False,
            "capacity_factors": [8.0, 8.0],
        },
        qwen_image,
    ),
    Tiny(
        "OmniGenTransformer2DModel",
        {
            "in_channels": 4,
            "hidden_size": 16,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "intermediate_size": 16,
            "num_layers": 2,
            "pad_token_id": 0,
            "vocab_size": 16,
            "time_step_dim": 4,
            "rope_scaling": {"long_factor": [1, 2, 3, 4], "short_factor": [1, 2, 3, 4]},
        },
        omnigen,
    ),
    flux("OvisImageTransformer2DModel", out_channels=4),
    Tiny(
        "PixArtTransformer2DModel",
        LAYER_KWARGS
        | {
            "sample_size": 4,
            "num_layers": 2,
            "in_channels": 4,
            "cross_attention_dim": 16,
            "caption_channels": 8,
            "out_channels": 8,
            "use_additional_conditions": False,
        },
        lambda: pixels(added_cond_kwargs={"resolution": None, "aspect_ratio": None}),
    ),
    Tiny(
        "PriorTransformer",
        LAYER_KWARGS | {"num_layers": 2, "embedding_dim": 16, "num_embeddings": TEXT},
        lambda: {
            "hidden_states": randn(1, 16),
            "timestep": 2,
            "proj_embedding": randn(1, 16),
            "encoder_hidden_states": randn(1, TEXT, 16),
        },
    ),
    Tiny(
        "PRXTransformer2DModel",
        {
            "in_channels": 4,
            "context_in_dim": 8,
            "hidden_size": 16,
            "mlp_ratio": 2.0,
            "num_heads": 2,
            "depth": 2,
            "axes_dim": [4, 4],
        },
        lambda: pixels(time=T),
    ),
    Tiny(
        "QwenImageTransformer2DModel",
        LAYER_KWARGS
        | {
            "in_channels": 16,
            "out_channels": 4,
            "num_layers": 2,
            "joint_attention_dim": 8,
            "axes_dims_rope": (4, 2, 2),
        },
        qwen_image,
        reasons={"writers:transformer_blocks": UNREAD_TEXT},
    ),
    Tiny(
        "QwenImage21Transformer2DModel",
        LAYER_KWARGS
        | {
            "in_channels": 4,
            "out_channels": 4,
            "num_layers": 2,
            "context_in_dim": 8,
            "axes_dims_rope": (4, 2, 2),
        },
        qwen_image21,
    ),
    Tiny(
        "SanaTransformer2DModel",
        LAYER_KWARGS
        | {
            "in_channels": 4,
            "out_channels": 4,
            "num_layers": 2,
            "num_cross_attention_heads": 2,
            "cross_attention_head_dim": 8,
            "cross_attention_dim": 16,
            "caption_channels": 8,
            "sample_size": 4,
        },
        pixels,
    ),
    Tiny(
        "SD3Transformer2DModel",
        LAYER_KWARGS
        | {
            "sample_size": 4,
            "in_channels": 4,
            "out_channels": 4,
            "num_layers": 3,
            "caption_projection_dim": 16,
            "joint_attention_dim": 8,
            "pooled_projection_dim": 8,
            "pos_embed_max_size": 4,
            "dual_attention_layers": (0,),
            "qk_norm": "rms_norm",
        },
        lambda: pixels(pooled_projections=randn(1, 8)),
    ),
    Tiny(
        "Transformer2DModel",
        LAYER_KWARGS
        | {
            "in_channels": 4,
            "num_layers": 2,
            "norm_num_groups": 2,
            "cross_attention_dim": 8,
        },
        pixels,
    ),
    Tiny(
        "ZImageTransformer2DModel",
        {
            "in_channels": 4,
            "dim": 16,
            "n_layers": 2,
            "n_refiner_layers": 2,
            "n_heads": 2,
            "n_kv_heads": 2,
            "cap_feat_dim": 8,
            "axes_dims": [4, 2, 2],
            "axes_lens": [64, 32, 32],
        },
        z_image,
    ),
]
