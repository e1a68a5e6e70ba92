"""A small FLUX from nothing: the stock diffusers and transformers classes at a small size.

`build_pipeline` returns a randomly initialised `FluxPipeline`; the tests use it at a tiny size,
the testbed at its own. Nothing here is specific to this project's scenes but the word list.
"""

from collections.abc import Sequence
from typing import Annotated

import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
)
from pydantic import Field
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
)

from ablate2tune.settings import Positive, Settings


class Sizes(Settings):
    """Sizes of the parts; the defaults are the testbed's."""

    double_blocks: Positive = 4
    single_blocks: Positive = 8
    heads: Positive = 3
    head_dim: Positive = 32
    text_width: Positive = 64
    """Width of both text encoders."""
    text_layers: Positive = 2
    text_tokens: Positive = 12
    """Tokens the captions are padded to: the longest has nine words and two marks."""
    vae_channels: Annotated[tuple[Positive, ...], Field(min_length=1)] = (12, 24, 64, 128)
    """Channels per level; each level after the first halves the picture."""
    latent_channels: Positive = 16
    image_size: Positive = 96


def word_tokenizer(words: Sequence[str], length: int, start: bool) -> PreTrainedTokenizerFast:
    """A word-level tokenizer; `start` adds a start token in front, as CLIP has it."""
    starts = ["<s>"] if start else []
    vocabulary = {word: i for i, word in enumerate(["<pad>", "</s>", "<unk>", *starts, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>" if start else "$A </s>",
        special_tokens=[(token, vocabulary[token]) for token in [*starts, "</s>"]],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=length,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        **({"bos_token": "<s>"} if start else {}),
    )


def build_pipeline(words: Sequence[str], sizes: Sizes, seed: int) -> FluxPipeline:
    """A FLUX pipeline, initialised from the seed, over a word list without special tokens."""
    torch.manual_seed(seed)
    tokenizer = word_tokenizer(words, sizes.text_tokens, start=True)
    tokenizer_2 = word_tokenizer(words, sizes.text_tokens, start=False)
    width = sizes.text_width
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=2 * width,
            num_hidden_layers=sizes.text_layers,
            num_attention_heads=4,
            max_position_embeddings=sizes.text_tokens,
            projection_dim=width,
            pad_token_id=tokenizer.pad_token_id,  # pyright: ignore
            bos_token_id=tokenizer.bos_token_id,  # pyright: ignore
            eos_token_id=tokenizer.eos_token_id,  # pyright: ignore
        )
    )
    text_encoder_2 = T5EncoderModel(
        T5Config(
            vocab_size=len(tokenizer_2),
            d_model=width,
            d_kv=width // 4,
            d_ff=2 * width,
            num_layers=sizes.text_layers,
            num_heads=4,
            feed_forward_proj="gated-gelu",
            dropout_rate=0.0,
            relative_attention_num_buckets=32,
            relative_attention_max_distance=32,
        )
    )
    levels = len(sizes.vae_channels)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,  # pyright: ignore
        up_block_types=("UpDecoderBlock2D",) * levels,  # pyright: ignore
        block_out_channels=sizes.vae_channels,  # pyright: ignore
        layers_per_block=1,
        latent_channels=sizes.latent_channels,
        norm_num_groups=4,
        mid_block_add_attention=False,  # so that what is learnt on crops holds for whole pictures
        sample_size=sizes.image_size,
        scaling_factor=1.0,
        shift_factor=0.0,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    rope = 3 * sizes.head_dim // 8
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=4 * sizes.latent_channels,
        num_layers=sizes.double_blocks,
        num_single_layers=sizes.single_blocks,
        attention_head_dim=sizes.head_dim,
        num_attention_heads=sizes.heads,
        joint_attention_dim=width,
        pooled_projection_dim=width,
        guidance_embeds=False,
        axes_dims_rope=(sizes.head_dim - 2 * rope, rope, rope),
    )
    scheduler = FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True,
        base_image_seq_len=36,
        max_image_seq_len=4096,
        base_shift=1.0,
        max_shift=1.15,
    )
    return FluxPipeline(
        scheduler=scheduler,
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,  # pyright: ignore
        text_encoder_2=text_encoder_2,
        tokenizer_2=tokenizer_2,
        transformer=transformer,
    )
