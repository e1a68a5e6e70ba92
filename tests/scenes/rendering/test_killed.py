"""A render whose workers and parent are killed again and again ends with the same data set."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from ablate2tune.scenes.dataset.records import load_images, read_dataset
from ablate2tune.scenes.rendering.render import render_dataset
from ablate2tune.scenes.scenes_config import ScenesConfig

SCRIPT = """
import pathlib, sys
from ablate2tune.scenes.scenes_config import ScenesConfig
from ablate2tune.scenes.rendering.render import render_dataset
config = ScenesConfig.model_validate_json(sys.argv[1])
render_dataset(config, 1, pathlib.Path(sys.argv[2]))
"""
CONFIG = ScenesConfig(
    images=16, size=32, samples=2, workers=1, objects=["ball", "cube"], colours=["red", "blue"],
    relations=["left of", "right of"], holdout=0.0,
)  # fmt: skip

pytestmark = [
    pytest.mark.usefixtures("blender"),
    pytest.mark.skipif(sys.platform != "linux", reason="workers end with a killed parent on Linux"),
]


def is_dead(process: psutil.Process) -> bool:
    """Whether it has ended, though nobody may have asked for its exit code."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class Run:
    """A render in a process of its own."""

    def __init__(self, config: ScenesConfig, folder: Path):
        command = [sys.executable, "-c", SCRIPT, config.model_dump_json(), str(folder)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def workers(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self.process.pid).children()
        except psutil.NoSuchProcess:
            return []

    def kill(self) -> None:
        """The parent alone; its workers must follow it."""
        workers = self.workers()
        self.process.kill()
        self.process.communicate()
        deadline = time.monotonic() + 10
        while not all(map(is_dead, workers)):
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def finish(self) -> None:
        _, errors = self.process.communicate(timeout=300)
        assert self.process.returncode == 0, errors


def rendered_with_kills(config: ScenesConfig, folder: Path, kills: int) -> tuple[int, int]:
    """Kill a worker or the parent at random points of the progress; how many of each fell."""
    rng = random.Random(3)
    points = sorted(rng.randrange(config.images) for _ in range(kills))
    fallen = {"worker": 0, "parent": 0}
    run = Run(config, folder)
    for number, point in enumerate(points):
        while len(list(folder.glob("sidecars/*.json"))) < point and not run.ended:
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 0.3))
        if run.ended:
            break
        if number % 2:
            run.kill()
            run = Run(config, folder)
            fallen["parent"] += 1
        else:
            deadline = time.monotonic() + 60
            while not (workers := run.workers()) and not run.ended:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            for worker in rng.sample(workers, min(1, len(workers))):
                os.kill(worker.pid, 9)
                fallen["worker"] += 1
    run.finish()
    return fallen["worker"], fallen["parent"]


def check_same(folder: Path, whole: Path) -> None:
    files = [{str(p.relative_to(f)) for p in f.rglob("*") if p.is_file()} for f in (folder, whole)]
    assert files[0] == files[1]
    assert len([name for name in files[0] if name.endswith(".png")]) % 3 == 0
    for name in files[0]:
        if name.startswith(("masks/", "depth/")) or name == "metadata.jsonl":
            assert (folder / name).read_bytes() == (whole / name).read_bytes(), name
    records = read_dataset(folder)
    assert len({record.scene_id for record in records}) == len(records)
    pictures, expected = (load_images(read_dataset(f)).astype(int) for f in (folder, whole))
    # The denoiser repeats itself to within 1/255.
    assert np.abs(pictures - expected).max() <= 1


def test_three_kills(tmp_path):
    workers, parents = rendered_with_kills(CONFIG, tmp_path / "killed", 3)
    assert workers >= 1 and parents >= 1
    render_dataset(CONFIG, 1, tmp_path / "whole")
    check_same(tmp_path / "killed", tmp_path / "whole")


@pytest.mark.slow
def test_thirty_kills(tmp_path):
    config = CONFIG.model_copy(update={"images": 160, "workers": 2})
    workers, parents = rendered_with_kills(config, tmp_path / "killed", 30)
    assert workers + parents >= 25
    render_dataset(config, 1, tmp_path / "whole")
    check_same(tmp_path / "killed", tmp_path / "whole")
