"""benchmarks/repair.py end to end on a tiny model: found again, nothing made twice."""

import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ablate2tune.files import read_json

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "repair.py"


def command(recipe: Path, name: str) -> list[str]:
    folder = recipe.parent
    return [
        sys.executable, str(SCRIPT), str(recipe), "study.seeds=[1]", "--skill-steps", "2",
        "--blocks", "1", "--several", "2", "--damage-steps", "2", "--budgets", "1", "--draws", "1",
        "--out", str(folder / name), "--results", str(folder / f"{name}.json"),
    ]  # fmt: skip


def run(recipe: Path, name: str) -> str:
    told = command(recipe, name)
    return subprocess.run(told, capture_output=True, text=True, timeout=900, check=True).stdout


@pytest.mark.slow
def test_damage_choose_repair_and_tell(study_recipe: Path) -> None:
    folder = study_recipe.parent
    told = run(study_recipe, "repair")
    results = read_json(folder / "repair.json")
    names = [case["case"] for case in results["cases"]]
    assert names == ["transformer_blocks.0", "2-blocks", "all-blocks"]
    assert [len(case["blocks"]) for case in results["cases"]] == [1, 2, 4]
    for case in results["cases"]:
        assert set(case["recovered"]) == {
            "guided, 1 modules", "random, 1 modules", "blocks, 1 modules", "all",
        }  # fmt: skip
        assert len(case["first"]) == 1
    assert results["cases"][2]["inside"] == {"1": 1.0}
    assert "chosen first in" in told

    made = {p: p.stat().st_mtime_ns for p in folder.rglob("*.safetensors") if p.is_file()}
    text = (folder / "repair.json").read_bytes()
    run(study_recipe, "repair")
    assert (folder / "repair.json").read_bytes() == text
    assert {path: path.stat().st_mtime_ns for path in made} == made

    other = command(study_recipe, "repair")
    other[other.index("--damage-steps") + 1] = "3"
    refused = subprocess.run(other, capture_output=True, text=True, timeout=900)
    assert refused.returncode != 0
    assert "made of another recipe; name another folder with --out" in refused.stderr
    assert {path: path.stat().st_mtime_ns for path in made} == made


@pytest.mark.slow
def test_kills_change_nothing(study_recipe: Path) -> None:
    folder = study_recipe.parent
    run(study_recipe, "whole")
    kills = 0
    for patience in seconds():
        process = subprocess.Popen(command(study_recipe, "killed"), stdout=subprocess.DEVNULL)
        try:
            assert process.wait(patience) == 0
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
    assert kills >= 3
    whole, killed = (read_json(folder / f"{name}.json") for name in ("whole", "killed"))
    assert killed == whole


def seconds() -> Iterator[float]:
    """After which a process is killed: growing, so that the last one ends."""
    return (7 * 1.25**number for number in itertools.count())
