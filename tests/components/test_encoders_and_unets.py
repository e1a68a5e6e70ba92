"""Blocks of text encoders and UNets: the same discovery, the same checks."""

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    MistralConfig,
    MistralModel,
    Qwen2Config,
    Qwen2Model,
    T5Config,
    T5EncoderModel,
)

from ablate2tune.ablation import Ablation, ablated, ablated_parts, verify
from ablate2tune.components import discover
from ablate2tune.models import FluxDenoiser

IDS = torch.tensor([[3, 4, 5, 1]])
DECODER = {
    "vocab_size": 16,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def t5() -> nn.Module:
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 3, "num_heads": 2}
    return T5EncoderModel(T5Config(vocab_size=16, feed_forward_proj="gated-gelu", **sizes))


def clip() -> nn.Module:
    sizes = {"hidden_size": 16, "intermediate_size": 32, "max_position_embeddings": 8}
    ends = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    heads = {"num_hidden_layers": 3, "num_attention_heads": 2}
    return CLIPTextModel(CLIPTextConfig(vocab_size=16, **sizes, **ends, **heads))


def qwen() -> nn.Module:
    return Qwen2Model(Qwen2Config(**DECODER))


def mistral() -> nn.Module:
    return MistralModel(MistralConfig(**DECODER, head_dim=4))


def unet() -> nn.Module:
    return UNet2DConditionModel(
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=2,
        attention_head_dim=2,
        cross_attention_dim=8,
        norm_num_groups=4,
    )


MODELS = [
    (t5, {"encoder.block": 3}, 2),
    (clip, {"encoder.layers": 3}, 2),
    (qwen, {"layers": 3}, 4),
    (mistral, {"layers": 3}, 4),
    (
        unet,
        {
            "down_blocks.1.attentions.0.transformer_blocks": 2,
            "up_blocks.0.attentions.0.transformer_blocks": 2,
            "up_blocks.0.attentions.1.transformer_blocks": 2,
            "mid_block.attentions.0.transformer_blocks": 2,
        },
        2,
    ),
]


def runner(model: nn.Module):
    def run() -> Tensor:
        if isinstance(model, UNet2DConditionModel):
            grid = torch.linspace(-1, 1, 256).reshape(1, 4, 8, 8)
            return model(grid, torch.tensor([5]), torch.ones(1, 4, 8))[0]
        return model(IDS)[0]

    return run


@pytest.mark.parametrize(
    ("make", "stacks", "heads"), MODELS, ids=lambda x: getattr(x, "__name__", "")
)
@torch.no_grad()
def test_blocks_skip_and_heads(make, stacks: dict[str, int], heads: int):
    torch.manual_seed(0)
    model = make().eval()
    for parameter in model.parameters():
        parameter.normal_(0, 0.2)
    catalogue, run = discover(model), runner(model)
    assert {name: len(blocks) for name, blocks in catalogue.stacks.items()} == stacks
    assert verify(model, run).failed == {}
    whole = run()
    name = next(iter(stacks))
    with ablated(model, [Ablation(f"{name}.1", "skip")]):
        skipped = run()
    attention = next(part for part in catalogue if part.role == "attention")
    assert attention.heads.count == heads
    with ablated(model, [Ablation(f"{attention.address}[heads={heads - 1}]", "zero")]):
        headless = run()
    assert not torch.equal(headless, whole)
    wide = attention.heads.sites[0].width // heads
    model.get_submodule(attention.heads.sites[0].address).weight[:, -wide:] = 0
    torch.testing.assert_close(headless, run(), atol=1e-5, rtol=1e-5)
    assert not torch.equal(skipped, whole)


@pytest.mark.parametrize("make", [t5, clip, qwen, mistral])
@torch.no_grad()
def test_skip_equals_deletion(make):
    torch.manual_seed(0)
    model = make().eval()
    model.config.use_cache = False  # a decoder's cache is filled by layer index
    run = runner(model)
    name = next(iter(discover(model).stacks))
    with ablated(model, [Ablation(f"{name}.1", "skip")]):
        skipped = run()
    del model.get_submodule(name)[1]
    if hasattr(model.config, "num_hidden_layers"):
        model.config.num_hidden_layers = 2
    assert torch.equal(skipped, run())


def test_prefixed_addresses_in_a_pipeline(tiny_flux: FluxDenoiser):
    pipe = tiny_flux.pipe
    prompts = ["a red ball left of a blue cube"]
    plain = tiny_flux.encode_prompts(prompts)
    ablations = [Ablation("text_encoder_2:encoder.block.0", "skip")]
    with ablated_parts(pipe.components, ablations) as fired:
        skipped = tiny_flux.encode_prompts(prompts)
    assert fired == {"text_encoder_2:encoder.block.0": 1}
    assert torch.equal(plain.pooled, skipped.pooled)
    del pipe.text_encoder_2.encoder.block[0]
    assert skipped.prompt_embeds.shape == plain.prompt_embeds.shape
    assert not torch.equal(skipped.prompt_embeds, plain.prompt_embeds)
