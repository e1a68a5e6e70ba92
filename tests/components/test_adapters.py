"""Adapters are transparent: same addresses, same catalogue; one of zeros changes no ablation."""

from collections.abc import Iterator

import pytest
import torch
from architectures import ALL
from architectures.checks import Subject
from architectures.tiny import Tiny
from peft import LoraConfig, get_peft_model, inject_adapter_in_model
from torch import nn

from ablate2tune.ablation import Ablation
from ablate2tune.components import Component, discover
from ablate2tune.components.heads import Heads
from ablate2tune.errors import UserError

CLASSES = {
    *("FluxTransformer2DModel", "SD3Transformer2DModel", "SanaTransformer2DModel"),
    *("CogView4Transformer2DModel", "AuraFlowTransformer2DModel", "Lumina2Transformer2DModel"),
    *("QwenImageTransformer2DModel", "Flux2Transformer2DModel", "HunyuanDiT2DModel"),
    *("PixArtTransformer2DModel", "ErnieImageTransformer2DModel", "UNet2DConditionModel"),
}
TINY = [tiny for tiny in ALL if tiny.name in CLASSES]


def with_adapter(subject: Subject, rank: int = 2) -> list[str]:
    """LoRA on every Linear below the first blocks; its B is zero. Returns what is adapted."""
    blocks = [blocks[0] for blocks in subject.catalogue.stacks.values()]
    names = [name for block in blocks for name in block.linears]
    inject_adapter_in_model(LoraConfig(r=rank, target_modules=names), subject.model)
    return names


def ablations(subject: Subject, block: Component) -> Iterator[Ablation]:
    """A block, its sub-layers, heads, neurons, projections and columns."""
    if block.obstacle is None:
        yield Ablation(block.address, "skip")
    for part in subject.catalogue.children(block):
        yield Ablation(part.address, "zero")
        if isinstance(part.heads, Heads):
            yield Ablation(f"{part.address}[heads=0]", "zero")
        if part.role == "feed-forward":
            yield Ablation(f"{part.address}[neurons=1]", "zero")
        linears = [p for p in subject.catalogue.children(part) if p.kind == "Linear"]
        for projection in linears:
            yield Ablation(projection.address, "zero")
        if linears:
            yield Ablation(f"{linears[0].address}[cols=0]", "zero")


def outcome(subject: Subject, ablation: Ablation) -> torch.Tensor | str:
    """The prediction, or why the part cannot be ablated."""
    try:
        return subject.under(ablation)
    except UserError as error:
        return str(error)


@pytest.mark.parametrize("tiny", TINY, ids=lambda tiny: tiny.name)
def test_an_adapter_of_zeros_changes_nothing(tiny: Tiny):
    subject = Subject(tiny)
    before = list(subject.catalogue)
    blocks = [blocks[0] for blocks in subject.catalogue.stacks.values()]
    wanted = [a for block in blocks for a in ablations(subject, block)]
    plain = {ablation: outcome(subject, ablation) for ablation in wanted}
    assert sum(isinstance(found, torch.Tensor) for found in plain.values()) > len(wanted) / 2

    adapted = with_adapter(subject)
    assert "lora_A" in str(subject.model)
    after = discover(subject.model)
    assert list(after) == before
    assert not any("base_layer" in part.address for part in after)
    assert {name for part in after for name in part.linears} >= set(adapted)
    assert torch.equal(subject.run(), subject.whole)
    for ablation, expected in plain.items():
        found = outcome(subject, ablation)
        same = found == expected if isinstance(found, str) else torch.equal(found, expected)
        assert same, ablation


def test_every_class_that_is_meant_is_here():
    assert len(TINY) >= 8


def by_name(name: str) -> Tiny:
    return next(tiny for tiny in ALL if tiny.name == name)


def random_adapter(model: nn.Module) -> None:
    torch.manual_seed(3)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.5)


def test_a_head_is_its_columns_of_base_and_adapter():
    subject = Subject(by_name("FluxTransformer2DModel"))
    with_adapter(subject)
    random_adapter(subject.model)
    attention = subject.catalogue["transformer_blocks.0.attn"]
    assert isinstance(attention.heads, Heads)
    found = subject.under(Ablation(f"{attention.address}[heads=1]", "zero"))
    assert not torch.equal(found, subject.run())
    for site in attention.heads.sites:
        wide = site.width // attention.heads.count
        layer = subject.model.get_submodule(site.address)
        for weight in (layer.base_layer.weight, layer.lora_A["default"].weight):
            weight.data[:, wide : 2 * wide] = 0
    torch.testing.assert_close(found, subject.run(), atol=1e-5, rtol=1e-5)


def test_zero_takes_the_adapter_away_with_its_layer():
    subject = Subject(by_name("FluxTransformer2DModel"))
    with_adapter(subject)
    random_adapter(subject.model)
    address = "transformer_blocks.0.attn.to_q"
    found = subject.under(Ablation(address, "zero"))
    layer = subject.model.get_submodule(address)
    layer.base_layer.weight.data.zero_()
    layer.base_layer.bias.data.zero_()
    layer.lora_B["default"].weight.data.zero_()
    assert torch.equal(found, subject.run())


def test_a_model_that_peft_wraps_whole_has_the_addresses_of_the_one_inside():
    subject = Subject(by_name("SD3Transformer2DModel"))
    before = list(subject.catalogue)
    skip = Ablation("transformer_blocks.0", "skip")
    plain = subject.under(skip)
    names = subject.catalogue.blocks[0].linears
    subject.model = get_peft_model(subject.model, LoraConfig(r=2, target_modules=names)).eval()
    assert list(discover(subject.model)) == before
    assert torch.equal(subject.under(skip), plain)


def test_an_adapter_is_switched_off_where_the_batch_is_not_the_first_axis():
    subject = Subject(next(tiny for tiny in TINY if tiny.name == "ErnieImageTransformer2DModel"))
    name = next(part.address for part in subject.catalogue if part.level == "projection")
    lora = LoraConfig(r=2, target_modules=[name], init_lora_weights=False)
    inject_adapter_in_model(lora, subject.model)
    adapted = subject.run()
    assert not torch.equal(adapted, subject.whole)
    assert torch.equal(subject.under(Ablation(name, "adapter_off")), subject.whole)
    assert torch.equal(subject.run(), adapted)
