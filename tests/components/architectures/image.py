"""Tiny configurations of the transformers of diffusers' image pipelines."""

import torch
from torch import rand, randn

from .tiny import UNREAD_TEXT, Inputs, Tiny

TEXT = 5
"""Text tokens in the inputs below, unlike the number of image tokens."""
T = torch.tensor([0.5])
T1000 = torch.tensor([500])
READS_FIRST = "the forward reads the embedder of its first block"
LAYER_KWARGS = {"num_attention_heads": 2, "attention_head_dim": 8}


def pixels(text: int = 8, size: int = 4, channels: int = 4, time=T1000, **more) -> Inputs:
    """Latents as pictures, and text embeddings."""
    return {
        "hidden_states": randn(1, channels, size, size),
        "encoder_hidden_states": randn(1, TEXT, text),
        "timestep": time,
        **more,
    }


def tokens(text: int = 8, channels: int = 4, ids: int = 3, **more) -> Inputs:
    """Packed latents and text embeddings with the position ids of both, as FLUX takes them."""
    image_ids = torch.zeros(4, ids)
    image_ids[:, 1], image_ids[:, 2] = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
    return {
        "hidden_states": randn(1, 4, channels),
        "encoder_hidden_states": randn(1, TEXT, text),
        "timestep": T,
        "img_ids": image_ids,
        "txt_ids": torch.zeros(TEXT, ids),
        **more,
    }


def flux(name: str, inputs=tokens, by_index: str | None = None, **config) -> Tiny:
    """A model with double blocks, then single blocks.

    `by_index` says what the forward looks up by a block's index, if anything.
    """
    stacks = ("transformer_blocks", "single_transformer_blocks")
    defaults = {
        "in_channels": 4,
        "num_layers": 2,
        "num_single_layers": 2,
        "attention_head_dim": 8,
        "num_attention_heads": 2,
        "joint_attention_dim": 8,
        "axes_dims_rope": (2, 2, 4),
    }
    return Tiny(
        name,
        defaults | config,
        inputs,
        shared=("img_ids", "txt_ids", "image_cond_ids"),
        reasons={f"deletion:{stack}": by_index for stack in stacks} if by_index else {},
        repeat={"text_encoder_layers": lambda layers, rows: [x.repeat(rows, 1, 1) for x in layers]},
    )


def sized(**more) -> Inputs:
    """CogView's inputs: sizes and crop beside the latents."""
    size = torch.tensor([[32.0, 32.0]])
    return pixels(original_size=size, target_size=size, crop_coords=torch.zeros(1, 2), **more)


def cogview(name: str, **config) -> Tiny:
    """CogView3+ and CogView4."""
    return Tiny(
        name,
        {
            "patch_size": 2,
            "in_channels": 4,
            "out_channels": 4,
            "num_layers": 2,
            "attention_head_dim": 8,
            "num_attention_heads": 2,
            "text_embed_dim": 8,
            "time_embed_dim": 8,
            "condition_dim": 2,
            "sample_size": 4,
            **config,
        },
        sized,
    )


def hunyuan_dit() -> Inputs:
    return pixels(
        time=torch.tensor([500.0]),
        text_embedding_mask=torch.ones(1, TEXT),
        encoder_hidden_states_t5=randn(1, TEXT, 8),
        text_embedding_mask_t5=torch.ones(1, TEXT),
        image_meta_size=torch.tensor([[32.0, 32, 32, 32, 0, 0]]),
        style=torch.zeros(1, dtype=torch.long),
        image_rotary_emb=[rand(4, 8), rand(4, 8)],
    )


def glm_image() -> Inputs:
    return pixels(
        prior_token_id=torch.tensor([[1, 2, 3, 4]]),
        prior_token_drop=torch.zeros(1, dtype=torch.bool),
        target_size=torch.tensor([[4.0, 4.0]]),
        crop_coords=torch.zeros(1, 2),
    )


def ideogram4() -> Inputs:
    image = torch.tensor([False] * TEXT + [True] * 4)
    positions = torch.arange(TEXT + 4)[None, :, None].repeat(1, 1, 3)
    return {
        "hidden_states": randn(1, TEXT + 4, 4) * image[None, :, None],
        "encoder_hidden_states": randn(1, TEXT + 4, 8) * ~image[None, :, None],
        "timestep": T,
        "position_ids": positions,
        "segment_ids": torch.ones(1, TEXT + 4, dtype=torch.long),
        "indicator": torch.where(image, 2, 3)[None],
    }


