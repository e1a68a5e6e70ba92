"""Text encoders, VAEs and schedulers that the tiny pipelines share."""

from typing import Any

import diffusers
import transformers
from torch import nn

from ablate2tune.testbed.architecture import Sizes, word_tokenizer
from ablate2tune.testbed.text import word_list

TINY = Sizes(
    double_blocks=2,
    single_blocks=2,
    heads=2,
    head_dim=16,
    text_width=16,
    text_layers=1,
    text_tokens=32,
    vae_channels=(8, 8, 8),
    latent_channels=4,
    image_size=32,
)
"""Of a FLUX of the real classes, with milliseconds per forward."""
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
