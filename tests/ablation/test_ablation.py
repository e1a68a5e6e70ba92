"""Every expectation comes by another route: deleted blocks, hand-written hooks, hand arithmetic."""

import pytest
import torch
from diffusers.models.transformers.transformer_flux import FluxSingleTransformerBlock
from torch import nn

from ablate2tune.ablation import Ablation, Support, ablated, collect_means, verify
from ablate2tune.ablation.streams import return_names
from ablate2tune.errors import UserError
from ablate2tune.models import FluxDenoiser


@pytest.fixture
def run(tiny_flux: FluxDenoiser):
    generator = torch.Generator().manual_seed(7)
    conditioning = tiny_flux.encode_prompts(["a red ball left of a blue cube", "a green cone"])
    latents = torch.randn(2, 16, 16, generator=generator)
    sigma = torch.tensor([0.9, 0.3])

    def forward() -> torch.Tensor:
        return tiny_flux.predict(latents, sigma, conditioning)

    return forward


@pytest.mark.parametrize("stack", ["transformer_blocks", "single_transformer_blocks"])
def test_skip_equals_physical_removal(tiny_flux: FluxDenoiser, run, stack: str):
    blocks = getattr(tiny_flux.model, stack)
    whole = run()
    with ablated(tiny_flux.model, [Ablation(f"{stack}.{len(blocks) - 1}", "skip")]):
        skipped = run()
    del blocks[-1]
    assert torch.equal(skipped, run())
    assert not torch.equal(skipped, whole)


def test_skip_of_a_first_block_equals_physical_removal(tiny_flux: FluxDenoiser, run):
    with ablated(tiny_flux.model, [Ablation("transformer_blocks.0", "skip")]):
        skipped = run()
    del tiny_flux.model.transformer_blocks[0]
    assert torch.equal(skipped, run())


@pytest.mark.parametrize(
    ("block", "writers"),
    [
        ("transformer_blocks.0", ["attn", "ff", "ff_context"]),
        ("single_transformer_blocks.0", ["proj_out"]),
    ],
)
def test_skip_equals_zeroing_the_residual_writers(tiny_flux: FluxDenoiser, run, block, writers):
    with ablated(tiny_flux.model, [Ablation(block, "skip")]):
        skipped = run()
    with ablated(tiny_flux.model, [Ablation(f"{block}.{name}", "zero") for name in writers]):
        assert torch.equal(run(), skipped)


def test_zero_equals_zeroed_weights(tiny_flux: FluxDenoiser, run):
    address = "transformer_blocks.1.ff"
    with ablated(tiny_flux.model, [Ablation(address, "zero")]):
        zeroed = run()
    writer = tiny_flux.model.get_submodule(f"{address}.net.2")
    assert isinstance(writer, nn.Linear)
    writer.weight.zero_()
    writer.bias.zero_()
    assert torch.equal(zeroed, run())


def test_joint_ablation_equals_both_removals(tiny_flux: FluxDenoiser, run):
    both = [
        Ablation("transformer_blocks.1", "skip"),
        Ablation("single_transformer_blocks.0", "skip"),
    ]
    with ablated(tiny_flux.model, both) as firings:
        joint = run()
        assert firings == {"transformer_blocks.1": 1, "single_transformer_blocks.0": 1}
    del tiny_flux.model.transformer_blocks[1]
    del tiny_flux.model.single_transformer_blocks[0]
    assert torch.equal(joint, run())


def test_leaving_restores_bit_for_bit_also_after_an_exception(tiny_flux: FluxDenoiser, run):
    before = run()
    ablation = Ablation("transformer_blocks.0.attn", "zero")
    with ablated(tiny_flux.model, [ablation]):
        assert not torch.equal(run(), before)
    assert torch.equal(run(), before)
    with pytest.raises(ZeroDivisionError), ablated(tiny_flux.model, [ablation]):
        _ = 1 / 0
    assert torch.equal(run(), before)
    assert not any(module._forward_hooks for module in tiny_flux.model.modules())


def test_contexts_nest(tiny_flux: FluxDenoiser, run):
    first, second = (
        Ablation("transformer_blocks.0", "skip"),
        Ablation("transformer_blocks.1", "skip"),
    )
    with ablated(tiny_flux.model, [first]):
        alone = run()
        with ablated(tiny_flux.model, [second]):
            both = run()
        assert torch.equal(run(), alone)
    del tiny_flux.model.transformer_blocks[0]
    assert torch.equal(alone, run())
    del tiny_flux.model.transformer_blocks[0]
    assert torch.equal(both, run())


