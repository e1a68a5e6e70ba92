"""The main job at a small size: killed in every stage and run again, it gives the same results."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SMALL = [
    "name=job",
    "scenes.images=64",
    "scenes.test_images=24",
    "localize.groups=10",
    "localize.calibration_groups=8",
    "localize.batch_size=10",
    "train.steps=15",
    "train.checkpoint_every=5",
    "train.validation_images=8",
    "train.batch_size=8",
    "train.sample_every=15",
    "compare.prompts=24",
    "compare.plain_prompts=6",
    "compare.steps=4",
    "compare.batch_size=6",
    "compare.calibration_images=24",
    "compare.wandb=off",
]


def job(folder: Path) -> list[str]:
    recipe = str(ROOT / "recipes/testbed.yaml")
    places = [f"data={folder}/data", f"runs={folder}/runs"]
    return [sys.executable, "-m", "ablate2tune", "run", recipe, *SMALL, *places]


def kill_when(folder: Path, pattern: str, count: int) -> None:
    """Start the job and SIGKILL it once that many files of a stage are there."""
    process = subprocess.Popen(
        job(folder), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and len(list(folder.glob(pattern))) < count:
        time.sleep(0.02)
    assert process.poll() is None, f"the job ended before it could be killed at {pattern}"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def finish(folder: Path) -> None:
    done = subprocess.run(job(folder), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "relation right" in done.stdout


def pictures(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.png")}


@pytest.mark.slow
def test_killed_in_every_stage_it_ends_like_the_uninterrupted_job(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    finish(whole)
    kill_when(killed, "data/job/images/*.png", 10)
    kill_when(killed, "runs/job/localize/results.jsonl", 1)
    kill_when(killed, "runs/job/train/checkpoint/*", 1)
    kill_when(killed, "runs/job/compare/images/before/*.png", 6)
    finish(killed)
    for name in (
        "data/job/metadata.jsonl",
        "runs/job/localize/ranking.csv",
        "runs/job/train/targets.json",
        "runs/job/train/adapter/pytorch_lora_weights.safetensors",
        "runs/job/compare/verdicts.jsonl",
        "runs/job/compare/scores.json",
    ):
        assert (killed / name).read_bytes() == (whole / name).read_bytes(), name
    rankings = [
        json.loads((folder / "runs/job/localize/ranking.json").read_text())
        for folder in (whole, killed)
    ]
    assert rankings[0]["components"] == rankings[1]["components"]
    for part in ("data/job", "runs/job/compare/images"):
        made = pictures(whole / part)
        assert made and pictures(killed / part) == made
