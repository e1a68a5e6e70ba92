"""Which module is named where a figure is not finite."""

import math
from pathlib import Path

import pytest
import torch
from peft import LoraConfig
from peft.mapping import inject_adapter_in_model
from torch import nn

from ablate2tune.errors import DivergedError
from ablate2tune.models.model_config import ModelConfig
from ablate2tune.train.train_config import TrainConfig
from ablate2tune.train.watching.finite_check import FiniteCheck, first_gradient, first_output


class Exp(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.exp()


def chain() -> nn.Sequential:
    """Adds nothing, then exp twice: of 1 it is 15.2, of 5 the second one overflows."""
    inner = nn.Sequential(Exp(), nn.Identity())
    return nn.Sequential(nn.Identity(), inner, Exp())


@pytest.mark.parametrize(
    "given, named",
    [(1.0, None), (5.0, "2"), (100.0, "1.0"), (math.nan, "0, which is given NaN")],
)
def test_the_innermost_module_whose_output_is_the_first(given: float, named: str | None):
    model = chain()
    assert first_output(model, [], lambda: model(torch.tensor(given))) == named
    assert not any(module._forward_hooks for module in model.modules())


def test_what_is_not_run_is_not_named_and_nothing_is_left_after_an_error():
    model = chain()
    assert first_output(model, [], lambda: model[0](torch.tensor(100.0))) is None
    with pytest.raises(ZeroDivisionError):
        first_output(model, [], lambda: 1 / 0)
    assert not any(module._forward_hooks for module in model.modules())


def adapted() -> nn.Module:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    config = LoraConfig(r=1, target_modules=["0", "1"])
    return inject_adapter_in_model(config, model)


def test_an_adapted_module_is_named_as_a_whole():
    model = adapted()
    with torch.no_grad():
        model.get_parameter("1.lora_B.default.weight").fill_(math.inf)
    assert first_output(model, ["0", "1"], lambda: model(torch.ones(1, 2))) == "1"


def check(model: nn.Module, folder: Path) -> FiniteCheck:
    state = folder / "checkpoint" / "state.safetensors"
    config = TrainConfig(learning_rate=0.5)
    return FiniteCheck(model, ["0", "1"], state, config, ModelConfig(path="m"))


def test_the_first_gradient_in_the_models_order(tmp_path: Path):
    model = adapted()
    parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
    for parameter in parameters.values():
        parameter.grad = torch.ones_like(parameter)
    assert first_gradient(parameters, ["0", "1"]) is None
    grads = {name: parameter.grad for name, parameter in parameters.items()}
    grads["1.lora_A.default.weight"][0, 0] = math.nan  # type: ignore[index]
    assert first_gradient(parameters, ["0", "1"]) == "1"
    grads["0.lora_B.default.weight"][1, 0] = math.inf  # type: ignore[index]
    assert first_gradient(parameters, ["0", "1"]) == "0"
    with pytest.raises(DivergedError) as caught:
        check(model, tmp_path).gradient(3, math.nan, parameters)
    assert caught.value.what == (
        "the gradient is nan at step 3: the first adapted module whose gradient is not finite is 0"
    )
    check(model, tmp_path).gradient(3, 1e30, parameters)


def test_a_loss_that_overflows_by_itself(tmp_path: Path):
    model = adapted()
    with pytest.raises(DivergedError) as caught:
        check(model, tmp_path).loss(7, "loss", math.inf, lambda: model(torch.ones(1, 2)))
    assert caught.value.what == "the loss is inf at step 7: the output of every module is finite"
    assert "the same command with train.learning_rate=0.05; or" in str(caught.value)
    check(model, tmp_path).loss(7, "loss", 1e30, lambda: pytest.fail("it is finite"))
