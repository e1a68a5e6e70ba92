"""Probe `generate` under `accelerate launch`: conditions dealt to processes, one table."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_localize_processes import LAUNCH, ROOT, rows_of  # type: ignore[import-not-found]

from ablate2tune.localize.localize_config import LocalizeConfig
from ablate2tune.localize.probes.generate_config import GenerateConfig

SCRIPT = Path(__file__).with_name("run_generate.py")

pytestmark = pytest.mark.slow


def test_two_processes_give_what_one_gives(
    tiny_flux_config, tiny_clip_folder, make_pairs, tmp_path: Path
):
    generate = GenerateConfig(
        pairs=make_pairs(5), steps=2, batch_size=3, fid="off", clip=str(tiny_clip_folder)
    )
    config = LocalizeConfig(
        probe="generate", mode="zero", top_blocks=1, bootstrap=50, generate=generate
    )
    one, two = tmp_path / "one", tmp_path / "two"
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    for launcher, folder, count in (([], one, 1), (LAUNCH, two, 2)):
        done = subprocess.run(
            [
                *(sys.executable, *launcher, str(SCRIPT)),
                *(tiny_flux_config.path, str(folder), config.model_dump_json()),
            ],
            capture_output=True,
            text=True,
            timeout=600,
            env={**os.environ, "PYTHONPATH": path},
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout.count(f"one of {count}") == count
    assert sorted(p.name for p in two.iterdir()) == sorted(p.name for p in one.iterdir())
    assert rows_of(two, "results.jsonl") == rows_of(one, "results.jsonl")
    for name in ("ranking.json", "ranking.csv"):
        assert (two / name).read_bytes() == (one / name).read_bytes()
    pictures = sorted(path.relative_to(one) for path in one.glob("images/*/*.png"))
    assert pictures == sorted(path.relative_to(two) for path in two.glob("images/*/*.png"))
