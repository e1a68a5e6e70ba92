"""Heads, neurons, streams, tokens and modes, against hand-written hooks and edited weights."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ablate2tune.ablation import (
    Ablation,
    Support,
    ablated,
    ablated_rows,
    collect_means,
    learn_directions,
    load_directions,
)
from ablate2tune.errors import UserError
from ablate2tune.models import FluxDenoiser

DOUBLE = "transformer_blocks.1"
SINGLE = "single_transformer_blocks.0"
WORDS = 16
"""Text tokens of the tiny pipeline's prompts."""


@pytest.fixture
def run(tiny_flux: FluxDenoiser):
    conditioning = tiny_flux.encode_prompts(["a red ball left of a blue cube", "a green cone"])
    latents = torch.randn(2, 16, 16, generator=torch.Generator().manual_seed(7))

    def forward(copies: int = 1) -> torch.Tensor:
        rows = list(range(2)) * copies
        return tiny_flux.predict(latents[rows], torch.tensor([0.9, 0.3])[rows], conditioning[rows])

    return forward


def under(model: nn.Module, run, *addresses: str, mode="zero", support: Support | None = None):
    with ablated(model, [Ablation(a, mode) for a in addresses], support=support):
        return run()


def hooked_run(model: nn.Module, run, address: str, hook) -> torch.Tensor:
    handle = model.get_submodule(address).register_forward_hook(hook)
    try:
        return run()
    finally:
        handle.remove()


def test_a_head_is_columns_of_both_out_projections(tiny_flux, run):
    model = tiny_flux.model
    attention = model.get_submodule(f"{DOUBLE}.attn")
    wide = attention.inner_dim // attention.heads
    ablation = under(model, run, f"{DOUBLE}.attn[heads=1]")
    for projection in (attention.to_out[0], attention.to_add_out):
        projection.weight[:, wide : 2 * wide] = 0
    torch.testing.assert_close(ablation, run(), atol=1e-6, rtol=1e-5)
    assert not torch.equal(ablation, under(model, run, f"{DOUBLE}.attn[heads=0]"))


def test_a_head_in_one_stream(tiny_flux, run):
    model = tiny_flux.model
    attention = model.get_submodule(f"{DOUBLE}.attn")
    wide = attention.inner_dim // attention.heads
    ablation = under(model, run, f"{DOUBLE}.attn[heads=0]@image")
    attention.to_out[0].weight[:, :wide] = 0
    torch.testing.assert_close(ablation, run(), atol=1e-6, rtol=1e-5)


def test_neurons_are_columns_of_the_closing_projection(tiny_flux, run):
    ablation = under(tiny_flux.model, run, f"{DOUBLE}.ff[neurons=0,2..3]")
    tiny_flux.model.get_submodule(f"{DOUBLE}.ff.net.2").weight[:, [0, 2, 3]] = 0
    torch.testing.assert_close(ablation, run(), atol=1e-6, rtol=1e-5)


def test_columns_of_a_projection(tiny_flux, run):
    ablation = under(tiny_flux.model, run, f"{DOUBLE}.attn.to_q[cols=0:4]")
    query = tiny_flux.model.get_submodule(f"{DOUBLE}.attn.to_q")
    query.weight[:4] = 0
    query.bias[:4] = 0
    torch.testing.assert_close(ablation, run(), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("stream", "index"), [("image", 0), ("text", 1)])
def test_one_stream_of_an_attention(tiny_flux, run, stream: str, index: int):
    def zero_one(_module, _inputs, output):
        return tuple(x * 0 if place == index else x for place, x in enumerate(output))

    expected = hooked_run(tiny_flux.model, run, f"{DOUBLE}.attn", zero_one)
    assert torch.equal(under(tiny_flux.model, run, f"{DOUBLE}.attn@{stream}"), expected)


def test_streams_of_a_block_by_its_writers(tiny_flux, run):
    model = tiny_flux.model
    skipped = under(model, run, f"{DOUBLE}@text", mode="skip")
    # attn@text and ff_context are all that writes to the text stream.
    assert torch.equal(skipped, under(model, run, f"{DOUBLE}.attn@text", f"{DOUBLE}.ff_context"))
    assert torch.equal(under(model, run, f"{DOUBLE}.ff@image"), under(model, run, f"{DOUBLE}.ff"))


