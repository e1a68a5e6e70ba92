from pathlib import Path

import pytest
from safetensors.torch import load_file

from ablate2tune.components import discover
from ablate2tune.errors import UserError
from ablate2tune.models import FluxDenoiser
from ablate2tune.train import train
from ablate2tune.train.methods.adapter_method import METHODS
from ablate2tune.train.placements.head_slices import head_slices
from ablate2tune.train.targets import choose_targets

ATTENTION = "transformer_blocks.1.attn"
QUERIES, OUT = f"{ATTENTION}.to_q", f"{ATTENTION}.to_out.0"
WEIGHTS = "adapter/pytorch_lora_weights.safetensors"


def test_only_the_named_head_changes(
    tiny_flux: FluxDenoiser, records, config, tmp_path: Path
) -> None:
    count, width = tiny_flux.model.get_submodule(ATTENTION).heads, 32
    size = width // count
    asked = config.model_copy(
        update={"targets": "list", "modules": [f"{ATTENTION}[heads={count - 1}]"], "steps": 2}
    )
    names = choose_targets(None, asked, discover(tiny_flux.model), 0)
    assert {QUERIES, OUT, f"{ATTENTION}.add_k_proj", f"{ATTENTION}.to_add_out"} < set(names)
    train(tiny_flux, records, names, asked, 3, tmp_path, sample_steps=1)
    held = load_file(tmp_path / WEIGHTS)
    first = width - size  # of the last head
    for name in names:
        up, down = (held[f"transformer.{name}.lora_{side}.weight"] for side in "BA")
        added = up @ down
        if name in (OUT, f"{ATTENTION}.to_add_out"):
            added = added.T
        assert added[first:].any(1).all(), name
        assert not added[:first].any(), name


def test_slices_by_hand(tiny_flux: FluxDenoiser) -> None:
    catalogue, model = discover(tiny_flux.model), tiny_flux.model
    count = model.get_submodule(ATTENTION).heads
    size = 32 // count
    found = head_slices(catalogue, model, [f"{ATTENTION}[heads=0]", f"{ATTENTION}[heads=1]", OUT])
    assert found[QUERIES] == ("B", tuple(range(2 * size)))
    assert OUT not in found  # listed whole as well
    assert not head_slices(catalogue, model, ["transformer_blocks.0.attn.to_*"])


@pytest.mark.parametrize(
    "pattern, told",
    [
        (f"{ATTENTION}[heads=9]", "there is no head 9"),
        ("transformer_blocks.1.ff[heads=0]", "no heads to adapt"),
        ("transformer_blocks.9.attn[heads=0]", "matches no component"),
    ],
)
def test_heads_that_are_not_there(tiny_flux: FluxDenoiser, pattern: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        head_slices(discover(tiny_flux.model), tiny_flux.model, [pattern])


def test_methods_that_change_whole_layers_say_so(config) -> None:
    asked = config.model_copy(
        update={"method": "oft", "targets": "list", "modules": [f"{ATTENTION}[heads=0]"]}
    )
    with pytest.raises(UserError, match="oft adapts whole layers"):
        METHODS["oft"].check_config(asked)
