"""How fast scenes are rendered, beside Cycles alone and beside rendering each picture afresh.

    python benchmarks/render.py --images 24 --size 256

Three figures from one run on one machine, at the same size and samples: the whole of `render-data`
(sampling, verification, rendering, writing), Cycles' own time for the same pictures, and the common
way: for each picture the scene is built anew and a second pass renders the masks. Then one worker
against two.
"""

import argparse
import json
import os
import platform
import subprocess
import tempfile
import time
from pathlib import Path

from ablate2tune.recipe import ScenesConfig
from ablate2tune.scenes.blender import find_blender, worker_script
from ablate2tune.scenes.render import render_dataset

COMMON_WAY = Path(__file__).with_name("render_common_way.py")


def rendered(config: ScenesConfig, folder: Path) -> float:
    """Seconds that a data set takes, workers' start included."""
    began = time.perf_counter()
    render_dataset(config, 1, folder)
    return time.perf_counter() - began


def replayed(config: ScenesConfig, folder: Path, afresh: bool) -> float:
    """Seconds for the pictures of a data set by Cycles alone, or with everything built afresh."""
    command = find_blender(config.blender)
    command[-1] = str(COMMON_WAY)
    job = {
        "scripts": str(worker_script().parent),
        "sidecars": [str(p) for p in sorted((folder / "sidecars").iterdir())],
        "afresh": afresh,
        "answer": str(folder / "seconds.json"),
    }
    (folder / "job.json").write_text(json.dumps(job))
    environment = {"A2T_BENCHMARK_JOB": str(folder / "job.json")}
    subprocess.run(command, check=True, env={**os.environ, **environment},
                   stdout=subprocess.DEVNULL)  # fmt: skip
    return json.loads((folder / "seconds.json").read_text())


def main() -> None:
    """Print the three figures and the gain of a second worker."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--blender")
    options = parser.parse_args()
    config = ScenesConfig(images=options.images, size=options.size, samples=options.samples,
                          workers=1, blender=options.blender, timeout=600)  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        one = Path(scratch) / "one"
        whole = rendered(config, one)
        cycles, common = (replayed(config, one, afresh) for afresh in (False, True))
        two = rendered(config.model_copy(update={"workers": 2}), Path(scratch) / "two")
    n = options.images
    print(f"{platform.processor() or platform.machine()}, {n} pictures of {options.size} px, "
          f"{options.samples} samples, one worker")  # fmt: skip
    print(f"render-data        {whole / n:8.3f} s per picture, start included")
    print(f"Cycles alone       {cycles / n:8.3f} s per picture; render-data x {whole / cycles:.2f}")
    faster = common / whole
    print(f"the common way     {common / n:8.3f} s per picture; render-data x {faster:.2f} as fast")
    print(f"two workers        {two / n:8.3f} s per picture; x {whole / two:.2f} as fast as one")


main()