def test_streams_of_a_joined_tensor(tiny_flux, run):
    # A single block puts the text before the image.
    def zero_image(_module, _inputs, output):
        return torch.cat([output[:, :WORDS], torch.zeros_like(output[:, WORDS:])], 1)

    expected = hooked_run(tiny_flux.model, run, f"{SINGLE}.proj_out", zero_image)
    assert torch.equal(under(tiny_flux.model, run, f"{SINGLE}.proj_out@image"), expected)
    assert torch.equal(under(tiny_flux.model, run, f"{SINGLE}@image", mode="skip"), expected)


def test_both_streams_are_the_whole(tiny_flux, run):
    model, part = tiny_flux.model, f"{SINGLE}.proj_out"
    assert torch.equal(under(model, run, f"{part}@image", f"{part}@text"), under(model, run, part))


def test_tokens_by_number_and_by_name(tiny_flux, run):
    def zero_two(_module, _inputs, output):
        output = output.clone()
        output[0, 2:4] = 0
        output[1, 5] = 0
        return output

    mask = torch.zeros(2, WORDS, dtype=torch.bool)
    mask[0, 2:4] = True
    mask[1, 5] = True
    support = Support(tokens={"relation": mask})
    part = f"{DOUBLE}.ff_context"
    expected = hooked_run(tiny_flux.model, run, part, zero_two)
    named = under(tiny_flux.model, run, f"{part}@tokens=relation", support=support)
    assert torch.equal(named, expected)

    def zero_fifth(_module, _inputs, output):
        output = output.clone()
        output[:, 5] = 0
        return output

    numbered = under(tiny_flux.model, run, f"{part}@tokens=5")
    assert torch.equal(numbered, hooked_run(tiny_flux.model, run, part, zero_fifth))


def test_resample_takes_the_partner_row(tiny_flux, run):
    def swap(_module, _inputs, output):
        return tuple(x[[1, 0]] for x in output)

    part = f"{DOUBLE}.attn"
    expected = hooked_run(tiny_flux.model, run, part, swap)
    assert torch.equal(under(tiny_flux.model, run, part, mode="resample"), expected)
    given = Support(partners=torch.tensor([1, 0]))
    assert torch.equal(under(tiny_flux.model, run, part, mode="resample", support=given), expected)


def test_resample_of_a_block_moves_what_it_adds(tiny_flux, run):
    def swap(_module, _args, kwargs, output):
        inputs = kwargs["encoder_hidden_states"], kwargs["hidden_states"]
        return tuple(x + (y - x)[[1, 0]] for x, y in zip(inputs, output, strict=True))

    block = tiny_flux.model.get_submodule(DOUBLE)
    handle = block.register_forward_hook(swap, with_kwargs=True)
    expected = run()
    handle.remove()
    resampled = under(tiny_flux.model, run, DOUBLE, mode="resample")
    torch.testing.assert_close(resampled, expected)


def test_channel_mean_and_input(tiny_flux, run):
    part = f"{DOUBLE}.ff"

    def mean(_module, _inputs, output):
        return output.mean(-1, keepdim=True).repeat(1, 1, output.shape[-1])

    def its_input(_module, inputs, _output):
        return inputs[0]

    model = tiny_flux.model
    torch.testing.assert_close(
        under(model, run, part, mode="channel-mean"), hooked_run(model, run, part, mean)
    )
    assert torch.equal(
        under(model, run, part, mode="input"), hooked_run(model, run, part, its_input)
    )


def test_input_of_each_stream(tiny_flux, run):
    def its_inputs(_module, _args, kwargs, _output):
        return kwargs["hidden_states"], kwargs["encoder_hidden_states"]

    part = f"{DOUBLE}.attn"
    handle = tiny_flux.model.get_submodule(part).register_forward_hook(its_inputs, with_kwargs=True)
    expected = run()
    handle.remove()
    assert torch.equal(under(tiny_flux.model, run, part, mode="input"), expected)


def test_project_out_by_hand_and_a_learnt_direction(tiny_flux, run, tmp_path):
    part, model = f"{DOUBLE}.ff", tiny_flux.model
    width = model.get_submodule(f"{part}.net.2").out_features
    direction = torch.zeros(width)
    direction[3] = 2.0

    def without_third(_module, _inputs, output):
        output = output.clone()
        output[..., 3] = 0
        return output

    save_file({part: direction}, tmp_path / "directions.safetensors")
    support = Support(directions=load_directions(tmp_path / "directions.safetensors"))
    ablation = under(model, run, part, mode="project_out", support=support)
    torch.testing.assert_close(ablation, hooked_run(model, run, part, without_third))

    seen: list[torch.Tensor] = []
    hooked_run(model, run, part, lambda _m, _i, output: seen.append(output))
    plain = seen[0]
    learnt = learn_directions(
        model, [part], run, lambda: under(model, run, DOUBLE.replace("1", "0"), mode="skip")
    )
    hooked_run(
        model,
        lambda: under(model, run, DOUBLE.replace("1", "0"), mode="skip"),
        part,
        lambda _m, _i, output: seen.append(output),
    )
    difference = plain.mean((0, 1)) - seen[1].mean((0, 1))
    torch.testing.assert_close(learnt[part], difference / difference.norm())