def hidream() -> Inputs:
    return {
        "hidden_states": randn(1, 4, 4, 4),
        "encoder_hidden_states_t5": randn(1, TEXT, 8),
        "encoder_hidden_states_llama3": randn(2, 1, TEXT, 4),
        "pooled_embeds": randn(1, 8),
        "timesteps": T1000,
    }


CLASSES = [
    Tiny(
        "AuraFlowTransformer2DModel",
        {
            "sample_size": 4,
            "in_channels": 4,
            "out_channels": 4,
            "num_mmdit_layers": 2,
            "num_single_dit_layers": 2,
            "attention_head_dim": 8,
            "num_attention_heads": 2,
            "caption_projection_dim": 16,
            "joint_attention_dim": 8,
            "pos_embed_max_size": 16,
        },
        pixels,
        reasons={
            f"writers:{kind}_transformer_blocks": "the attention acts through the MLP alone"
            for kind in ("joint", "single")
        },
    ),
    flux("BriaTransformer2DModel", pooled_projection_dim=None, axes_dims_rope=(0, 4, 4)),
    flux(
        "BriaFiboTransformer2DModel",
        lambda: tokens(16, text_encoder_layers=[randn(1, TEXT, 8) for _ in range(4)]),
        "each block takes a layer of the text encoder by its index",
        joint_attention_dim=16,
        text_encoder_dim=8,
        pooled_projection_dim=None,
        axes_dims_rope=(0, 4, 4),
    ),
    Tiny(
        "BriaFibo2Transformer2DModel",
        {
            "in_channels": 4,
            "dim": 24,
            "n_layers": 2,
            "n_refiner_layers": 2,
            "n_heads": 2,
            "cap_feat_dim": 8,
            "injection_layer_ids": (1,),
            "perceiver_num_layers": 2,
            "min_num_gist_tokens": 4,
            "max_num_gist_tokens": 4,
            "gist_step": 2,
            "gist_min_text_len": 2,
            "gist_max_text_len": 8,
            "axes_dims": (4, 4, 4),
            "axes_lens": (32, 8, 8),
        },
        lambda: pixels(time=T) | {"encoder_hidden_states": randn(1, 2, TEXT, 8)},
        reasons={"deletion:layers": "text is given to the layers of certain indices"},
    ),
    flux(
        "ChromaTransformer2DModel",
        by_index="each block's modulation is looked up by its index",
        approximator_num_channels=8,
        approximator_hidden_dim=16,
        approximator_layers=1,
    ),
    cogview("CogView3PlusTransformer2DModel", pos_embed_max_size=4),
    cogview("CogView4Transformer2DModel"),
    Tiny(
        "DiTTransformer2DModel",
        LAYER_KWARGS
        | {
            "in_channels": 4,
            "num_layers": 2,
            "num_embeds_ada_norm": 8,
            "sample_size": 4,
            "norm_type": "ada_norm_zero",
        },
        lambda: {
            "hidden_states": randn(1, 4, 4, 4),
            "timestep": T1000,
            "class_labels": torch.tensor([3]),
        },
        reasons={"deletion:transformer_blocks": READS_FIRST},
    ),
    Tiny(
        "DreamLiteTransformer2DModel",
        LAYER_KWARGS
        | {
            "in_channels": 4,
            "num_layers": 2,
            "norm_num_groups": 2,
            "cross_attention_dim": 8,
        },
        lambda: pixels(),
    ),
    Tiny(
        "ErnieImageTransformer2DModel",
        {
            "hidden_size": 16,
            "num_attention_heads": 2,
            "num_layers": 2,
            "ffn_hidden_size": 16,
            "in_channels": 4,
            "out_channels": 4,
            "text_in_dim": 8,
            "rope_axes_dim": (4, 2, 2),
        },
        lambda: {
            "hidden_states": randn(1, 4, 2, 2),
            "timestep": T,
            "text_bth": randn(1, TEXT, 8),
            "text_lens": torch.tensor([TEXT]),
        },
    ),
    flux(
        "FluxTransformer2DModel",
        lambda: tokens(pooled_projections=randn(1, 8)),
        pooled_projection_dim=8,
    ),
    flux(
        "Flux2Transformer2DModel",
        lambda: tokens(ids=4, guidance=torch.tensor([1.0])),
        timestep_guidance_channels=16,
        axes_dims_rope=(2, 2, 2, 2),
    ),
    flux(
        "Flux3Transformer2DModel",
        lambda: tokens(ids=4, image_cond_hidden_states=randn(1, 3, 4), image_cond_ids=rand(3, 4)),
        cond_in_channels=4,
        timestep_channels=16,
        axes_dims_rope=(2, 2, 2, 2),
    ),
    Tiny(
        "GlmImageTransformer2DModel",
        LAYER_KWARGS
        | {
            "in_channels": 4,
            "out_channels": 4,
            "num_layers": 2,
            "text_embed_dim": 8,
            "time_embed_dim": 8,
            "condition_dim": 4,
            "prior_vq_quantizer_codebook_size": 8,
        },
        glm_image,
    ),
    Tiny(
        "HiDreamImageTransformer2DModel",
        LAYER_KWARGS
        | {
            "patch_size": 2,
            "in_channels": 4,
            "out_channels": 4,
            "num_layers": 2,
            "num_single_layers": 2,
            "caption_channels": [8, 4],
            "text_emb_dim": 8,
            "num_routed_experts": 2,
            "num_activated_experts": 2,
            "axes_dims_rope": (4, 2, 2),
            "max_resolution": (4, 4),
            "llama_layers": (0, 1, 1, 1),
            "force_inference_output": True,
        },
        hidream,
        reasons={
            f"deletion:{kind}_stream_blocks": "each block takes a layer of Llama by its index"
            for kind in ("double", "single")
        },
        repeat={"encoder_hidden_states_llama3": lambda value, rows: value.repeat(1, rows, 1, 1)},
    ),
    Tiny(
        "HunyuanDiT2DModel",
        {
            "sample_size": 4,
            "patch_size": 2,
            "in_channels": 4,
            "num_layers": 4,
            "attention_head_dim": 8,
            "num_attention_heads": 2,
            "cross_attention_dim": 8,
            "cross_attention_dim_t5": 8,
            "pooled_projection_dim": 4,
            "hidden_size": 16,
            "text_len": TEXT,
            "text_len_t5": TEXT,
            "activation_fn": "gelu-approximate",
        },
        hunyuan_dit,
        shared=("image_rotary_emb",),
        reasons={"deletion:blocks": "the upper blocks take outputs of the lower ones by index"},
    ),
    Tiny(
        "HunyuanImageTransformer2DModel",
        LAYER_KWARGS
        | {
            "in_channels": 4,
            "out_channels": 4,
            "num_layers": 2,
            "num_single_layers": 2,
            "num_refiner_layers": 2,
            "text_embed_dim": 8,
            "rope_axes_dim": (4, 4),
            "mlp_ratio": 2.0,
        },
        lambda: pixels(size=2, time=T, encoder_attention_mask=torch.ones(1, TEXT)),
    ),
    Tiny(
        "Ideogram4Transformer2DModel",
        {
            "in_channels": 4,
            "num_layers": 2,
            "attention_head_dim": 8,
            "num_attention_heads": 2,
            "intermediate_size": 16,
            "adaln_dim": 8,
            "llm_features_dim": 8,
            "mrope_section": (2, 1, 1),
        },
        ideogram4,
    ),
    Tiny(
        "JoyImageEditTransformer3DModel",
        {
            "in_channels": 4,
            "hidden_size": 32,
            "num_attention_heads": 2,
            "text_dim": 8,
            "num_layers": 2,
            "rope_dim_list": [4, 6, 6],
        },
        lambda: pixels(time=T) | {"hidden_states": randn(1, 4, 1, 4, 4)},
        reasons={"writers:double_blocks": UNREAD_TEXT},
    ),
    Tiny(
        "JoyImageEditPlusTransformer3DModel",
        {
            "in_channels": 4,
            "hidden_size": 32,
            "num_attention_heads": 2,
            "text_dim": 8,
            "num_layers": 2,
            "rope_dim_list": [4, 6, 6],
        },
        lambda: (
            pixels(time=T)
            | {
                "hidden_states": randn(1, 2, 4, 1, 2, 2),
                "shape_list": [[(1, 1, 1), (1, 1, 1)]],
            }
        ),
        reasons={"writers:double_blocks": UNREAD_TEXT},
    ),
]
