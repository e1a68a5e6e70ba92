"""The map of the model: which colour a part has, what is outlined, and that it is drawn."""

import numpy as np
import pytest
import torch
from diffusers import FluxTransformer2DModel
from PIL import Image

from ablate2tune.components import discover
from ablate2tune.localize.ranking.model_map import Cell, strips_of, write_map


@pytest.fixture(scope="module")
def catalogue():
    with torch.device("meta"):
        model = FluxTransformer2DModel(
            in_channels=4, num_layers=2, num_single_layers=3, attention_head_dim=4,
            num_attention_heads=2, joint_attention_dim=8, pooled_projection_dim=8,
            axes_dims_rope=(2, 2, 0),
        )  # fmt: skip
    return discover(model)


VALUES = {
    "transformer_blocks.1": 1.0,
    "transformer_blocks.1.attn": -4.0,
    "transformer_blocks.1.attn.to_k": 2.0,
    "single_transformer_blocks.2.proj_out": None,
}
TUNED = ["transformer_blocks.1.attn.to_q", "single_transformer_blocks.2.proj_out"]


def test_a_part_has_its_impact_and_what_is_tuned_is_outlined(catalogue):
    double, single = strips_of(catalogue, VALUES, TUNED)
    assert (double.stack, double.columns) == ("transformer_blocks", ["0", "1"])
    assert single.columns == ["0", "1", "2"]
    assert double.rows[:3] == ["block", "attn", "attn.to_q"]

    def cell(strip, row: str, column: int) -> Cell:
        return strip.cells[strip.rows.index(row), column]

    assert cell(double, "block", 1) == Cell(0.25, tuned=False)
    assert cell(double, "attn", 1) == Cell(-1.0, tuned=False)
    assert cell(double, "attn.to_k", 1) == Cell(0.5, tuned=False)
    assert cell(double, "attn.to_q", 1) == Cell(None, tuned=True), "not measured by itself"
    assert cell(double, "attn.to_q", 0) == Cell(None, tuned=False)
    assert cell(single, "proj_out", 2) == Cell(None, tuned=True)
    outlined = [cell for strip in (double, single) for cell in strip.cells.values() if cell.tuned]
    assert len(outlined) == len(TUNED)


def test_every_linear_layer_of_a_block_has_a_cell(catalogue):
    for strip in strips_of(catalogue, {}, []):
        for column, index in enumerate(strip.columns):
            block = catalogue[f"{strip.stack}.{index}"]
            held = {strip.rows[row] for row, at in strip.cells if at == column}
            assert {name.removeprefix(f"{block.address}.") for name in block.linears} <= held


def test_more_is_outlined_where_more_is_tuned(catalogue, tmp_path):
    def dark(tuned: list[str]) -> int:
        write_map({}, catalogue, tuned, tmp_path / "map.png")
        return int((np.asarray(Image.open(tmp_path / "map.png").convert("L")) < 40).sum())

    everything = [name for block in catalogue.blocks for name in block.linears]
    assert dark(everything) > dark(TUNED) + 1000
    (block, *_) = catalogue.blocks
    row = {"address": block.address, "target": {"value": 2.0}, "mode": "mean"}
    ranking = {
        "figure": "target", "ranked_by": "impact", "components": [row],
        "figures": [{"name": "target", "title": "margin"}],
    }  # fmt: skip
    write_map(ranking, catalogue, TUNED, tmp_path / "map.png")
    pixels = np.asarray(Image.open(tmp_path / "map.png").convert("RGB")).astype(int)
    red = (pixels[..., 0] > pixels[..., 2] + 60).sum()
    blue = (pixels[..., 2] > pixels[..., 0] + 60).sum()
    assert red > 0 and blue == 0
