"""benchmarks/repair.py end to end on a tiny model: found again, nothing made twice."""

import subprocess
import sys
from pathlib import Path

import pytest

from ablate2tune.files import read_json

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "repair.py"


@pytest.mark.slow
def test_damage_choose_repair_and_tell(study_recipe: Path) -> None:
    folder = study_recipe.parent
    command = [
        sys.executable, str(SCRIPT), str(study_recipe), "study.seeds=[1]", "--skill-steps", "2",
        "--blocks", "1", "--several", "2", "--damage-steps", "2", "--budgets", "1", "--draws", "1",
        "--out", str(folder / "repair"), "--results", str(folder / "repair.json"),
    ]  # fmt: skip
    first = subprocess.run(command, capture_output=True, text=True, timeout=900, check=True)
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
    assert "chosen first in" in first.stdout

    made = {p: p.stat().st_mtime_ns for p in folder.rglob("*.safetensors") if p.is_file()}
    text = (folder / "repair.json").read_bytes()
    subprocess.run(command, capture_output=True, text=True, timeout=900, check=True)
    assert (folder / "repair.json").read_bytes() == text
    assert {path: path.stat().st_mtime_ns for path in made} == made

    command[command.index("--damage-steps") + 1] = "3"
    refused = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert refused.returncode != 0
    assert "made of another recipe; name another folder with --out" in refused.stderr
    assert {path: path.stat().st_mtime_ns for path in made} == made
