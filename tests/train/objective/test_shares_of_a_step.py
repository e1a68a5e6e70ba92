"""A step's gradient is the sum of what its processes compute, up to rounding alone.

In float64 nothing is left of the difference that float32 shows: it lies in the order of sums, not
in what is summed.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from tiny_runs import TARGETS

from ablate2tune.models import FluxDenoiser, denoiser
from ablate2tune.scenes.dataset.records import SceneRecord
from ablate2tune.train.adapter import inject, trainable
from ablate2tune.train.lessons.picture_lessons import PictureLessons
from ablate2tune.train.objective.step_loss import Backward
from ablate2tune.train.train_config import TrainConfig

TAUGHT = {"contrast": 4.0, "high_noise": 0.6, "retention": 0.5}


def gradients(
    flux: FluxDenoiser, lessons: PictureLessons, config: TrainConfig, processes: int
) -> torch.Tensor:
    """Of a step, added up over the shares of so many processes, in float64."""
    parameters = list(trainable(flux.model).values())
    optimizer = torch.optim.SGD(parameters)
    total = 0
    for index in range(processes):
        backward = Backward(flux, lessons._cache, config)
        backward(lessons._batch_at(2).part(index, processes), optimizer)
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        total = total + torch.cat([part.double().flatten() for part in parts])
    assert isinstance(total, torch.Tensor)
    return total


@pytest.mark.parametrize("taught", [{}, TAUGHT])
def test_processes_add_up_to_one(
    tiny_flux: FluxDenoiser, records: list[SceneRecord], config: TrainConfig, tmp_path: Path,
    taught: dict, monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    config = config.model_copy(update={"batch_size": 5, **taught})
    lessons = PictureLessons(tiny_flux, records)
    lessons.open(config, 3, Accelerator(cpu=True), tmp_path)
    inject(tiny_flux.model, TARGETS, 2, seed=0)
    generator = torch.Generator().manual_seed(0)
    for parameter in trainable(tiny_flux.model).values():  # B begins at zero, and A's gradient
        parameter.data = torch.randn(parameter.shape, generator=generator)

    def apart() -> float:
        whole = gradients(tiny_flux, lessons, config, 1)
        found = [gradients(tiny_flux, lessons, config, count) for count in (2, 3)]
        return max(((other - whole).abs().max() / whole.abs().max()).item() for other in found)

    assert apart() < 1e-5
    tiny_flux.pipe.to(torch.float64)
    told = lessons._cache.captions
    monkeypatch.setattr(
        lessons._cache, "captions", lambda texts: told(texts)._map(torch.Tensor.double)
    )
    exact: Callable[..., torch.Tensor] = denoiser.squared_error

    def in_float64(prediction: torch.Tensor, target: torch.Tensor, *weight) -> torch.Tensor:
        assert prediction.dtype == torch.float64
        with monkeypatch.context() as patch:
            patch.setattr(torch.Tensor, "float", torch.Tensor.double)
            return exact(prediction, target, *weight)

    monkeypatch.setattr(denoiser, "squared_error", in_float64)
    assert apart() < 1e-12