def test_positional_arguments_under_gradient_checkpointing(tiny_flux: FluxDenoiser, run):
    with ablated(tiny_flux.model, [Ablation("transformer_blocks.1", "skip")]):
        by_keyword = run()
        tiny_flux.model.enable_gradient_checkpointing()
        by_position = run()
    assert tiny_flux.model.gradient_checkpointing
    assert torch.equal(by_keyword, by_position)


class TinyAttention(nn.Module):
    """Returns (2x, 3x), so that both outputs of a tuple count."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(1, 1)

    def forward(self, x):
        return 2 * x, 3 * x


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.attn = TinyAttention()

    def forward(self, hidden_states):
        a, b = self.attn(hidden_states)
        hidden_states = hidden_states + a + b
        return hidden_states


class Model(nn.Module):
    def __init__(self, block: type[nn.Module] = Block):
        super().__init__()
        self.blocks = nn.ModuleList([block()])

    def forward(self, x):
        return self.blocks[0](x)


def test_mean_by_hand():
    model = Model()
    # Two positions, batches of 2 and 1 at noise level 0, one example at level 1.
    batches = [(0, [[1.0, 10.0], [3.0, 20.0]]), (0, [[8.0, 60.0]]), (1, [[100.0, 200.0]])]

    def calibrate(means):
        for level, batch in batches:
            means.sigma_index = level
            model(torch.tensor(batch))

    means = collect_means(model, ["blocks.0.attn"], calibrate)
    x = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    with ablated(model, [Ablation("blocks.0.attn", "mean")], Support(means)):
        means.sigma_index = 0
        low = model(x)
        means.sigma_index = 1
        high = model(x)
    # The mean inputs are (4, 30) and (100, 200); attn returns 2 and 3 times them, summed: 5.
    assert low.tolist() == [[20.0, 150.0], [21.0, 151.0]]
    assert high.tolist() == [[500.0, 1000.0], [501.0, 1001.0]]
    means.sigma_index = 2
    with (
        pytest.raises(UserError, match=r"blocks\.0\.attn: no calibrated mean at noise level 2"),
        ablated(model, [Ablation("blocks.0.attn", "mean")], Support(means)),
    ):
        model(x)
    means.sigma_index = 0
    with (
        pytest.raises(UserError, match=r"calibrated at shape \(2,\), used at \(3,\)"),
        ablated(model, [Ablation("blocks.0.attn", "mean")], Support(means)),
    ):
        model(torch.zeros(1, 3))


def test_mean_over_identical_examples_changes_nothing(tiny_flux: FluxDenoiser):
    conditioning = tiny_flux.encode_prompts(["a red ball"])[[0, 0]]
    latents = torch.randn(1, 16, 16, generator=torch.Generator().manual_seed(0)).repeat(2, 1, 1)

    def run():
        return tiny_flux.predict(latents, torch.tensor([0.5, 0.5]), conditioning)

    addresses = ["transformer_blocks.0.attn", "single_transformer_blocks.1.proj_out"]
    means = collect_means(tiny_flux.model, addresses, lambda _: run())
    with ablated(tiny_flux.model, [Ablation(a, "mean") for a in addresses], Support(means)):
        ablated_output = run()
    torch.testing.assert_close(ablated_output, run(), atol=1e-6, rtol=1e-5)


class IdleBlock(Block):
    """Holds a sub-layer that its forward never calls, as fused projections leave `to_q` behind."""

    def __init__(self):
        super().__init__()
        self.idle = nn.Linear(2, 2)


def test_hook_that_never_fires_raises():
    model = Model(IdleBlock)
    x = torch.ones(1, 2)
    with (
        pytest.raises(UserError, match=r"blocks\.0\.idle: its hook never fired"),
        ablated(model, [Ablation("blocks.0.attn", "zero"), Ablation("blocks.0.idle", "zero")]),
    ):
        model(x)
    with pytest.raises(UserError, match="never fired"):
        collect_means(model, ["blocks.0.idle"], lambda _: model(x))
    assert "never fired" in verify(model, lambda: model(x)).failed["blocks.0.idle"]
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("address", "mode", "message"),
    [
        ("transformer_blocks.0", "zero", "mode 'zero' does not fit a block"),
        ("transformer_blocks.0.attn", "skip", "mode 'skip' does not fit a sublayer"),
        ("transformer_blocks.0.attn", "mean", "needs calibrated means"),
        ("transformer_blocks.0.attn", "zeros", "did you mean 'zero'"),
        ("transformer_blocks.0.atn", "zero", "did you mean 'transformer_blocks.0.attn'"),
    ],
)
def test_bad_input(tiny_flux: FluxDenoiser, address: str, mode, message: str):
    with (
        pytest.raises(UserError, match=message),
        ablated(tiny_flux.model, [Ablation(address, mode)]),
    ):
        pass


def test_an_address_twice(tiny_flux: FluxDenoiser):
    twice = [Ablation("transformer_blocks.0.ff", "zero")] * 2
    with pytest.raises(UserError, match="comes twice"), ablated(tiny_flux.model, twice):
        pass


def test_return_names():
    assert return_names(FluxSingleTransformerBlock, 2) == ("encoder_hidden_states", "hidden_states")

    class Swaps(nn.Module):
        def forward(self, a, b):
            def inner():
                return a

            inner()
            return b, a

    class Unnamed(nn.Module):
        def forward(self, a, b):
            return a + 1, b

    assert return_names(Swaps, 2) == ("b", "a")
    with pytest.raises(UserError, match="cannot be matched"):
        return_names(Unnamed, 2)


def test_verify_passes_flux(tiny_flux: FluxDenoiser, run):
    result = verify(tiny_flux.model, run)
    assert result.failed == {}
    assert len(result.passed) == 2 * (1 + 3) + 2 * (1 + 3)


class InnerResidualBlock(Block):
    """The sub-layer's output is the stream itself, as in BLOOM."""

    def forward(self, hidden_states):
        hidden_states, _ = self.attn(hidden_states)
        return hidden_states


