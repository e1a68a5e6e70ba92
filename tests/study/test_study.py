"""Whole studies on a tiny model: found again, killed and resumed, what ends badly."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ablate2tune.cli import main
from ablate2tune.files import read_json

ROOT = Path(__file__).parents[2]
FOLDER = "runs/job/study"


def run(recipe: Path, *overrides: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["study", str(recipe), *overrides])
    return int(ended.value.code or 0)


def trained(folder: Path) -> dict[str, int]:
    """When each cell's adapter was written."""
    found = folder.glob("cells/*/train/adapter/*.safetensors")
    return {path.parts[-4]: path.stat().st_mtime_ns for path in found}


def test_cells_are_found_again_in_a_larger_study(
    study_recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(study_recipe) == 0
    said = capsys.readouterr().out
    assert "price: 6 of 6 cells and 1 runs that they share, about" in said
    folder = study_recipe.parent / FOLDER
    study, first = read_json(folder / "study.json"), trained(folder)
    assert [row["status"] for row in study["cells"]] == ["done"] * 6
    assert len(first) == 6
    drifted = study["settings"][0]
    assert drifted["prediction_drift"]["value"] > 0 and drifted["pixel_drift"]["value"] >= 0
    assert study["untouched"]["parameters"] == 0
    assert max(map(len, said.splitlines())) <= 160
    assert run(study_recipe) == 0
    assert "study: done before" in capsys.readouterr().out

    axes = ["study.axes={train.learning_rate: [0.02, 1.0e+30]}", "study.seeds=[1]"]
    assert run(study_recipe, *axes) == 0
    said = capsys.readouterr().out
    assert "price: 4 of 7 cells, about" in said and "by the 6 that are there" in said
    larger, second = read_json(folder / "study.json"), trained(folder)
    assert {key: second[key] for key in first} == first
    assert len(second) == 8
    changed = {row["status"]: row for row in larger["cells"] if row["axis"]}
    assert set(changed) == {"done", "diverged"}
    assert "at step" in changed["diverged"]["message"] and "margin" not in changed["diverged"]
    assert run(study_recipe, *axes, "study.confidence=0.9") == 0
    assert trained(folder) == second


@pytest.mark.slow
def test_killed_and_resumed_it_is_the_same(study_recipe: Path) -> None:
    arguments = ["-m", "ablate2tune", "study", str(study_recipe)]
    places = {name: study_recipe.parent / name for name in ("whole", "killed")}

    def start(name: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, *arguments, f"runs={places[name]}"]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)

    whole = start("whole")
    for pattern in ("job/study/shared/*/figures/*", "job/study/cells/*/train/checkpoint/*",
                    "job/study/cells/*/outcome.json"):  # fmt: skip
        process = start("killed")
        while process.poll() is None and not list(places["killed"].glob(pattern)):
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert start("killed").wait() == 0
    assert whole.wait() == 0
    found = [(place / "job" / "study" / "study.json").read_bytes() for place in places.values()]
    assert found[0] == found[1]


def test_an_unknown_axis_is_one_line_before_any_work(
    study_recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(study_recipe, "study.axes={train.rnk: [4]}") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "unknown key 'train.rnk'; did you mean 'rank'" in error
    assert not (study_recipe.parent / "runs").exists()


@pytest.mark.slow
def test_finalists_draw_pictures(study_recipe: Path) -> None:
    small = ["compare.prompts=6", "compare.plain_prompts=1", "compare.wandb=off"]
    assert run(study_recipe, "study.finalists=1", "study.seeds=[1]", *small) == 0
    folder = study_recipe.parent / FOLDER
    assert read_json(folder / "study.json")["finalists"] == {}  # there is no judge
    compared = folder / "finals" / "seed1" / "compare"
    assert sorted(path.name for path in (compared / "images").iterdir()) == [
        "random-2-modules", "untouched",
    ]  # fmt: skip
    assert (compared / "grid.png").is_file()
