"""Optimizers: what each needs, and that a training goes on with all that it knew."""

from pathlib import Path

import pytest
import torch
from torch import nn

from ablate2tune.disk.state_file import optimizer_numbers
from ablate2tune.errors import UserError
from ablate2tune.train.optimizers import optimizer_kind
from ablate2tune.train.optimizers.optimizer_kind import (
    OPTIMIZERS,
    check_optimizer,
    optimizer_of,
)
from ablate2tune.train.train_config import TrainConfig
from ablate2tune.train.training_state import Checkpoint

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


class Growing(torch.optim.Optimizer):
    """Steps by a rate that grows by a half each time, and by how often a weight was seen."""

    def __init__(self, parameters, lr: float):
        super().__init__(parameters, {"lr": lr, "own": 1.0, "fixed": 3})

    @torch.no_grad()
    def step(self, closure=None):  # pyright: ignore
        (group,) = self.param_groups
        for parameter in group["params"]:
            state = self.state[parameter]
            state.setdefault("seen", 0)
            state.setdefault("deep", {"sum": torch.zeros_like(parameter)})
            state["seen"] += 1
            state["deep"]["sum"] += parameter.grad
            parameter -= group["lr"] * group["own"] * state["seen"] * state["deep"]["sum"]
        group["own"] *= 1.5

    def load_state_dict(self, state_dict):
        for values in state_dict["state"].values():
            values["deep"] = {"sum": values.pop("sum")}
        super().load_state_dict(state_dict)


def weights() -> dict[str, nn.Parameter]:
    return {"a": nn.Parameter(torch.arange(4.0)), "b": nn.Parameter(torch.ones(2, 2))}


def walk(parameters: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer, steps: range):
    for step in steps:
        for parameter in parameters.values():
            parameter.grad = torch.sin(parameter.detach() + step)
        optimizer.step()


def goes_on(make, tmp_path: Path) -> None:
    """Stopped after three of six steps it ends as without a stop, bit for bit."""
    whole, stopped, again = weights(), weights(), weights()
    walk(whole, make(whole.values(), 0.1), range(6))
    optimizer = make(stopped.values(), 0.1)
    walk(stopped, optimizer, range(3))
    path = tmp_path / "state.safetensors"
    Checkpoint(path, {}, stopped, optimizer).save(3)
    restored = make(again.values(), 0.1)
    assert Checkpoint(path, {}, again, restored).load() == 3
    walk(again, restored, range(3, 6))
    assert all(torch.equal(parameter, again[name]) for name, parameter in whole.items())
    assert not torch.equal(whole["a"], stopped["a"])


def test_counts_and_estimates_of_an_optimizers_own_are_kept(tmp_path: Path) -> None:
    goes_on(Growing, tmp_path)
    held = weights()
    optimizer = Growing(held.values(), 0.1)
    walk(held, optimizer, range(2))
    assert optimizer_numbers(optimizer) == {
        "states": {"0": {"seen": 2}, "1": {"seen": 2}},
        "groups": [{"own": 2.25}],
    }


def test_adamw_is_the_usual_one_and_keeps_no_numbers(tmp_path: Path) -> None:
    held, same = weights(), weights()
    optimizer = optimizer_of(TrainConfig()).make(held.values(), 0.1)
    walk(held, optimizer, range(3))
    walk(same, torch.optim.AdamW(same.values(), lr=0.1, weight_decay=0.0), range(3))
    assert all(torch.equal(held[name], same[name]) for name in held)
    assert optimizer_numbers(optimizer) == {}
    goes_on(OPTIMIZERS["adamw"].make, tmp_path)


def test_prodigy_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("prodigyopt")
    goes_on(lambda held, _: OPTIMIZERS["prodigy"].make(held, 1.0), tmp_path)


def config(**values) -> TrainConfig:
    return TrainConfig.model_validate(values)


def test_what_is_missing_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizer_kind, "find_spec", lambda name: None)
    check_optimizer(config(), CPU)
    with pytest.raises(UserError, match=r"needs the package prodigyopt.*`pip install prodigyopt`"):
        check_optimizer(config(optimizer="prodigy", learning_rate=1), CPU)
    with pytest.raises(UserError, match="pip install bitsandbytes"):
        check_optimizer(config(optimizer="adamw8bit"), CUDA)
    with pytest.raises(UserError, match="works on cuda alone, and this is cpu"):
        check_optimizer(config(optimizer="adamw8bit"), CPU)
    with pytest.raises(UserError, match=r"no optimizer 'prodgy'.*prodigy"):
        check_optimizer(config(optimizer="prodgy"), CPU)


def test_prodigys_rate_is_a_factor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizer_kind, "find_spec", lambda name: name)
    with pytest.raises(UserError, match=r"learning_rate = 0.001: .*set it to 1"):
        check_optimizer(config(optimizer="prodigy"), CPU)
    check_optimizer(config(optimizer="prodigy", learning_rate=1), CPU)
