"""A tiny random pipeline of each family: stock classes, one or two blocks, 32 pixels."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import diffusers
import transformers
from torch import nn

from ablate2tune.testbed.architecture import TINY, build_pipeline, word_tokenizer
from ablate2tune.testbed.text import word_list

TOKENS = 24
"""Tokens that prompts are padded to."""
SHIFT, SCALE = 0.1, 0.7
"""Of the VAE's latents."""
CHAT = "{% for message in messages %}<{{ message.role }}> {{ message.content }} {% endfor %}done"
HEADS = {"num_attention_heads": 2, "attention_head_dim": 8}
DECODER = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "pad_token_id": 0,
}


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


def tokenizer(start: bool = False, chat: bool = False, length: int = TOKENS):
    made = word_tokenizer(word_list(), length, start)
    if chat:
        made.chat_template = CHAT
    return made


def vocabulary(start: bool = False) -> int:
    return len(tokenizer(start))


def t5(kind=transformers.T5EncoderModel, config=transformers.T5Config, width: int = 16):
    sizes = {"d_model": width, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    return kind(config(vocab_size=vocabulary(), dropout_rate=0.0, **sizes))


def clip(kind=transformers.CLIPTextModel, width: int = 16):
    return kind(
        transformers.CLIPTextConfig(
            vocab_size=vocabulary(start=True),
            hidden_size=width,
            intermediate_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=TOKENS,
            projection_dim=width,
            pad_token_id=0,
            bos_token_id=3,
            eos_token_id=1,
        )
    )


def gemma():
    config = transformers.Gemma2Config(vocab_size=vocabulary(), **DECODER)
    return transformers.Gemma2Model(config)


def vae(**more):
    levels = 4
    return diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=(8,) * levels,
        latent_channels=4,
        norm_num_groups=8,
        scaling_factor=SCALE,
        shift_factor=SHIFT,
        **more,
    )


def flow() -> Any:
    return diffusers.FlowMatchEulerDiscreteScheduler()


def ddim(**more) -> Any:
    return diffusers.DDIMScheduler(
        clip_sample=False, timestep_spacing="trailing", steps_offset=1, **more
    )


def drawn(model: nn.Module) -> nn.Module:
    """Every weight drawn anew, since zero-initialised gates would make blocks idle."""
    for name, parameter in model.named_parameters():
        scale = 0.1 if parameter.ndim < 2 else max(1, parameter.shape[1:].numel()) ** -0.5
        parameter.data.normal_(0, scale)
        if "norm" in name and name.endswith("weight") and parameter.ndim == 1:
            parameter.data += 1
    return model


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


def cogview(kind: Any, **more: Any) -> Any:
    return kind(
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        text_embed_dim=16,
        time_embed_dim=8,
        condition_dim=2,
        sample_size=4,
        **HEADS,
        **more,
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


UNET = {
    "down_blocks.1.attentions.0.transformer_blocks": 1,
    "mid_block.attentions.0.transformer_blocks": 1,
    "up_blocks.0.attentions.0.transformer_blocks": 1,
    "up_blocks.0.attentions.1.transformer_blocks": 1,
}


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
