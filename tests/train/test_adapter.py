import pytest
import torch
from peft import LoraConfig

from ablate2tune.errors import UserError
from ablate2tune.models import FluxDenoiser
from ablate2tune.models.adapter_files import switched_off
from ablate2tune.train import adapter
from ablate2tune.train.adapter import (
    check_targets,
    count_parameters,
    inject,
    trainable,
)

QUERY, OUT = "transformer_blocks.1.attn.to_q", "single_transformer_blocks.0.proj_out"


def test_exactly_the_requested_modules_are_adapted(tiny_flux: FluxDenoiser):
    # As suffixes both names would hit more: the model's own proj_out, and none of it may.
    assert inject(tiny_flux.model, [OUT, QUERY], rank=2, seed=0) == [QUERY, OUT]
    expected = {f"{m}.lora_{s}.default.weight" for m in (QUERY, OUT) for s in "AB"}
    assert set(trainable(tiny_flux.model)) == expected


def test_the_last_projection_alone(tiny_flux: FluxDenoiser):
    assert inject(tiny_flux.model, ["proj_out"], rank=2, seed=0) == ["proj_out"]


def test_many_targets_are_not_shortened_to_suffixes(tiny_flux: FluxDenoiser):
    # PEFT reduces lists of 20 names or more to common suffixes.
    linear = [n for n, m in tiny_flux.model.named_modules() if isinstance(m, torch.nn.Linear)]
    wanted = [name for name in linear if name != "single_transformer_blocks.1.attn.to_v"]
    assert len(wanted) >= 20
    assert inject(tiny_flux.model, wanted, rank=1, seed=0) == wanted


def test_another_injected_set_stops(tiny_flux: FluxDenoiser, monkeypatch):
    # What a plain list of names does: "proj_out" matches by suffix.
    def by_suffix(**options):
        return LoraConfig(**{**options, "target_modules": ["proj_out"]})

    monkeypatch.setattr(adapter, "LoraConfig", by_suffix)
    with pytest.raises(AssertionError, match=r"missing \[\], not requested \['single_.*_out'\]"):
        inject(tiny_flux.model, ["proj_out"], rank=2, seed=0)


def test_parameter_count_by_hand(tiny_flux: FluxDenoiser):
    before = sum(p.numel() for p in tiny_flux.model.parameters())
    inject(tiny_flux.model, [QUERY, OUT], rank=3, seed=0)
    # Width 2 * 16 = 32: to_q is 32 -> 32; proj_out joins attention and MLP, 32 + 4 * 32 -> 32.
    by_hand = 3 * (32 + 32) + 3 * (160 + 32)
    count = count_parameters(tiny_flux.model)
    assert count == (by_hand, before + by_hand)
    assert str(count).startswith(f"trainable params: 768 || all params: {before + 768:,} || ")


def test_initial_weights_depend_on_seed_and_name_alone(tiny_flux_config):
    from ablate2tune.models import load_denoiser

    drawn = []
    for targets, state, seed in (([QUERY], 1, 5), ([OUT, QUERY], 2, 5), ([QUERY], 1, 6)):
        torch.manual_seed(state)
        model = load_denoiser(tiny_flux_config).model
        inject(model, targets, rank=2, seed=seed)
        weights = trainable(model)
        assert not weights[f"{QUERY}.lora_B.default.weight"].any()
        drawn.append(weights[f"{QUERY}.lora_A.default.weight"])
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    # Kaiming-uniform with a = sqrt(5): uniform within 1 / sqrt(32).
    assert 0.9 / 32**0.5 < drawn[0].abs().max().item() <= 1 / 32**0.5


def test_adapter_is_float32_on_a_bfloat16_base(tiny_flux: FluxDenoiser):
    tiny_flux.pipe.to(torch.bfloat16)
    inject(tiny_flux.model, [QUERY], rank=2, seed=0)
    assert {p.dtype for p in trainable(tiny_flux.model).values()} == {torch.float32}


@pytest.mark.parametrize(
    "targets, message",
    [
        (["transformer_blocks.1.attn.to_qq"], r"no such module .*did you mean .*attn\.to_q'"),
        (["to_q"], "no such module 'to_q'"),
        (["transformer_blocks.0.attn"], r"is a FluxAttention, .*transformer_blocks\.0\.attn\.to_q"),
        (["transformer_blocks.0.attn.norm_q"], "is a RMSNorm, not a linear layer"),
        ([], "no module to adapt"),
    ],
)
def test_bad_targets_are_refused(tiny_flux: FluxDenoiser, targets: list[str], message: str):
    with pytest.raises(UserError, match=message):
        inject(tiny_flux.model, targets, rank=2, seed=0)


def test_a_repeated_target_counts_once(tiny_flux: FluxDenoiser):
    assert check_targets(tiny_flux.model, [QUERY, OUT, QUERY]) == [QUERY, OUT]


def test_switched_off_the_model_is_the_base_exactly(tiny_flux: FluxDenoiser):
    told = tiny_flux.encode_prompts(["a red ball left of a blue cube"])
    row = torch.randn(1, 16, 16, generator=torch.Generator().manual_seed(0)), torch.tensor([1.0])
    with torch.no_grad():
        base = tiny_flux.predict(*row, told)
        inject(tiny_flux.model, [QUERY, OUT], rank=2, seed=0)
        names = list(trainable(tiny_flux.model))
        for parameter in trainable(tiny_flux.model).values():
            parameter.fill_(0.1)
        adapted = tiny_flux.predict(*row, told)
        with switched_off(tiny_flux.model):
            assert torch.equal(tiny_flux.predict(*row, told), base)
        assert torch.equal(tiny_flux.predict(*row, told), adapted)
    assert not torch.equal(adapted, base)
    assert list(trainable(tiny_flux.model)) == names
