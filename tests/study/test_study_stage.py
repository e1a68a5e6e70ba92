"""What every study does, on cells that take no time: statuses, failures, processes, the report."""

import os
from pathlib import Path

import example_experiment  # noqa: F401  registers `formula`
import pytest

from ablate2tune.cli import main
from ablate2tune.disk.folder_lock import lock
from ablate2tune.files import read_json
from ablate2tune.recipe import load_recipe
from ablate2tune.study import running
from ablate2tune.study.cells import plan
from ablate2tune.study.experiment import EXPERIMENTS, Studied
from ablate2tune.study.launching import LAUNCHERS, Place, alone
from ablate2tune.study.running import work_through

RECIPE = """
name: job
model: {path: none}
train: {rank: 4, steps: 60, warmup: 0}
study:
  experiment: formula
  arms: {}
  seeds: [1, 2, 3]
  axes: {train.rank: [2, 8, 13], train.learning_rate: [2.0]}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    return path


def run(recipe: Path, *overrides: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["study", str(recipe), f"runs={recipe.parent}/runs", *overrides])
    return int(ended.value.code or 0)


def study_of(recipe: Path) -> dict:
    return read_json(recipe.parent / "runs" / "job" / "study" / "study.json")


def test_what_helps_and_what_ends_badly(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(recipe) == 0
    said = capsys.readouterr().out
    # 15 cells of 60 steps of half a second, and what is beside them.
    assert "price: 12 of 15 cells, about 7.8 min, by a few steps that were run for it" in said
    study = study_of(recipe)
    found = {entry["setting"]: entry for entry in study["settings"]}
    assert found["baseline"]["loss"]["value"] == pytest.approx(0.25 + 0.02)
    assert (found["train.rank=8"]["label"], found["train.rank=2"]["label"]) == ("helps", "hurts")
    assert found["train.rank=8"]["difference"]["value"] == pytest.approx(-0.125)
    assert found["train.rank=13"]["statuses"] == {"impossible": 3}
    assert found["train.learning_rate=2.0"]["statuses"] == {"diverged": 3}
    assert "train.rank=13, seed 1: impossible, 13 divides nothing" in said
    assert "diverged, the loss is nan at step 60" in said
    assert "helps: train.rank=8\nhurts: train.rank=2\n" in said
    assert study["next"] == ["train.rank above 8: its best value lies at the edge of those tried"]
    assert max(len(line) for line in said.splitlines() if "train.rank=8  " in line) <= 80


def test_a_single_seed_is_marked(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(recipe, "study.seeds=[5]") == 0
    said = capsys.readouterr().out
    assert "1 seed" in said and "next: study.seeds=[5, 6, 7]" in said
    assert study_of(recipe)["settings"][1]["label"] == "single seed"


def test_failed_cells_leave_the_others_and_are_tried_again(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(recipe, "study.seeds=[1]") == 0
    full = recipe.parent / "runs" / "job" / "study" / "no disk"
    full.write_text("")
    assert run(recipe, "study.seeds=[1, 2]") == 2
    error = capsys.readouterr().err
    assert "3 of 10 cells failed, first baseline, seed 2: the disk is full" in error
    assert error.count("\n") == 1
    statuses = [row["status"] for row in study_of(recipe)["cells"] if row["seed"] == 1]
    assert statuses == ["done", "done", "done", "impossible", "diverged"]
    full.unlink()
    assert run(recipe, "study.seeds=[1, 2]") == 0
    assert "price: 3 of 10 cells" in capsys.readouterr().out
    assert {row["status"] for row in study_of(recipe)["cells"]} == {
        "done",
        "impossible",
        "diverged",
    }


def test_a_process_waits_for_what_another_works_at(
    recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_recipe(recipe, ["study.axes={train.rank: [2, 8]}"])
    studied = Studied(settings, recipe.parent / "study")
    experiment = EXPERIMENTS["formula"]
    runs = [experiment.settle(studied, cell) for cell in plan(settings)]
    made, waits = [], []

    def work(index: int) -> None:
        outcomes = work_through(runs, Place(index, 2), lambda run, _: made.append(runs.index(run)))
        assert [outcome.status for outcome in outcomes] == ["done"] * 9

    def release(seconds: float) -> None:
        waits.append(seconds)
        held.__exit__(None, None, None)

    held = lock(runs[3].folder)
    held.__enter__()
    monkeypatch.setattr(running, "sleep", release)
    work(1)
    assert made == [1, 5, 7, 0, 2, 4, 6, 8, 3] and len(waits) == 1
    work(0)
    assert len(made) == 9


def test_a_process_of_a_launcher_works_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"RANK": "2", "WORLD_SIZE": "3", "LOCAL_RANK": "0", "MASTER_ADDR": "here"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    with alone() as place:
        assert place == Place(2, 3)
        assert not set(LAUNCHERS) & set(os.environ)
    assert {name: os.environ[name] for name in values} == values


def test_no_arms_where_arms_are_needed(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(recipe, "study.experiment=tuning") == 2
    assert "study.arms: there are no arms; name one at least" in capsys.readouterr().err
    assert run(recipe, "study.experiment=tunning") == 2
    assert "no experiment 'tunning'; did you mean 'tuning'" in capsys.readouterr().err
