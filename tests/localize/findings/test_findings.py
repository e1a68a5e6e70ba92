"""A finding is one file: what `explore` runs, and one that is added from outside."""

from types import SimpleNamespace
from typing import Any

import pytest

from ablate2tune.localize.findings.explore import explore
from ablate2tune.localize.findings.finding import FINDINGS, Finding, Kind
from ablate2tune.localize.localize_config import JointConfig, LocalizeConfig


def ranked(skill: bool = True, takes: frozenset[str] = frozenset({"joint"}), **config: Any) -> Any:
    sweep = SimpleNamespace(
        probe=SimpleNamespace(takes=takes), processes=SimpleNamespace(is_first=True)
    )
    row = SimpleNamespace(component=SimpleNamespace(level="block"))
    return SimpleNamespace(
        sweep=sweep,
        config=LocalizeConfig(**config),
        rows=[row] if skill else [],
        analysis=SimpleNamespace(has_skill=skill),
    )


def asked(ranked: Any) -> set[str]:
    return {name for name in FINDINGS if FINDINGS[name].wanted(ranked)}


def test_what_the_recipe_asks_for():
    assert asked(ranked()) == {"timesteps"}
    joint = JointConfig(curves=True, pairs=2, sufficient=0.5, neighbours=1)
    circuits = {"curves", "interactions", "sufficient", "neighbours"}
    assert asked(ranked(joint=joint)) == {"timesteps", *circuits}
    assert asked(ranked(tokens=["relation"])) == {"timesteps", "tokens"}
    assert asked(ranked(tokens=["relation"], mode="patch")) == {"timesteps", "tracing"}
    assert asked(ranked(strips=2, information="depth")) == {"timesteps", "strips", "depth"}


@pytest.fixture
def added(monkeypatch):
    monkeypatch.setattr(FINDINGS, "_things", {})
    monkeypatch.setattr("ablate2tune.registry._import_modules", lambda package: None)

    def add(name: str, **kind: Any) -> None:
        found = Finding(name, {}, lambda data, path: None)
        FINDINGS.add(name, Kind(lambda ranked: True, lambda ranked: found, **kind))

    return add


def test_one_from_outside_runs_where_the_probe_serves_it(added):
    added("outside")
    added("of the conditioning", takes="information", of_skill=False)
    assert [found.name for found in explore(ranked())] == ["outside"]
    both = frozenset({"joint", "information"})
    assert [f.name for f in explore(ranked(takes=both))] == ["outside", "of the conditioning"]
    assert [f.name for f in explore(ranked(takes=both, skill=False))] == ["of the conditioning"]