def test_mean_of_a_block_is_of_what_it_adds(tiny_flux, run):
    means = collect_means(tiny_flux.model, [SINGLE], lambda _: run())
    added: list[torch.Tensor] = []

    def note(_module, _args, kwargs, output):
        inputs = kwargs["encoder_hidden_states"], kwargs["hidden_states"]
        added.extend(y - x for x, y in zip(inputs, output, strict=True))

    block = tiny_flux.model.get_submodule(SINGLE)
    handle = block.register_forward_hook(note, with_kwargs=True)
    run()
    handle.remove()

    def replace(_module, _args, kwargs, _output):
        inputs = kwargs["encoder_hidden_states"], kwargs["hidden_states"]
        return tuple(x + d.mean(0) for x, d in zip(inputs, added, strict=True))

    handle = block.register_forward_hook(replace, with_kwargs=True)
    expected = run()
    handle.remove()
    with ablated(tiny_flux.model, [Ablation(SINGLE, "mean")], Support(means)):
        torch.testing.assert_close(run(), expected)


def test_conditions_side_by_side(tiny_flux, run):
    conditions = [
        [],
        [Ablation(DOUBLE, "skip")],
        [Ablation(f"{DOUBLE}.attn[heads=0]", "zero"), Ablation(f"{SINGLE}.proj_out@text", "zero")],
        [Ablation(f"{DOUBLE}.attn[heads=1]", "zero"), Ablation(f"{DOUBLE}.ff", "resample")],
    ]
    with ablated_rows(tiny_flux.model, conditions):
        together = run(len(conditions))
    for place, condition in enumerate(conditions):
        with ablated(tiny_flux.model, condition):
            alone = run()
        rows = together[2 * place : 2 * place + 2]
        torch.testing.assert_close(rows, alone, atol=1e-5, rtol=1e-5)
    with (
        pytest.raises(UserError, match="2 rows cannot be split over 4 conditions"),
        ablated_rows(tiny_flux.model, conditions),
    ):
        run()


@pytest.mark.parametrize(
    ("address", "mode", "message"),
    [
        (f"{DOUBLE}.attn[heads=99]", "zero", r"head 99 is out of range; it has \d+ heads"),
        (f"{DOUBLE}.ff[heads=0]", "zero", "a feed-forward has no heads"),
        (f"{DOUBLE}.attn[neurons=0]", "zero", "its role is attention, which has no neurons"),
        (f"{DOUBLE}.ff[neurons=99999]", "zero", "neuron 99999 is out of range"),
        (f"{DOUBLE}.attn.to_q[cols=99999]", "zero", "column 99999 is out of range"),
        (f"{DOUBLE}.ff[cols=0]", "zero", "columns are of Linear projections"),
        (f"{DOUBLE}.ff_context@image", "zero", "nothing here is of the image stream"),
        (f"{DOUBLE}.ff", "project_out", "needs a direction"),
        (f"{DOUBLE}.ff[neurons=0]", "input", "does not fit a part of a tensor"),
        (f"{DOUBLE}.ff_context@tokens=relation", "zero", "nobody said where the tokens"),
        (f"{DOUBLE}.ff_context@tokens=99", "zero", "token 99 of 16 is out of range"),
    ],
)
def test_bad_parts(tiny_flux, run, address: str, mode, message: str):
    with (
        pytest.raises(UserError, match=message),
        ablated(tiny_flux.model, [Ablation(address, mode)]),
    ):
        run()


def test_bad_support(tiny_flux, run):
    part = f"{DOUBLE}.ff"
    for mode, support, message in [
        ("resample", Support(partners=torch.tensor([0, 1])), "cannot be its own partner"),
        ("resample", Support(partners=torch.tensor([0])), "1 partners for 2 rows"),
        ("project_out", Support(directions={part: torch.ones(3)}), "the direction has"),
        ("project_out", Support(directions={part: torch.zeros(32)}), "direction has"),
    ]:
        with pytest.raises(UserError, match=message):
            under(tiny_flux.model, run, part, mode=mode, support=support)
