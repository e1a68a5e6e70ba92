"""What every ranking rule must do: find a planted effect, and lose all order without one.

With captions and foils exchanged at random, group by group, a margin changes its sign there, and so
does a gradient. What still orders components then is their noise, and is no evidence.
"""

import numpy as np
import pytest
import torch
from scipy import stats

from ablate2tune.components import Component
from ablate2tune.localize.localize_config import LocalizeConfig
from ablate2tune.localize.margins.gain import steepest
from ablate2tune.localize.measuring.condition import BASELINE, Condition
from ablate2tune.localize.measuring.results import Results
from ablate2tune.localize.probes.margin import MarginProbe
from ablate2tune.localize.ranking.ranking import Analysis
from ablate2tune.seeding import numpy_generator
from ablate2tune.statistics.rank_stability import spearman

COMPONENTS, GROUPS, PLANTED = 60, 48, 7
CHANCE = 3.3 / (COMPONENTS - 1) ** 0.5
"""Spearman's correlation of unrelated orders stays below this in 999 of 1,000 cases."""
NAMES = [f"{i:02d}" for i in range(GROUPS)]
MODULES = [
    Component(f"b.{i}", "block", "block", "Block", 1, "b", i, None, (f"b.{i}.q",))
    for i in range(COMPONENTS)
]
SIZE = np.exp(np.linspace(-1.5, 1.5, COMPONENTS))
"""How much each component's figures vary; the planted one is among the quietest."""


def ranked(tmp_path, rule: str, signs: np.ndarray, draw: int) -> list[int]:
    """Components in the order of a rule; the captions of groups with sign -1 were exchanged."""
    rng = numpy_generator(draw, "known answer")
    config = LocalizeConfig(sigmas=[0.9], bootstrap=200, rank_by=rule)  # type: ignore[arg-type]
    path = tmp_path / f"{rule}-{draw}-{signs.sum()}.jsonl"
    results = Results(path, NAMES, NAMES, ["target", "control", "quality"], [0.9], "margin")
    base = {"target": rng.normal(4, 0.3, GROUPS), "control": rng.normal(4, 0.3, GROUPS)}

    def add(condition: Condition, target: np.ndarray, control: np.ndarray) -> None:
        values = {"target": signs * target, "control": control, "quality": np.full(GROUPS, -1.0)}
        results.add({condition: {k: v[:, None] for k, v in values.items()}}, 1.0)

    add(BASELINE, base["target"], base["control"])
    measured = []
    for part in MODULES:
        lost = rng.normal(0, SIZE[part.index], GROUPS) + 2.0 * (part.index == PLANTED)
        condition = Condition((part.address,), "skip")
        add(condition, base["target"] - lost, base["control"] - rng.normal(0, 0.1, GROUPS))
        measured.append((part, condition))
    analysis = Analysis(results, NAMES, MarginProbe.figures, config, seed=0)
    gains = {part.address: gain(part.index, signs, draw) for part in MODULES}
    return [row.component.index for row in analysis.rows(measured, gains)]


def gradients(index: int, signs: np.ndarray, draw: int) -> torch.Tensor:
    """Of one module, for every group: (groups, 8, 8)."""
    noise = numpy_generator(draw, "gradients", index).normal(0, SIZE[index], (GROUPS, 8, 8))
    planted = 6.0 * np.outer(np.eye(8)[1], np.eye(8)[2]) * (index == PLANTED)
    return torch.tensor(signs[:, None, None] * (noise + planted))


def gain(index: int, signs: np.ndarray, draw: int) -> np.ndarray:
    """As the margin probe does it: every second group chooses, the others judge."""
    every = gradients(index, signs, draw)
    step = steepest(every[0::2].mean(0), rank=2)
    found = np.full(GROUPS, np.nan)
    along = (every[1::2].float() * (step.left @ step.right.T)).sum((1, 2))
    found[1::2] = along.numpy() / step.parameters
    return found


def agreement(first: list[int], second: list[int]) -> float:
    places = [np.argsort(order) for order in (first, second)]
    return spearman(*places)


@pytest.mark.parametrize("rule", ["impact", "specificity", "gradient", "scout"])
def test_the_order_is_lost_with_exchanged_captions_and_what_was_planted_is_found(tmp_path, rule):
    correlations = []
    for draw in range(3):
        as_they_are = ranked(tmp_path, rule, np.ones(GROUPS), draw)
        assert as_they_are[0] == PLANTED
        signs = numpy_generator(draw, "exchange").integers(0, 2, GROUPS) * 2 - 1
        correlations.append(agreement(as_they_are, ranked(tmp_path, rule, signs, draw)))
    assert abs(np.mean(correlations)) < CHANCE / 3**0.5, correlations


def test_the_energy_of_a_mean_gradient_would_fail_it():
    """What was ranked by before: its order is that of the noise, exchanged or not."""
    signs = numpy_generator(0, "exchange").integers(0, 2, GROUPS) * 2 - 1
    orders = []
    for chosen in (np.ones(GROUPS), signs):
        means = [gradients(i, chosen, 0).mean(0) for i in range(COMPONENTS)]
        energies = [float(torch.linalg.svdvals(mean)[:2].square().sum()) for mean in means]
        orders.append([int(i) for i in np.argsort(energies)[::-1]])
    assert agreement(*orders) > 0.9


def test_the_gain_s_interval_tells_what_was_planted_from_nothing():
    """One-sided at 2.5 %, over five draws: all that was planted, and so much of the rest."""

    def low(index: int, draw: int) -> float:
        judged = gain(index, np.ones(GROUPS), draw)[1::2]
        return stats.ttest_1samp(judged, 0).confidence_interval().low

    told = np.array([[low(i, draw) > 0 for i in range(COMPONENTS)] for draw in range(5)])
    assert told[:, PLANTED].all()
    assert np.delete(told, PLANTED, axis=1).mean() < 0.05
