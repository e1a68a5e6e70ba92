"""Impacts, labels and order from hand-made margins of six groups."""

import numpy as np
import pytest

from ablate2tune.components import Component
from ablate2tune.localize.localize_config import LocalizeConfig
from ablate2tune.localize.margins.caption_losses import Margins
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.localize.measuring.results import Results
from ablate2tune.localize.probes.margin import MarginProbe
from ablate2tune.localize.ranking.decided import decided
from ablate2tune.localize.ranking.ranking import Analysis

EXAMPLES = [f"{group}-{twin}" for group in range(12) for twin in range(2)]
GROUPS = [name.split("-")[0] for name in EXAMPLES]
SPREAD = np.tile([0.9, 1.1], 12)[:, None] * np.ones(2)  # around 1, two noise levels
BASE = Margins(target=4 * SPREAD, control=2 * SPREAD, quality=-10 * SPREAD)


def block(index: int) -> Component:
    name = f"blocks.{index}"
    return Component(name, "block", "block", "Block", 1, "blocks", index, None, (f"{name}.q",))


def rows_in(path) -> Results:
    return Results(path, EXAMPLES, GROUPS, Margins._fields, [0.9, 0.5], "margin")


def analyse(tmp_path, margins: list[Margins], base: Margins = BASE, **settings):
    config = LocalizeConfig.model_validate({"sigmas": [0.9, 0.5], "bootstrap": 5000} | settings)
    results = rows_in(tmp_path / "results.jsonl")
    results.add({Condition(): base._asdict()}, 1.0)
    measured = []
    for index, values in enumerate(margins):
        condition = Condition((f"blocks.{index}",), "skip")
        results.add({condition: values._asdict()}, 1.0)
        measured.append((block(index), condition))
    analysis = Analysis(results, GROUPS, MarginProbe.figures, config, seed=0)
    return analysis, analysis.over_levels(analysis.rows(measured))


def changed(target: float = 0.0, control: float = 0.0, quality: float = 0.0) -> Margins:
    """Margins after an ablation with these impacts, relative to the baseline's means."""
    return Margins(
        BASE.target - 4 * target, BASE.control - 2 * control, BASE.quality - 10 * quality
    )


def test_figures_by_hand(tmp_path):
    analysis, (row,) = analyse(tmp_path, [changed(target=0.75, control=0.5, quality=0.2)])
    assert analysis.baseline["target"]["value"] == pytest.approx(4)
    assert row.target["value"] == pytest.approx(3)
    assert row.control["value"] == pytest.approx(1)
    assert row.quality["value"] == pytest.approx(2)  # the loss rose from 10 to 12
    assert row.relative == pytest.approx({"target": 0.75, "control": 0.5, "quality": 0.2})
    assert row.specificity == pytest.approx(0.25)
    # Every group's impact is 3, so only the observed signs and their mirror are as extreme.
    assert row.p_uncorrected == pytest.approx(2 / 2**12)
    assert (row.target["low"], row.target["high"]) == pytest.approx((3, 3))


def test_labels_and_order(tmp_path):
    alternating = np.repeat(np.tile([1.0, -1.0], 6), 2)[:, None] * np.ones(2)
    unclear = Margins(BASE.target - alternating, BASE.control, BASE.quality)
    _, rows = analyse(
        tmp_path,
        [unclear, changed(target=0.5), changed(target=-0.5), changed(target=1, quality=1.5)],
    )
    assert [(row.component.address, row.label) for row in rows] == [
        ("blocks.3", "critical for everything"),
        ("blocks.1", "helps"),
        ("blocks.0", "neutral"),
        ("blocks.2", "hurts"),
    ]
    assert [row.rank_in_level for row in rows] == [1, 2, 3, 4]
    # Benjamini-Hochberg: three p of 2/4096 among four become 4/3 of that; the largest stays.
    p = {row.component.address: row.p for row in rows}
    assert p["blocks.1"] == pytest.approx(2 / 4096 * 4 / 3)
    assert p["blocks.0"] == 1.0