class UntraceableBlock(Block):
    def forward(self, a, b=None):
        return self.attn(a)[0] + 0, a + 0


def test_verify_names_what_fails():
    x = torch.ones(1, 2)
    model = Model(InnerResidualBlock)
    result = verify(model, lambda: model(x))
    reason = "skipping the block is not the same as zeroing all its sub-layers"
    assert result.failed == {"blocks.0": reason, "blocks.0.attn": reason}
    other = Model(UntraceableBlock)
    assert "cannot be matched" in verify(other, lambda: other(x)[0]).failed["blocks.0"]


def test_verify_refuses_a_model_that_is_not_deterministic():
    model = Model()
    with pytest.raises(UserError, match="two identical runs"):
        verify(model, lambda: model(torch.rand(1, 2)))


@pytest.mark.parametrize("mode", ["channel-mean", "zero"])
def test_a_backward_pass_under_checkpointing_belongs_inside(tiny_flux: FluxDenoiser, mode):
    conditioning = tiny_flux.encode_prompts(["a red ball", "a green cone"])
    latents = torch.randn(2, 16, 16, generator=torch.Generator().manual_seed(0))
    ablation = [Ablation("transformer_blocks.1.ff", mode)]

    def loss(x: torch.Tensor) -> torch.Tensor:
        return tiny_flux.predict(x, torch.tensor([0.5, 0.5]), conditioning).square().sum()

    def gradient() -> torch.Tensor:
        x = latents.clone().requires_grad_()
        with torch.enable_grad(), ablated(tiny_flux.model, ablation):
            loss(x).backward()
        assert x.grad is not None
        return x.grad

    expected = gradient()
    with torch.enable_grad():
        x = latents.clone().requires_grad_()
        with ablated(tiny_flux.model, ablation):
            late = loss(x)
        late.backward()  # nothing is computed again
    torch.testing.assert_close(x.grad, expected)
    tiny_flux.model.enable_gradient_checkpointing()
    torch.testing.assert_close(gradient(), expected)
    with torch.enable_grad():
        with ablated(tiny_flux.model, ablation):
            late = loss(latents.clone().requires_grad_())
        with pytest.raises(UserError, match="computes the blocks again, now without the ablation"):
            late.backward()
