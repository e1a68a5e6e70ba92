"""Each saving against the plain answer, on a tiny real FLUX: 2 double and 2 single blocks."""

import numpy as np
import pytest
import torch

from ablate2tune.ablation import ablated, collect_means
from ablate2tune.components import discover
from ablate2tune.errors import UserError
from ablate2tune.localize.margins.caption_losses import Batch, batch_loss, noised_batch
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.localize.measuring.engine import BASELINE, Engine
from ablate2tune.localize.measuring.replay import Blocks, Trace
from ablate2tune.localize.measuring.screening import first_order_losses

ROWS, BLOCKS = 3, 4


@pytest.fixture
def batch(tiny_flux) -> Batch:
    generator = torch.Generator().manual_seed(4)
    rows, columns = tiny_flux.latent_grid
    shape = (ROWS, rows * columns, 16)
    latents, noise = (torch.randn(shape, generator=generator) for _ in range(2))
    prompts = ["a red cube left of a blue ball", "a blue ball", "a green cone behind a red cube"]
    return Batch(latents, noise, 0.7, 0, tiny_flux.encode_prompts(prompts))


def conditions_of(model) -> list[Condition]:
    catalogue = discover(model)
    single = [
        Condition((part.address,), "skip" if part.level == "block" else "zero")
        for part in catalogue
        if part.level in ("block", "sublayer")
    ]
    joint = Condition(("transformer_blocks.1.attn", "single_transformer_blocks.1.proj_out"), "zero")
    return [BASELINE, *single, joint]


@torch.no_grad()
def plain(denoiser, batch: Batch, condition: Condition) -> np.ndarray:
    with ablated(denoiser.model, condition.ablations):
        return batch_loss(denoiser, batch).double().numpy()


@pytest.mark.parametrize("prefix_reuse", [True, False])
@pytest.mark.parametrize("batch_size", [ROWS, 4 * ROWS, 100])
def test_every_saving_gives_the_plain_losses(tiny_flux, batch, prefix_reuse, batch_size):
    conditions = conditions_of(tiny_flux.model)
    engine = Engine(tiny_flux, batch_size, prefix_reuse=prefix_reuse)
    found = engine.losses(batch, conditions)
    assert list(found) == conditions
    for condition in conditions:
        np.testing.assert_allclose(
            found[condition], plain(tiny_flux, batch, condition), rtol=1e-5, err_msg=str(condition)
        )
    assert len({round(float(values[0]), 9) for values in found.values()}) > len(conditions) / 2


def test_block_evaluations_are_counted_exactly(tiny_flux, batch):
    def spent(conditions, **options) -> int:
        engine = Engine(tiny_flux, ROWS, **options)
        engine.losses(batch, conditions)
        return engine.evaluations

    skips = [Condition((b.address,), "skip") for b in discover(tiny_flux.model).blocks]
    zero = Condition(("single_transformer_blocks.0.attn",), "zero")
    assert spent([BASELINE]) == ROWS * BLOCKS
    assert spent([BASELINE, *skips], prefix_reuse=False) == ROWS * BLOCKS * 5
    # After the baseline, skipping block k computes the blocks after it: 3 + 2 + 1 + 0.
    assert spent([BASELINE, *skips]) == ROWS * (BLOCKS + 6)
    assert spent([zero]) == ROWS * (BLOCKS + 2)  # blocks 2 and 3, and the baseline to start from
    engine = Engine(tiny_flux, ROWS)
    assert [engine.cost(c, 7) for c in (*skips, zero, BASELINE)] == [21, 14, 7, 0, 14, 28]
    # Batched, all four start where the first has to: after block 0.
    engine = Engine(tiny_flux, 4 * ROWS)
    engine.losses(batch, skips)
    assert engine.evaluations == ROWS * (BLOCKS + 4 * 3)


def test_mean_ablation_is_the_same_in_a_shared_forward(tiny_flux, batch):
    addresses = ["transformer_blocks.0.attn", "transformer_blocks.0.ff"]
    with torch.no_grad():
        means = collect_means(
            tiny_flux.model, addresses, lambda _means: batch_loss(tiny_flux, batch)
        )
    conditions = [Condition((address,), "mean") for address in addresses]
    alone, shared = Engine(tiny_flux, ROWS), Engine(tiny_flux, 2 * ROWS)
    alone.means = shared.means = means
    a, b = alone.losses(batch, conditions), shared.losses(batch, conditions)
    for condition in conditions:
        np.testing.assert_allclose(a[condition], b[condition], rtol=1e-5)
        assert not np.allclose(a[condition], plain(tiny_flux, batch, BASELINE), rtol=1e-5)


def test_the_model_is_as_before(tiny_flux, batch):
    before = plain(tiny_flux, batch, BASELINE)
    modules = list(tiny_flux.model.modules())
    own = [set(vars(module)) for module in modules]
    hooks = [len(module._forward_hooks) for module in modules]
    Engine(tiny_flux, 100).losses(batch, conditions_of(tiny_flux.model))
    assert np.array_equal(plain(tiny_flux, batch, BASELINE), before)
    assert [set(vars(module)) for module in modules] == own
    assert [len(module._forward_hooks) for module in modules] == hooks


