"""Tiny random pipelines of the families that flow matching trains."""

from typing import Any

import diffusers
import transformers
from tiny_parts import (
    DECODER,
    HEADS,
    SCALE,
    TINY,
    clip,
    cogview,
    flow,
    gemma,
    t5,
    tokenizer,
    vae,
    vocabulary,
)

from ablate2tune.testbed.architecture import build_pipeline
from ablate2tune.testbed.text import word_list


def flux() -> Any:
    pipe = build_pipeline(word_list(), TINY, seed=0)
    pipe.scheduler = flow()
    return pipe


def stable_diffusion_3() -> Any:
    projected = transformers.CLIPTextModelWithProjection
    return diffusers.StableDiffusion3Pipeline(
        transformer=diffusers.SD3Transformer2DModel(
            sample_size=4,
            in_channels=4,
            out_channels=4,
            num_layers=2,
            caption_projection_dim=16,
            joint_attention_dim=32,
            pooled_projection_dim=32,
            pos_embed_max_size=4,
            **HEADS,
        ),
        scheduler=flow(),
        vae=vae(),
        text_encoder=clip(projected),
        tokenizer=tokenizer(start=True),
        text_encoder_2=clip(projected),
        tokenizer_2=tokenizer(start=True),
        text_encoder_3=t5(width=32),
        tokenizer_3=tokenizer(),
    )


def aura_flow() -> Any:
    return diffusers.AuraFlowPipeline(
        tokenizer=tokenizer(),
        text_encoder=t5(transformers.UMT5EncoderModel, transformers.UMT5Config),
        vae=vae(),
        transformer=diffusers.AuraFlowTransformer2DModel(
            sample_size=4,
            in_channels=4,
            out_channels=4,
            num_mmdit_layers=1,
            num_single_dit_layers=2,
            caption_projection_dim=16,
            joint_attention_dim=16,
            pos_embed_max_size=16,
            **HEADS,
        ),
        scheduler=flow(),
    )


def lumina2() -> Any:
    return diffusers.Lumina2Pipeline(
        transformer=diffusers.Lumina2Transformer2DModel(
            sample_size=4,
            in_channels=4,
            hidden_size=32,
            num_layers=2,
            num_refiner_layers=1,
            num_attention_heads=4,
            num_kv_heads=2,
            multiple_of=8,
            axes_dim_rope=(4, 2, 2),
            axes_lens=(128, 32, 32),
            cap_feat_dim=16,
        ),
        scheduler=flow(),
        vae=vae(),
        text_encoder=gemma(),
        tokenizer=tokenizer(),
    )


def qwen_image() -> Any:
    vision = {"depth": 1, "hidden_size": 16, "num_heads": 2, "out_hidden_size": 16}
    config = transformers.Qwen2_5_VLConfig(
        text_config={
            **DECODER,
            "vocab_size": vocabulary(),
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e4,
                "mrope_section": [1, 1, 2],
            },
        },
        vision_config=vision | {"intermediate_size": 16, "patch_size": 14},
    )
    return diffusers.QwenImagePipeline(
        scheduler=flow(),
        vae=diffusers.AutoencoderKLQwenImage(
            base_dim=8,
            z_dim=4,
            dim_mult=[1, 1, 1, 1],
            num_res_blocks=1,
            temperal_downsample=[False, True, True],
            latents_mean=[0.1, -0.2, 0.3, 0.0],
            latents_std=[1.0, 0.5, 2.0, 1.5],
        ),
        text_encoder=transformers.Qwen2_5_VLForConditionalGeneration(config),
        tokenizer=tokenizer(),
        transformer=diffusers.QwenImageTransformer2DModel(
            in_channels=16,
            out_channels=4,
            num_layers=2,
            joint_attention_dim=16,
            axes_dims_rope=(4, 2, 2),
            **HEADS,
        ),
    )


