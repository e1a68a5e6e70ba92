"""Tiny random pipelines of the families that predict epsilon or v."""

from typing import Any

import diffusers
import transformers
from tiny_parts import HEADS, clip, cogview, ddim, t5, tokenizer, vae, vocabulary


def pixart(kind: Any) -> Any:
    return kind(
        tokenizer=tokenizer(),
        text_encoder=t5(),
        vae=vae(),
        transformer=diffusers.PixArtTransformer2DModel(
            sample_size=4,
            num_layers=2,
            in_channels=4,
            cross_attention_dim=16,
            caption_channels=16,
            out_channels=8,
            use_additional_conditions=False,
            **HEADS,
        ),
        scheduler=ddim(beta_schedule="linear"),
    )


def hunyuan_dit() -> Any:
    bert = transformers.BertConfig(
        vocab_size=vocabulary(start=True),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=77,
    )
    return diffusers.HunyuanDiTPipeline(
        vae=vae(),
        text_encoder=transformers.BertModel(bert),
        tokenizer=tokenizer(start=True),
        transformer=diffusers.HunyuanDiT2DModel(
            sample_size=4,
            patch_size=2,
            in_channels=4,
            num_layers=4,
            cross_attention_dim=16,
            cross_attention_dim_t5=16,
            pooled_projection_dim=4,
            hidden_size=16,
            text_len=77,
            text_len_t5=256,
            activation_fn="gelu-approximate",
            **HEADS,
        ),
        scheduler=ddim(beta_end=0.018, beta_schedule="scaled_linear"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
        text_encoder_2=t5(),
        tokenizer_2=tokenizer(),
    )


def cogview3_plus() -> Any:
    return diffusers.CogView3PlusPipeline(
        tokenizer=tokenizer(),
        text_encoder=t5(),
        vae=vae(),
        transformer=cogview(diffusers.CogView3PlusTransformer2DModel, pos_embed_max_size=4),
        scheduler=diffusers.CogVideoXDDIMScheduler(
            prediction_type="v_prediction",
            clip_sample=False,
            rescale_betas_zero_snr=True,
            snr_shift_scale=2.0,
            timestep_spacing="trailing",
        ),
    )


def unet(width: int, **more: Any) -> Any:
    return diffusers.UNet2DConditionModel(
        sample_size=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=2,
        cross_attention_dim=width,
        norm_num_groups=4,
        **more,
    )


def stable_diffusion(prediction: str) -> Any:
    return diffusers.StableDiffusionPipeline(
        vae=vae(),
        text_encoder=clip(),
        tokenizer=tokenizer(start=True),
        unet=unet(16),
        scheduler=ddim(beta_schedule="scaled_linear", prediction_type=prediction),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def stable_diffusion_xl() -> Any:
    autoencoder = vae(latents_mean=[0.1, -0.2, 0.3, 0.0], latents_std=[1.0, 0.5, 2.0, 1.5])
    sizes = {"addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 64}
    return diffusers.StableDiffusionXLPipeline(
        vae=autoencoder,
        text_encoder=clip(),
        text_encoder_2=clip(transformers.CLIPTextModelWithProjection),
        tokenizer=tokenizer(start=True),
        tokenizer_2=tokenizer(start=True),
        unet=unet(32, addition_embed_type="text_time", **sizes),
        scheduler=ddim(beta_schedule="scaled_linear"),
        add_watermarker=False,
    )
