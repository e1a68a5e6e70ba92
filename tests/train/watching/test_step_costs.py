"""Seconds of a step by a clock of the test's own, and that a look changes nothing."""

import time

import pytest
import torch
from accelerate import Accelerator
from tiny_runs import TARGETS
from torch import Tensor, nn

from ablate2tune.train.adapter import inject
from ablate2tune.train.lessons.picture_lessons import PictureLessons
from ablate2tune.train.memory.memory_estimate import MemoryEstimate
from ablate2tune.train.watching import step_costs
from ablate2tune.train.watching.step_costs import Foretold, predict_seconds


class Clock:
    """A pass takes `fixed` seconds, and `each` for each row."""

    def __init__(self, fixed: float, each: float):
        self.fixed, self.each, self.now = fixed, each, 0.0
        self.weight, self.rows = nn.Parameter(torch.ones(2)), []

    def loss(self, rows: int) -> Tensor:
        torch.rand(3)
        self.rows.append(rows)
        self.now += self.fixed + self.each * rows
        return (self.weight * rows).sum()


@pytest.mark.parametrize(
    "fixed, each, pictures, at_once, rows_each, by_hand",
    [
        (1.0, 2.0, 32, 32, 1.0, 1 + 64),
        (1.0, 2.0, 32, 8, 1.0, 4 * 1 + 64),
        (1.0, 2.0, 7, 3, 1.0, 3 * 1 + 14),
        (1.0, 2.0, 8, 8, 1.5, 1 + 24),
        (1.0, 2.0, 1, 1, 1.0, 3),
        (1.0, 2.0, 4, 1, 1.0, 12),
        (0.25, 0.0, 16, 16, 1.0, 0.25),
    ],
)
def test_by_hand(
    fixed: float, each: float, pictures: int, at_once: int, rows_each: float, by_hand: float,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    clock = Clock(fixed, each)
    monkeypatch.setattr(time, "perf_counter", lambda: clock.now)
    found = predict_seconds(clock.loss, [clock.weight], pictures, at_once, rows_each)
    assert found == pytest.approx(by_hand)
    assert max(clock.rows) <= min(4, round(at_once * rows_each))


def test_what_is_quick_is_timed_thrice_and_its_median_counts(monkeypatch: pytest.MonkeyPatch):
    clock = Clock(0.0, 0.0)
    spent = iter([9.0, 0.02, 0.01, 0.3])  # the first is not counted

    def loss(rows: int) -> Tensor:
        clock.now += next(spent)
        return clock.weight.sum()

    monkeypatch.setattr(time, "perf_counter", lambda: clock.now)
    assert predict_seconds(loss, [clock.weight], 1, 1) == pytest.approx(0.02)
    assert next(spent, None) is None


def test_a_look_changes_nothing():
    clock = Clock(0.0, 0.0)
    state = torch.get_rng_state()
    predict_seconds(clock.loss, [clock.weight], 8, 8)
    assert torch.equal(torch.get_rng_state(), state)
    assert clock.weight.grad is None and clock.weight.tolist() == [1.0, 1.0]


def test_what_does_not_fit_is_not_foretold():
    def loss(rows: int) -> Tensor:
        raise torch.OutOfMemoryError

    assert predict_seconds(loss, [torch.ones(1)], 8, 8) is None
    foretold = Foretold(MemoryEstimate(3 * 10**9, 0, 0, 1), None)
    assert foretold.line(10) is None
    assert foretold.beside(0.5, 4.0) == "a step took 0.5 s, memory peaked at 4 GB (3)"
    row = foretold.row(10, 0.5, 4.0)
    assert row["foretold"] == {"seconds_per_step": None, "memory_gb": 3.0}
    assert row["measured"] == {"seconds_per_step": 0.5, "memory_gb": 4.0}
    assert row["schema"] == step_costs.SCHEMA


def test_the_base_is_asked_in_the_look_where_a_step_asks_it(
    tiny_flux, records, config, tmp_path, monkeypatch
):
    """A retained picture's target is a forward pass more, which has a cost of its own."""
    seen: list[tuple[int, bool]] = []
    predict = tiny_flux.predict

    def spy(latents, *rest):
        seen.append((len(latents), torch.is_grad_enabled()))
        return predict(latents, *rest)

    monkeypatch.setattr(tiny_flux, "predict", spy)
    inject(tiny_flux.model, TARGETS, 2, seed=0)
    for retention, passes in ((0.0, [(4, True)]), (1.0, [(2, False), (4, True)])):
        share = {"plain_captions": 0.4, "caption_dropout": 0.1, "retention": retention}
        lessons = PictureLessons(tiny_flux, records)
        lessons.open(config.model_copy(update=share), 3, Accelerator(cpu=True), tmp_path)
        seen.clear()
        with torch.enable_grad():
            lessons.look(4).backward()
        assert seen == passes
        assert lessons.rows_each == 1.0
