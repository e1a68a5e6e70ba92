import numpy as np
import pytest
import torch

from ablate2tune.ablation import collect_means
from ablate2tune.localize.margins.caption_losses import Batch, batch_loss
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.localize.measuring.engine import BASELINE, Engine
from ablate2tune.localize.ranking.interaction_gaps import interaction_gap
from ablate2tune.localize.ranking.trust import noise_floor
from ablate2tune.statistics.clusters import Clusters
from ablate2tune.statistics.resampling import Resampling

GROUPS = [str(i // 2) for i in range(24)]


def groups() -> Clusters:
    return Clusters(GROUPS, Resampling(0, 1000, 0.95))


def test_noise_floor_by_hand():
    """Every impact that was drawn again moved by 0.2 or -0.2, on 3 of 12 groups."""
    change = np.full(24, np.nan)
    change[:6] = [0.2, 0.2, -0.2, -0.2, 0.2, 0.2]
    floor = noise_floor([change, 2 * change], 8, groups())
    # The variance over groups is that of both, (0.04 + 0.16) / 2; Student's t of 3 at 97.5 %.
    assert floor == pytest.approx(3.182446 * np.sqrt(0.1 / 8))


def test_the_noise_floor_bounds_what_another_draw_does_to_an_impact():
    rng = np.random.default_rng(4)
    names = [str(i // 2) for i in range(32)]
    clusters, beyond = Clusters(names, Resampling(0, 100, 0.95)), []
    for _ in range(400):
        first, again = rng.normal(0.3, 1, (2, 32))
        changes = np.where(np.arange(32) < 24, rng.normal(0, 2**0.5, (4, 32)), np.nan)
        floor = noise_floor(list(changes), 16, clusters)
        beyond.append(abs(first.mean() - again.mean()) > floor)
    assert 0.01 < np.mean(beyond) < 0.08  # nominal 0.05, and less for so few groups


def test_interaction_gap_by_hand():
    parts = {"b.attn": np.full(24, 1.0), "b.ff": np.full(24, 0.5)}
    parts["b.ff"][4:] = np.nan
    gap = interaction_gap("b", np.full(24, 4.0), parts, groups())
    assert gap is not None
    assert (gap.block_impact, gap.sum_of_sublayers) == (4.0, 1.5)
    assert gap.gap == pytest.approx({"value": 2.5, "low": 2.5, "high": 2.5, "n": 4})
    assert gap.redundant
    additive = interaction_gap("b", np.full(24, 1.5), parts, groups())
    assert additive is not None
    assert not additive.redundant
    assert interaction_gap("b", np.full(24, np.nan), parts, groups()) is None


BLOCKS = [
    *("transformer_blocks.0", "transformer_blocks.1"),
    *("single_transformer_blocks.0", "single_transformer_blocks.1"),
]


@torch.no_grad()
def carry_text_only_in(model, planted: str) -> None:
    """Write the weights so that one block's attention alone moves text to the image tokens.

    Everywhere else attention writes nothing to the image stream, and the pooled embedding, which
    modulates every block, says nothing.
    """
    for linear in (model.time_text_embed.text_embedder.linear_2,):
        linear.weight.zero_()
        linear.bias.zero_()
    for index, block in enumerate(model.transformer_blocks):
        if planted != f"transformer_blocks.{index}":
            block.attn.to_out[0].weight.zero_()
            block.attn.to_out[0].bias.zero_()
    for index, block in enumerate(model.single_transformer_blocks):
        if planted != f"single_transformer_blocks.{index}":
            block.proj_out.weight[:, : block.attn.inner_dim] = 0


@pytest.mark.parametrize("planted", BLOCKS)
@pytest.mark.parametrize("mode", ["skip", "zero", "mean"])
def test_a_hand_made_circuit_is_found_at_every_position(tiny_flux, planted: str, mode: str):
    """The one block that carries the relation is first, and without it nothing is left."""
    model = tiny_flux.model
    carry_text_only_in(model, planted)
    generator = torch.Generator().manual_seed(2)
    rows, columns = tiny_flux.latent_grid
    latents, noise = (torch.randn(8, rows * columns, 16, generator=generator) for _ in range(2))

    def batch(words: list[str]) -> Batch:
        conditioning = tiny_flux.encode_prompts([f"a red cube {w} a blue ball" for w in words])
        return Batch(latents, noise, 0.7, 0, conditioning)

    def margins(conditions):
        engine = Engine(tiny_flux, 64)
        engine.means = means
        true, foil = (
            engine.losses(batch([word] * 8), conditions) for word in ("behind", "in front of")
        )
        return {c: np.abs(foil[c] - true[c]).mean() for c in conditions}

    addresses = BLOCKS if mode == "skip" else [f"{block}.attn" for block in BLOCKS]
    with torch.no_grad():
        calibration = batch(["left of", "right of", "on top of", "underneath"] * 2)
        means = collect_means(model, addresses, lambda _means: batch_loss(tiny_flux, calibration))
    conditions = [Condition((address,), mode) for address in addresses]
    found = margins([BASELINE, *conditions])
    lost = {c.addresses[0]: found[BASELINE] - found[c] for c in conditions}
    first = max(lost, key=lambda address: lost[address])
    assert first == (planted if mode == "skip" else f"{planted}.attn")
    assert found[BASELINE] > 1e-6
    assert lost[first] == pytest.approx(found[BASELINE], rel=1e-2)
