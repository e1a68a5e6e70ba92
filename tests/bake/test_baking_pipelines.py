"""A pipeline with ablations in its denoiser's weights draws what it draws under hooks."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline

from ablate2tune.ablation import ablated
from ablate2tune.ablation.specs import read_ablations
from ablate2tune.bake import bake_command
from ablate2tune.components import discover
from ablate2tune.errors import UserError
from ablate2tune.files import read_json
from ablate2tune.models import FluxDenoiser
from ablate2tune.progress import Terminal

SPECS = [
    "transformer_blocks.0.attn[heads=1]",
    "transformer_blocks.0.ff",
    "transformer_blocks.1",
    "single_transformer_blocks.1.proj_out",
]


def bake(source: Path, out: Path, specs: list[str], **more) -> None:
    job = {"ablate": specs, "out": out, "device": "cpu", **more}
    bake_command.run(bake_command.read_job(str(source), job), Terminal(quiet=True))


def test_stock_diffusers_draws_what_hooks_draw(
    tiny_flux_folder: Path, tiny_flux: FluxDenoiser, tmp_path: Path
):
    bake(tiny_flux_folder, tmp_path / "out", SPECS)
    with ablated(tiny_flux.model, read_ablations(discover(tiny_flux.model), SPECS)):
        wanted = tiny_flux.sample(["a red ball"], [3], steps=2)
    stock = FluxPipeline.from_pretrained(tmp_path / "out")
    stock.set_progress_bar_config(disable=True)
    found = stock(
        "a red ball", height=32, width=32, num_inference_steps=2, max_sequence_length=16,
        generator=torch.Generator().manual_seed(3), output_type="np",
    ).images  # fmt: skip
    assert np.abs((found * 255).round() - wanted).max() <= 1
    note = read_json(tmp_path / "out" / "ablate2tune_bake.json")
    assert note["library"] == "diffusers" and note["max_difference"] < 1e-4 < note["max_effect"]
    assert "transformer_blocks.0.attn.to_out.0.weight" in note["changed_parameters"]


@pytest.mark.parametrize(
    ("specs", "more", "says"),
    [
        (["transformer_blocks.0.attn=mean"], {}, "no bias can hold"),
        (["transformer_blocks.0"], {"prune": True}, "--prune: is for language models"),
        ([], {}, "nothing to bake"),
    ],
)
def test_what_is_refused(tiny_flux_folder: Path, tmp_path: Path, specs, more, says: str):
    with pytest.raises(UserError, match=says):
        bake(tiny_flux_folder, tmp_path / "out", specs, **more)
    assert not (tmp_path / "out").exists()