def test_p_is_corrected_over_the_components_of_all_levels(tmp_path):
    analysis, rows = analyse(tmp_path, [changed(target=0.5)] * 3)
    first, rest = rows[:1], rows[1:]
    together = analysis.over_levels([*first, *rest])
    assert [row.p for row in together] == pytest.approx([2 / 4096] * 3)  # all the same
    unclear = np.repeat(np.tile([1.0, -1.0], 6), 2)[:, None] * np.ones(2)
    (tmp_path / "results.jsonl").unlink()
    analysis, rows = analyse(
        tmp_path, [changed(target=0.5), BASE._replace(target=BASE.target - unclear)]
    )
    assert [row.p for row in rows] == pytest.approx([2 * 2 / 4096, 1.0])
    assert [row.p for row in analysis.over_levels(rows[:1])] == pytest.approx([2 / 4096])


def test_what_is_decided(tmp_path):
    """Impacts 3, 2 and 1.9 with a spread over the groups: one place of two is open."""
    spread = 0.1 * np.repeat(np.resize([1.0, 1.0, -1.0, -1.0], 12), 2)[:, None] * np.ones(2)
    other = 0.1 * np.repeat(np.resize([1.0, -1.0], 12), 2)[:, None] * np.ones(2)
    lost = [3 + spread, 2 + other, 1.95 + spread]
    analysis, rows = analyse(
        tmp_path, [BASE._replace(target=BASE.target - impact) for impact in lost]
    )
    measured = [(row.component, Condition((row.component.address,), row.mode)) for row in rows]
    found = decided(analysis, measured, 2)
    assert found == {
        "level": "block",
        "modules": 2,
        "components": 2,
        "confidence": 0.95,
        "in": ["blocks.0"],
        "open": ["blocks.1", "blocks.2"],
    }
    assert decided(analysis, measured, 1)["open"] == []  # type: ignore[index]
    assert decided(analysis, [], 2) is None
    # The order by gain is told apart by gains alone.
    gains = {f"blocks.{i}": np.resize([i - 0.1, i + 0.1], 24) for i in range(3)}
    (tmp_path / "results.jsonl").unlink()
    by_gain = {"rank_by": "gradient"}
    analysis, _ = analyse(
        tmp_path, [BASE._replace(target=BASE.target - impact) for impact in lost], **by_gain
    )
    assert decided(analysis, measured, 1, gains)["in"] == ["blocks.2"]  # type: ignore[index]


def test_rank_by_specificity(tmp_path):
    margins = [changed(target=0.9, control=0.9), changed(target=0.5, control=0.1)]
    _, by_target = analyse(tmp_path, margins)
    assert [row.component.index for row in by_target] == [0, 1]
    (tmp_path / "results.jsonl").unlink()
    _, by_specificity = analyse(tmp_path, margins, rank_by="specificity")
    assert [row.component.index for row in by_specificity] == [1, 0]


def test_without_a_control_margin_specificity_is_not_defined(tmp_path):
    base = BASE._replace(control=np.repeat(np.tile([1.0, -1.0], 6), 2)[:, None] * np.ones(2))
    analysis, rows = analyse(tmp_path, [changed(target=0.5)], base, rank_by="specificity")
    assert analysis.has_skill
    assert not analysis.has_control
    assert analysis.ranked_by == "impact"
    assert rows[0].specificity is None
    assert rows[0].relative["control"] is None


@pytest.mark.parametrize(
    ("shift", "skill"), [(0.0, False), (0.02, False), (2.0, True), (-2.0, False)]
)
def test_skill_needs_a_margin_above_zero(tmp_path, shift: float, skill: bool):
    noise = np.repeat(np.tile([1.0, -1.0], 6), 2)[:, None] * np.ones(2)
    analysis, _ = analyse(tmp_path, [], BASE._replace(target=noise + shift))
    assert analysis.has_skill is skill


def test_results_keep_margins_exactly(tmp_path):
    path = tmp_path / "results.jsonl"
    margins = Margins(*(np.random.default_rng(i).normal(size=(24, 2)) for i in range(3)))
    condition = Condition(("a", "b"), "zero")
    rows_in(path).add({condition: margins._asdict()}, 2.4)
    again = rows_in(path)
    assert condition in again
    assert Condition(("a", "b"), "mean") not in again
    for name, original in margins._asdict().items():
        assert np.array_equal(again[condition][name], original)
