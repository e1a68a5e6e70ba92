"""What pictures at some noise levels can teach."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ablate2tune.errors import UserError
from ablate2tune.models.schedules import DiscreteSchedule, FlowMatching
from ablate2tune.train.lessons.picture_lessons import check_levels
from ablate2tune.train.train_config import TrainConfig

# sigma_t / (alpha_t + sigma_t) is 1/2 at alpha_t^2 = .5, and .8 / (.6 + .8) = 4/7 at .36.
DISCRETE = DiscreteSchedule(torch.tensor([0.5, 0.36]), v_prediction=False)


def model(schedule: Any) -> Any:
    return SimpleNamespace(schedule=schedule)


def test_an_adapter_above_all_levels_is_refused() -> None:
    for level in (0.0, 0.3, 0.55):
        check_levels(model(DISCRETE), TrainConfig(acts_above=level or None))
    with pytest.raises(UserError, match="the adapter would never act"):
        check_levels(model(DISCRETE), TrainConfig(acts_above=0.6))
    check_levels(model(FlowMatching()), TrainConfig(acts_above=0.999))