def sana() -> Any:
    levels = {"encoder": (8,) * 4, "decoder": (8,) * 4}
    sizes = {f"{side}_block_out_channels": width for side, width in levels.items()}
    kinds = {f"{side}_block_types": ("ResBlock",) * 4 for side in levels}
    depth = {f"{side}_layers_per_block": (1,) * 4 for side in levels}
    scales = {f"{side}_qkv_multiscales": ((),) * 4 for side in levels}
    return diffusers.SanaPipeline(
        tokenizer=tokenizer(),
        text_encoder=gemma(),
        vae=diffusers.AutoencoderDC(
            latent_channels=4,
            attention_head_dim=4,
            scaling_factor=SCALE,
            **sizes,
            **kinds,
            **depth,
            **scales,
        ),
        transformer=diffusers.SanaTransformer2DModel(
            in_channels=4,
            out_channels=4,
            num_layers=2,
            num_cross_attention_heads=2,
            cross_attention_head_dim=8,
            cross_attention_dim=16,
            caption_channels=16,
            sample_size=4,
            patch_size=1,
            **HEADS,
        ),
        scheduler=flow(),
    )


def chroma() -> Any:
    return diffusers.ChromaPipeline(
        scheduler=flow(),
        vae=vae(),
        text_encoder=t5(),
        tokenizer=tokenizer(),
        transformer=diffusers.ChromaTransformer2DModel(
            in_channels=16,
            num_layers=2,
            num_single_layers=2,
            joint_attention_dim=16,
            axes_dims_rope=(2, 2, 4),
            approximator_num_channels=8,
            approximator_hidden_dim=16,
            approximator_layers=1,
            **HEADS,
        ),
    )


def cogview4() -> Any:
    config = transformers.GlmConfig(vocab_size=vocabulary(), **DECODER)
    padded = tokenizer()
    padded.padding_side = "left"
    return diffusers.CogView4Pipeline(
        tokenizer=padded,
        text_encoder=transformers.GlmModel(config),
        vae=vae(),
        transformer=cogview(diffusers.CogView4Transformer2DModel),
        scheduler=flow(),
    )


def z_image() -> Any:
    config = transformers.Qwen3Config(vocab_size=vocabulary(), **DECODER)
    return diffusers.ZImagePipeline(
        scheduler=flow(),
        vae=vae(),
        text_encoder=transformers.Qwen3Model(config),
        tokenizer=tokenizer(chat=True),
        transformer=diffusers.ZImageTransformer2DModel(
            in_channels=4,
            dim=16,
            n_layers=2,
            n_refiner_layers=1,
            n_heads=2,
            n_kv_heads=2,
            cap_feat_dim=16,
            axes_dims=[4, 2, 2],
            axes_lens=[128, 32, 32],
        ),
    )


def flux2_vae() -> Any:
    encoder = diffusers.AutoencoderKLFlux2(
        block_out_channels=(8,) * 4, latent_channels=4, norm_num_groups=8
    )
    encoder.bn.running_mean.normal_()
    encoder.bn.running_var.uniform_(0.5, 2)
    return encoder


def flux2_transformer(guidance: bool) -> Any:
    return diffusers.Flux2Transformer2DModel(
        in_channels=16,
        num_layers=2,
        num_single_layers=2,
        joint_attention_dim=48,
        timestep_guidance_channels=16,
        axes_dims_rope=(2, 2, 2, 2),
        guidance_embeds=guidance,
        **HEADS,
    )


def flux2_klein() -> Any:
    config = transformers.Qwen3Config(
        vocab_size=vocabulary(), **DECODER | {"num_hidden_layers": 27}
    )
    return diffusers.Flux2KleinPipeline(
        scheduler=flow(),
        vae=flux2_vae(),
        text_encoder=transformers.Qwen3ForCausalLM(config),
        tokenizer=tokenizer(chat=True),
        transformer=flux2_transformer(guidance=False),
    )


def flux2() -> Any:
    """Layers 10, 20 and 30 are read. Its processor, which needs torchvision, holds a tokenizer."""
    sizes = DECODER | {"num_hidden_layers": 30}
    text = transformers.MistralConfig(vocab_size=vocabulary(), **sizes)
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "head_dim": 8, "image_size": 28, "patch_size": 14}
    config = transformers.Mistral3Config(
        text_config=text, vision_config=transformers.PixtralVisionConfig(**vision, **heads)
    )
    words = tokenizer()
    words.chat_template = (
        "{% for message in messages %}{% for part in message.content %}{{ part.text }} "
        "{% endfor %}{% endfor %}"
    )
    return diffusers.Flux2Pipeline(
        scheduler=flow(),
        vae=flux2_vae(),
        text_encoder=transformers.Mistral3ForConditionalGeneration(config),
        tokenizer=words,
        transformer=flux2_transformer(guidance=True),
    )
