"""The learning rate by hand, and training that resumes to the same weights."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ablate2tune.testbed.optimisation import accumulate_gradients, learning_rate, resumable_training
from ablate2tune.testbed.testbed_recipe import PartConfig

CONFIG = PartConfig(
    steps=10, batch_size=1, learning_rate=1.0, warmup=4, decay=0.4, checkpoint_every=3
)


@pytest.mark.parametrize(
    ("step", "rate"), [(0, 0.25), (3, 1.0), (5, 1.0), (6, 1.0), (7, 0.75), (9, 0.25)]
)
def test_learning_rate(step: int, rate: float) -> None:
    assert learning_rate(step, CONFIG) == pytest.approx(rate)


@pytest.mark.parametrize(("step", "rate"), [(9, 0.25), (10, 0.25), (13, 1.0), (17, 0.75)])
def test_learning_rate_in_two_cycles(step: int, rate: float) -> None:
    twice = CONFIG.model_copy(update={"steps": 20, "cycles": 2})
    assert learning_rate(step, twice) == pytest.approx(rate)


def run(work: Path, stop_at: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    module, average = torch.nn.Linear(3, 1), torch.nn.Linear(3, 1)
    average.load_state_dict(module.state_dict())

    def loss(inputs: torch.Tensor) -> torch.Tensor:
        return (module(inputs) - inputs.sum(1, keepdim=True)).square().mean()

    def parts_at(step: int) -> list[Callable[[], torch.Tensor]]:
        if step == stop_at:
            raise KeyboardInterrupt
        inputs = torch.randn(4, 3, generator=torch.Generator().manual_seed(step))
        return [lambda: loss(inputs[:2]), lambda: loss(inputs[2:])]

    resumable_training("part", module, parts_at, CONFIG, work, ema=(average, 0.9))
    return module.weight.detach().clone(), average.weight.detach().clone()


def test_resumed_training_equals_the_uninterrupted_one(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", stop_at=5)
    resumed = run(tmp_path / "cut")
    assert torch.equal(whole[0], resumed[0])
    assert torch.equal(whole[1], resumed[1])
    assert not torch.equal(whole[0], whole[1])


def test_parts_add_up_to_the_whole_batch() -> None:
    torch.manual_seed(0)
    module, inputs = torch.nn.Linear(3, 1), torch.randn(4, 3)
    parameters = list(module.parameters())
    whole = module(inputs).square().mean()
    expected = torch.autograd.grad(whole, parameters)
    parts = [lambda: module(inputs[:2]).square().mean(), lambda: module(inputs[2:]).square().mean()]
    loss = accumulate_gradients(parts, parameters)
    assert loss == pytest.approx(whole.item())
    for parameter, gradient in zip(parameters, expected, strict=True):
        assert torch.allclose(parameter.grad, gradient, atol=1e-6)