def test_a_forward_of_the_instance_comes_back(tiny_flux, batch):
    """Offloading sets a forward on the instance."""
    block = tiny_flux.model.transformer_blocks[0]
    own = block.forward
    block.forward = own
    Engine(tiny_flux, ROWS).losses(batch, [BASELINE])
    assert vars(block)["forward"] is own


def test_out_of_memory_halves_the_batch_and_goes_on(tiny_flux, batch, monkeypatch):
    conditions = conditions_of(tiny_flux.model)
    expected = {c: plain(tiny_flux, batch, c) for c in conditions}
    whole, largest = tiny_flux.predict, 2

    def limited(latents, *args, **kwargs):
        if len(latents) > largest:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(latents, *args, **kwargs)

    monkeypatch.setattr(tiny_flux, "predict", limited)
    engine = Engine(tiny_flux, 16)
    found = engine.losses(batch, conditions)
    assert engine.halvings == 3  # 16, 8, 4, 2
    for condition in conditions:
        np.testing.assert_allclose(found[condition], expected[condition], rtol=1e-5)
    largest = 0
    with pytest.raises(UserError, match="out of memory with a single row"):
        engine.losses(batch, conditions)


def test_a_model_that_changes_its_streams_in_place_is_refused():
    trace = Trace()
    output = (torch.zeros(2, 3), torch.zeros(2, 3))
    trace.add("blocks.0", output)
    assert trace.output("blocks.0", 1) is output
    assert trace.output("blocks.0", 2)[1].shape == (4, 3)
    output[1].add_(1)
    with pytest.raises(UserError, match=r"blocks\.0: the model changes .* in place"):
        trace.output("blocks.0", 1)


def test_a_block_called_twice_is_not_replayed():
    trace = Trace()
    for _ in range(2):
        trace.add("blocks.0", torch.zeros(1, 1))
    assert trace.obstacle == "blocks.0 is called more than once in a forward"


def test_whole_forwards_where_outputs_cannot_be_replayed(tiny_flux, batch):
    """A later module writes into a block's output; the losses are right and the reason is kept."""
    single = Condition(("transformer_blocks.1.ff",), "zero")
    expected = {c: plain(tiny_flux, batch, c) for c in (BASELINE, single)}

    def write(_module, _args, kwargs):
        kwargs["hidden_states"].add_(0)

    block = tiny_flux.model.transformer_blocks[1]
    handle = block.register_forward_pre_hook(write, with_kwargs=True)
    engine = Engine(tiny_flux, ROWS)
    found = engine.losses(batch, [BASELINE, single])
    assert engine.prefix_obstacle == "the model changes the output of transformer_blocks.0 in place"
    assert engine.evaluations == 2 * ROWS * BLOCKS
    handle.remove()
    for condition, losses in expected.items():
        np.testing.assert_allclose(found[condition], losses, rtol=1e-5)


def test_a_compiled_block_is_refused(tiny_flux):
    tiny_flux.model.transformer_blocks[1]._compiled_call_impl = lambda *_: None
    with pytest.raises(UserError, match=r"transformer_blocks\.1: the block is compiled"):
        Blocks(tiny_flux.model)


def test_first_order_estimates_against_finite_differences(tiny_flux, batch):
    """Ablating a part by epsilon, blended by a hook of the test's own in double precision."""
    tiny_flux.model.double()
    tiny_flux.pipe.vae.double()
    double = Batch(
        batch.latents.double(), batch.noise.double(), 0.7, 0,
        type(batch.conditioning)(
            batch.conditioning.prompt_embeds.double(), batch.conditioning.pooled.double()
        ),
    )  # fmt: skip
    conditions = [c for c in conditions_of(tiny_flux.model) if len(c.addresses) == 1]
    engine = Engine(tiny_flux, 100)
    found = first_order_losses(engine, double, [BASELINE, *conditions])
    assert engine.evaluations == 2 * ROWS * BLOCKS  # forward and backward
    base = plain(tiny_flux, double, BASELINE)
    np.testing.assert_allclose(found[BASELINE], base, rtol=1e-6)
    epsilon = 1e-3

    def blended(step: float, condition: Condition) -> np.ndarray:
        def hook(_module, _args, kwargs, output):
            if condition.mode == "skip":
                ends = kwargs["encoder_hidden_states"], kwargs["hidden_states"]
                return tuple(y + step * (x - y) for x, y in zip(ends, output, strict=True))
            if isinstance(output, tuple):
                return tuple((1 - step) * y for y in output)
            return (1 - step) * output

        module = tiny_flux.model.get_submodule(condition.addresses[0])
        handle = module.register_forward_hook(hook, with_kwargs=True)
        with torch.no_grad():  # batch_loss rounds to single precision, too coarse for a slope
            velocity = noised_batch(
                tiny_flux, double.latents, double.noise, double.sigma, double.conditioning
            )
        handle.remove()
        error = velocity - (double.noise - double.latents)
        return error.square().mean((1, 2)).numpy()

    for condition in conditions:
        slope = (blended(epsilon, condition) - blended(-epsilon, condition)) / (2 * epsilon)
        np.testing.assert_allclose(
            found[condition] - found[BASELINE], slope, rtol=2e-2, atol=3e-7,
            err_msg=str(condition),
        )  # fmt: skip
