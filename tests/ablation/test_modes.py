"""What the modes declare: the documentation lists it, and sweeps go by it."""

import dataclasses
from pathlib import Path

import pytest
from pydantic import ValidationError

from ablate2tune.ablation import MODES
from ablate2tune.ablation.mode import LEVELS
from ablate2tune.localize.localize_config import GenerateConfig, LocalizeConfig
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.localize.measuring.screening import can_screen

PAGE = Path(__file__).parents[2] / "docs" / "components.md"


def test_the_page_lists_every_mode_as_it_declares_itself():
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    first = lines.index("| mode | the activation becomes | acts on | needs | blocks get |") + 2
    listed = lines[first : lines.index("", first)]
    expected = []
    for name in MODES:
        mode = MODES[name]
        levels = "all levels" if mode.levels == LEVELS else ", ".join(mode.levels)
        needs = ", ".join(sorted(mode.needs)) or "–"
        expected.append(f"| `{name}` | {mode.becomes} | {levels} | {needs} | `{mode.block_mode}` |")
    assert sorted(listed) == sorted(expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mode": "men"}, "no ablation mode 'men'; did you mean 'mean'"),
        ({"mode": "trace"}, "it acts on block alone"),
        ({"mode": "skip"}, "it acts on block alone"),
        ({"mode": "adapter_off"}, "it needs adapters, which no sweep can supply"),
        ({"mode": "input", "heads": True}, "mode input does not act on heads"),
        ({"mode": "resample", "strips": 1}, "strips are drawn, which mode resample is not made"),
        ({"directions": "file.safetensors"}, "mode mean takes no directions; leave them out"),
        ({"mode": "patch", "probe": "generate"}, "cannot use mode patch while sampling"),
    ],
)
def test_a_sweep_refuses_what_a_mode_does_not_declare(changes, message: str):
    with pytest.raises(ValidationError, match=message):
        LocalizeConfig(**changes)


@pytest.mark.parametrize(
    ("mode", "groups"),
    [
        *(("mean", 7), ("resample", 7), ("project_out", 7)),
        *(("zero", 0), ("patch", 0), ("channel-mean", 0)),
    ],
)
def test_groups_are_calibrated_on_only_where_the_mode_takes_something_from_them(mode, groups):
    assert LocalizeConfig(mode=mode, calibration_groups=7).calibrated_groups == groups


def test_a_first_order_estimate_is_of_one_whole_component_in_a_mode_that_allows_it():
    assert can_screen(Condition(("blocks.0.attn",), "mean"))
    assert not can_screen(Condition(("blocks.0.attn",), "resample"))
    assert not can_screen(Condition(("blocks.0.attn[heads=0]",), "mean"))
    assert not can_screen(Condition(("blocks.0.attn", "blocks.0.ff"), "zero"))


def test_a_mode_whose_needs_no_sweep_supplies_is_refused(monkeypatch):
    strange = dataclasses.replace(MODES["zero"], needs=frozenset({"moon dust"}))
    monkeypatch.setitem(MODES._things, "strange", strange)
    with pytest.raises(ValidationError, match="needs moon dust, which no sweep can supply"):
        LocalizeConfig(mode="strange")


def test_a_generate_probe_takes_what_can_be_drawn():
    swept = [n for n in MODES if "sublayer" in MODES[n].levels and "adapters" not in MODES[n].needs]
    for name in (name for name in swept if MODES[name].drawn):
        generate = GenerateConfig(pairs=Path("pairs"))
        assert LocalizeConfig(probe="generate", mode=name, generate=generate).mode == name
