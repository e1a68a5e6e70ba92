"""Means belong to the places of one grid of latents."""

import pytest
import torch
from torch import nn

from ablate2tune.ablation import Ablation, Means, Support, ablated, collect_means
from ablate2tune.ablation.grids import latent_grid
from ablate2tune.errors import UserError
from ablate2tune.models import FluxDenoiser

PART = "transformer_blocks.0.ff"


def at(denoiser: FluxDenoiser, height: int, width: int):
    """A forward at a picture size; 16 x 64 and 64 x 16 have 16 tokens each."""
    config = denoiser.config.model_copy(update={"height": height, "width": width})
    sized = FluxDenoiser(denoiser.pipe, config)
    latents = torch.randn(2, 16, 16, generator=torch.Generator().manual_seed(7))
    conditioning = sized.encode_prompts(["a red ball", "a green cone"])
    return lambda: sized.predict(latents, torch.tensor([0.9, 0.9]), conditioning)


def test_means_of_the_transposed_picture_are_refused(tiny_flux: FluxDenoiser):
    wide, high = at(tiny_flux, 16, 64), at(tiny_flux, 64, 16)
    means = collect_means(tiny_flux.model, [PART], lambda _: wide())
    with ablated(tiny_flux.model, [Ablation(PART, "mean")], Support(means)):
        wide()
        with pytest.raises(UserError, match="grid of 1 x 2 x 8, used on 1 x 8 x 2"):
            high()
        wide()
    with pytest.raises(UserError, match="calibrated on a latent grid"):
        collect_means(tiny_flux.model, [PART], lambda _: (wide(), high()))


def test_a_file_of_means_knows_the_grid(tiny_flux: FluxDenoiser):
    wide, high = at(tiny_flux, 16, 64), at(tiny_flux, 64, 16)
    read = Means()
    read.load(PART, collect_means(tiny_flux.model, [PART], lambda _: wide()).state(PART))
    with ablated(tiny_flux.model, [Ablation(PART, "mean")], Support(read)):
        wide()
        with pytest.raises(UserError, match="calibrated on a latent grid"):
            high()


class Pictures(nn.Module):
    def forward(self, sample, timestep=None): ...


class Packed(nn.Module):
    def forward(self, hidden_states, img_ids=None, img_shapes=None, height=None, width=None): ...


def test_grids_of_calls():
    picture, tokens = torch.zeros(2, 4, 6, 8), torch.zeros(2, 12, 4)
    ids = torch.cartesian_prod(torch.tensor([0.0]), torch.arange(3.0), torch.arange(4.0))
    assert latent_grid(Pictures(), (picture,), {}) == (6, 8)
    assert latent_grid(Pictures(), (), {"timestep": 1, "sample": picture[:, :, None]}) == (1, 6, 8)
    assert latent_grid(Packed(), (tokens,), {"img_ids": ids}) == (1, 3, 4)
    assert latent_grid(Packed(), (tokens,), {"img_ids": ids[None] + 5}) == (1, 3, 4)
    assert latent_grid(Packed(), (tokens,), {"img_shapes": [[(1, 3, 4)]] * 2}) == (1, 3, 4)
    assert latent_grid(Packed(), (tokens,), {"height": 3, "width": 4}) == (3, 4)
    assert latent_grid(Packed(), (tokens,), {}) == ()


def test_spreads_by_hand():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.attn = nn.MultiheadAttention(2, 1)
            self.ff = nn.Linear(2, 2)

        def forward(self, hidden_states):
            hidden_states = hidden_states + self.ff(hidden_states)
            return hidden_states

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList([Block()])

        def forward(self, x):
            return self.blocks[0](x)

    model = Model().requires_grad_(False)
    model.blocks[0].ff.weight.copy_(torch.eye(2))
    model.blocks[0].ff.bias.zero_()
    # Around a mean of 10,000, so that a difference of large squares would lose the spread.
    rows = torch.tensor([[1.0, 10.0], [3.0, 20.0], [8.0, 60.0], [4.0, -10.0]]) + 1e4

    def calibrate(means):
        model(rows[:2])
        model(rows[2:3])
        model(rows[3:])

    address = "blocks.0.ff"
    means = collect_means(model, [address], calibrate, spreads=True)
    # Deviations from (4, 20): squares sum to 9 + 1 + 16 + 0 and 100 + 0 + 1600 + 900.
    expected = torch.tensor([[26 / 4, 2600 / 4]]).sqrt()
    torch.testing.assert_close(means.spread(address, 0, rows[:1]), expected)
    read = Means()
    read.load(address, means.state(address))
    assert read.spread_sites == {address}
    torch.testing.assert_close(read.spread(address, 0, rows[:1]), expected)
    torch.testing.assert_close(read.mean(address, 0, rows[:1]), torch.tensor([[1e4 + 4, 1e4 + 20]]))
    assert collect_means(model, [address], calibrate).spread_sites == set()
