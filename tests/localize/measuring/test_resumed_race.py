"""A race that was killed after any row goes on to the rows and the ranking of one that was not."""

import json
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from test_localize import CONFIG, SEED, favour  # type: ignore

from ablate2tune import files
from ablate2tune.components import discover
from ablate2tune.localize.localize_config import LocalizeConfig
from ablate2tune.localize.localizing import localize
from ablate2tune.localize.measuring.condition import BASELINE, Condition
from ablate2tune.localize.measuring.processes import Processes
from ablate2tune.localize.measuring.purse import Purse
from ablate2tune.localize.measuring.racing import MIN_GROUPS
from ablate2tune.localize.measuring.sweep import Sweep
from ablate2tune.localize.probes.figure import Figure
from ablate2tune.localize.probes.probe import Needs, Probe
from ablate2tune.seeding import numpy_generator

GROUPS, NOISE = 32, 1.2


class MadeUpProbe(Probe):
    """Figures drawn by (condition, example): true impacts 0, 0.1, 0.2, ... under much noise."""

    name, unit, shares = "made-up", "draws", True
    figures = tuple(
        Figure(role, role, role=role, ranks=role == "target")
        for role in ("target", "control", "quality")
    )
    ids = groups = tuple(f"{i:02d}" for i in range(GROUPS))  # type: ignore[assignment]
    batch = 5  # type: ignore[assignment]
    spent = 0  # type: ignore[assignment]
    order: ClassVar[list[str]]
    races = True

    @classmethod
    def needs(cls, config, judged):
        return Needs(GROUPS, "localize.groups")

    def identity(self):
        return {"schema": "made-up/1"}

    def cost(self, condition, examples):
        return examples

    def prepare(self, conditions, write):
        """Nothing is calibrated."""

    def measure(self, conditions, chunk):
        return {
            condition: {
                name: np.array([[self.value(name, condition, index)] for index in chunk])
                for name in ("target", "control", "quality")
            }
            for condition in conditions
        }

    def value(self, figure: str, condition: Condition, index: int) -> float:
        noise = numpy_generator(3, f"{figure} {condition}", index).normal(0, NOISE)
        if figure == "quality":
            return -9.0 + 0.01 * noise
        lost = 0.1 * self.order.index(condition.addresses[0]) if condition.addresses else 0.0
        return 4.0 - lost + (noise if condition.addresses else 0.1 * noise)


@pytest.fixture
def run(tiny_flux, tmp_path):
    parts = [part for part in discover(tiny_flux.model) if part.level == "sublayer"]
    measured = [(part, Condition((part.address,), "zero")) for part in parts]
    MadeUpProbe.order = [part.address for part in parts]

    def run(name: str, rows: list[str]):
        folder = tmp_path / name
        folder.mkdir()
        if rows:
            files.write_json(folder / "identity.json", {"schema": "made-up/1"})
            (folder / "results.jsonl").write_text("".join(rows))
        config = LocalizeConfig(bootstrap=60)
        probe = MadeUpProbe(SimpleNamespace(studied=tiny_flux, seed=1))  # type: ignore[arg-type]
        sweep = Sweep(probe, config, folder, Processes(tiny_flux))
        analysis = sweep.baseline()
        kept, _ = sweep.run(measured, Purse(26.0 * len(measured), len(measured)), wanted=3)
        left = (folder / "results.jsonl").read_text().splitlines(keepends=True)
        known = {
            c: sorted(np.flatnonzero(sweep.results.measured(c))) for c in sweep.results.conditions
        }
        return [row.as_dict() for row in analysis.rows(kept)], known, left

    return run


def test_a_race_killed_after_any_row_ends_as_one_that_was_not(run):
    ranking, known, rows = run("whole", [])
    counts = {len(places) for c, places in known.items() if c != BASELINE}
    assert len(counts) > 1, "a race that measures all alike decides nothing"
    for kept in range(1, len(rows), 7):
        again, measured, _ = run(f"killed after {kept}", rows[:kept])
        assert measured == known, f"killed after {kept} rows"
        assert json.dumps(again) == json.dumps(ranking)


def test_what_minutes_pay_for_stays_as_it_was_first_measured(tiny_flux, make_contrasts, tmp_path):
    """Later runs are a hundred times slower by their rows, and decide as the first."""
    records = favour(tiny_flux, make_contrasts(24))
    update = {"groups": 24, "mode": "zero", "bootstrap": 100, "minutes": 5, "noise_floor": False}
    config = CONFIG.model_copy(update=update)
    whole = localize(tiny_flux, records, config, SEED, tmp_path / "whole")
    assert any(line.startswith("5 minutes pay for") for line in whole.notes)
    pace = files.read_json(tmp_path / "whole" / "pace.json")
    rows = [json.loads(line) for line in (tmp_path / "whole" / "results.jsonl").open()]
    base = [row for row in rows if not row["condition"]]
    # 3 captions at 2 noise levels through 4 blocks, in the median time of a picture.
    assert pace["per_second"] == pytest.approx(24 / np.median([row["seconds"] for row in base]))
    for name, kept in (("kept", pace), ("slow", pace | {"per_second": pace["per_second"] / 1e9})):
        folder = tmp_path / name
        folder.mkdir()
        files.write_json(folder / "pace.json", kept)
        files.write_json(
            folder / "identity.json", files.read_json(tmp_path / "whole" / "identity.json")
        )
        slower = [row | {"seconds": 100 * row["seconds"]} for row in base]
        files.write_jsonl(folder / "results.jsonl", slower)
        again = localize(tiny_flux, records, config, SEED, folder)
        assert (again.data == whole.data) == (name == "kept")
    first = {row["target"]["n"] for row in again.data["components"]}
    assert first == {2 * MIN_GROUPS}  # a billionth of the time pays for the first share alone


def test_on_a_real_model(tiny_flux, make_contrasts, tmp_path):
    records = favour(tiny_flux, make_contrasts(24))
    update = {"groups": 24, "mode": "zero", "bootstrap": 100, "budget": 0.8, "noise_floor": False}
    config = CONFIG.model_copy(update=update)
    whole = localize(tiny_flux, records, config, SEED, tmp_path / "whole")
    identity = (tmp_path / "whole" / "identity.json").read_bytes()
    rows = (tmp_path / "whole" / "results.jsonl").read_text().splitlines(keepends=True)
    counts = {row["target"]["n"] for row in whole.data["components"]}
    assert len(counts) > 1, "a race that measures all alike decides nothing"
    for kept in (len(rows) // 3, len(rows) - 5):
        folder = tmp_path / f"killed after {kept}"
        folder.mkdir()
        (folder / "identity.json").write_bytes(identity)
        (folder / "results.jsonl").write_text("".join(rows[:kept]))
        assert localize(tiny_flux, records, config, SEED, folder).data == whole.data
