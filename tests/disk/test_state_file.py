"""Optimizer state survives a round trip through safetensors."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ablate2tune.disk.state_file import load_state, optimizer_tensors, restore_optimizer, save_state
from ablate2tune.errors import UserError


def step(optimizer: torch.optim.Optimizer, weight: torch.nn.Parameter) -> None:
    weight.grad = weight.detach() * 0.5 + 1
    optimizer.step()


def test_adamw_goes_on_as_if_never_stopped(tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.arange(4.0))
    optimizer = torch.optim.AdamW([weight], lr=0.1)
    step(optimizer, weight)
    save_state(tmp_path / "s", {"w": weight, **optimizer_tensors(optimizer)}, {"step": 1})
    step(optimizer, weight)

    tensors, counters = load_state(tmp_path / "s")
    other = torch.nn.Parameter(tensors["w"].clone())
    restored = torch.optim.AdamW([other], lr=0.1)
    restore_optimizer(restored, tensors)
    step(restored, other)
    assert counters == {"step": 1}
    assert torch.equal(weight, other)


def test_damaged_state_is_refused(tmp_path: Path) -> None:
    save_state(tmp_path / "s", {"w": torch.ones(100)}, {})
    whole = (tmp_path / "s").read_bytes()
    (tmp_path / "s").write_bytes(whole[:-10])
    with pytest.raises(UserError, match="damaged checkpoint"):
        load_state(tmp_path / "s")
    save_file({"w": torch.ones(1)}, tmp_path / "foreign")
    for name in ("foreign", "gone"):
        with pytest.raises(UserError, match=f"{name}: damaged checkpoint .*delete it to start"):
            load_state(tmp_path / name)
