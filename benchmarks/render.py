"""How fast scenes are rendered, beside Cycles alone and beside rendering each picture afresh.

    python benchmarks/render.py --images 24 --size 256

Figures from one run on one machine, at the same size and samples: the whole of `render-data`
(sampling, verification, rendering, writing), Cycles' own time for the same pictures, and the common
way: for each picture the scene is built anew and a second pass renders the masks, in one process
for all pictures, or in one for each, as scripts for `blender --background` do. Then one worker
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

from ablate2tune.scenes.rendering.blender import find_blender, worker_script
from ablate2tune.scenes.rendering.render import render_dataset
from ablate2tune.scenes.scenes_config import ScenesConfig

COMMON_WAY = Path(__file__).with_name("render_common_way.py")


def rendered(config: ScenesConfig, folder: Path) -> float:
    """Seconds that a data set takes, workers' start included."""
    began = time.perf_counter()
    render_dataset(config, 1, folder)
    return time.perf_counter() - began


def replayed(config: ScenesConfig, sidecars: list[Path], afresh: bool) -> float:
    """Seconds for the pictures of sidecars by Cycles alone, or with everything built afresh."""
    command = find_blender(config.blender)
    command[-1] = str(COMMON_WAY)
    with tempfile.TemporaryDirectory() as scratch:
        note, answer = Path(scratch) / "job.json", Path(scratch) / "seconds.json"
        job = {
            "scripts": str(worker_script().parent),
            "sidecars": [str(path) for path in sidecars],
            "afresh": afresh,
            "answer": str(answer),
        }
        note.write_text(json.dumps(job))
        environment = {**os.environ, "A2T_BENCHMARK_JOB": str(note)}
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
        return json.loads(answer.read_text())


def one_by_one(config: ScenesConfig, sidecars: list[Path]) -> float:
    """Seconds for the pictures of sidecars, a Blender process for each."""
    began = time.perf_counter()
    for sidecar in sidecars:
        replayed(config, [sidecar], afresh=True)
    return time.perf_counter() - began


def main() -> None:
    """Print the figures and the gain of a second worker."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--processes", type=int, default=8, help="pictures timed one by one")
    parser.add_argument("--blender")
    options = parser.parse_args()
    config = ScenesConfig(images=options.images, size=options.size, samples=options.samples,
                          workers=1, blender=options.blender, timeout=600)  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        one = Path(scratch) / "one"
        whole = rendered(config, one)
        sidecars = sorted((one / "sidecars").iterdir())
        cycles, common = (replayed(config, sidecars, afresh) for afresh in (False, True))
        some = sidecars[: options.processes]
        processes = one_by_one(config, some) * len(sidecars) / len(some)
        two = rendered(config.model_copy(update={"workers": 2}), Path(scratch) / "two")
    n = options.images
    print(f"{platform.processor() or platform.machine()}, {n} pictures of {options.size} px, "
          f"{options.samples} samples, one worker; seconds per picture")  # fmt: skip
    print(f"render-data, start included      {whole / n:8.3f}")
    rows = [
        ("Cycles alone", cycles, f"render-data takes {whole / cycles:.2f} times as long"),
        ("common way, one process", common, f"render-data x {common / whole:.2f} as fast"),
        ("common way, one process each", processes, f"render-data x {processes / whole:.2f}"),
        ("render-data, two workers", two, f"x {whole / two:.2f} as fast as one"),
    ]
    for name, seconds, remark in rows:
        print(f"{name:<32} {seconds / n:8.3f}   {remark}")


main()
