"""FLUX.1's real size on one CUDA card: its ceiling, a sweep, steps of training, pictures.

    python benchmarks/gpu.py --seconds 170                   all items on one card
    python benchmarks/gpu.py --only train compile            some of them (see below)
    python benchmarks/gpu.py --device cpu --tiny --out /tmp/x.json      the same code, in seconds

Weights are random and are made on the card from FLUX.1-dev's configuration, the text encoders have
one layer of the right width: no file is read, and nothing is said of what a model knows. What is
timed is the package's own code (the sweep and its prefix reuse, the lessons of `train`, injection,
checkpointing, the memory estimate, sampling, merging). The record is written after every item, with
what failed; a record of another card, model or commit is replaced as a whole.
"""

import argparse
import importlib.metadata
import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from gpu_bench import REAL, TINY, Bench, Drawn, Found, captions, guarded
from gpu_steps import PLACEMENTS, compiled, placed, script, train
from torch.utils.flop_counter import FlopCounterMode

from ablate2tune import files
from ablate2tune.ablation import MODES
from ablate2tune.components import discover
from ablate2tune.contrasts.contrast import Contrast
from ablate2tune.localize.localize_config import LocalizeConfig
from ablate2tune.localize.margins.caption_losses import Levels
from ablate2tune.localize.margins.encoded_examples import Split
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.localize.measuring.processes import Processes
from ablate2tune.localize.measuring.purse import purse
from ablate2tune.localize.measuring.racing import BUDGET
from ablate2tune.localize.measuring.sweep import Sweep
from ablate2tune.localize.probes.probe import PROBES, Setting
from ablate2tune.models.adapter_files import switched_off

PAIRS, GOAL_PAIRS, GOAL_MINUTES = 8, 64, 10
FEW, EVERY = 2, 3
"""Pairs without prefix reuse, where a block evaluation of any block costs the same: for each third
block."""
ROWS = 16
"""Of a forward pass in the sweep."""
PICTURE_STEPS = 20


def card(bench: Bench) -> Found:
    """The rate of matrix products at the model's shapes, and of copies."""
    width, rows = 3072, 1536
    shapes = {
        "8192^3": (8192, 8192, 8192),
        **{f"{n} tokens, {width} to {4 * width}": (n, width, 4 * width) for n in (rows, 4608)},
        f"{rows} tokens, {width} to {width}": (rows, width, width),
        f"{rows} tokens, {5 * width} to {width}": (rows, 5 * width, width),
        f"16 x {rows} tokens, {width} to {4 * width}": (16 * rows, width, 4 * width),
    }
    if bench.options.tiny:
        shapes = {"256^3": (256, 256, 256)}
    found: Found = {}
    for name, (m, k, n) in shapes.items():
        a, b = (torch.randn(s, device=bench.device, dtype=torch.bfloat16) for s in ((m, k), (k, n)))
        times = 40

        def run(a=a, b=b, times=times) -> None:
            for _ in range(times):
                a @ b

        run()
        rate = 2 * m * k * n * times / bench.seconds(run) / 1e12
        bench.peak = bench.peak or rate
        found[name] = round(rate, 1)
    size = 2**20 if bench.options.tiny else 2**32
    source = torch.empty(size, device=bench.device, dtype=torch.uint8)
    target = torch.empty_like(source)
    target.copy_(source)
    seconds = bench.seconds(lambda: [target.copy_(source) for _ in range(10)])
    return {"matmul_tflop_per_s": found, "copy_tb_per_s": round(20 * size / seconds / 1e12, 2)}


def localize(bench: Bench) -> Found:
    """Blocks by skipping, with prefix reuse and without; scaled to the goal's pairs."""
    bench.denoiser.config = bench.config(0)
    off = sweep(bench, FEW, False)
    each, blocks = off["seconds_per_block_evaluation"], off["blocks"]
    one = off["rows"] / FEW * (blocks * (blocks - 1) / 2 + 2 * blocks)
    pairs = int(min(PAIRS, max(FEW, bench.options.sweep_seconds / (one * each))))
    bench.say(f"{1000 * each:.2f} ms a block evaluation; {pairs} pairs with prefix reuse")
    on = sweep(bench, pairs, True)
    whole_on = GOAL_PAIRS / pairs * on["block_evaluations"]
    whole_off = GOAL_PAIRS * off["rows"] / FEW * blocks**2
    each_on = on["seconds_per_block_evaluation"]
    minutes = {
        "every block on every pair, prefix reuse": whole_on * each_on / 60,
        "the same without it": whole_off * each / 60,
        f"the default budget, {BUDGET} of it": BUDGET * whole_off * each_on / 60,
    }
    return {
        "reuse": on,
        "no reuse": off,
        "evaluations saved by reuse": round(whole_off / whole_on, 2),
        f"minutes of {GOAL_PAIRS} pairs, scaled": {k: round(v, 2) for k, v in minutes.items()},
        "goal_minutes": GOAL_MINUTES,
    }


def sweep(bench: Bench, pairs: int, reuse: bool) -> Found:
    """The package's sweep over all blocks: each alone, on all pairs."""
    denoiser, blocks = bench.denoiser, discover(bench.denoiser.model).blocks
    config = LocalizeConfig(
        groups=pairs,
        mode="zero",
        racing=False,
        screening="off",
        batch_size=ROWS,
        prefix_reuse=reuse,
    )
    pixels = denoiser.config.height
    contrasts = [
        Contrast(f"c{i}", f"g{i}", Drawn(i, pixels), {"true": true, "target": foil})
        for i, (true, foil) in enumerate(map(captions, range(pairs)))
    ]
    levels = Levels(config.sigmas, config.noises, 0, config.batch_size, texts=2)
    folder = bench.folder / f"sweep-{pairs}-{reuse}"
    bench.fresh()
    setting = Setting(denoiser, Split(contrasts, []), config.section(), levels, "random", folder)
    found: Sweep[Any] = Sweep(PROBES[config.probe](setting), config, folder, Processes(denoiser))
    probe: Any = found.probe
    few = probe.few_rows()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        probe.predicted(few)
    flops = counter.get_total_flops() / len(few) / len(blocks)
    found.baseline()  # what is loaded on first use is loaded
    before = probe.spent
    mode, some = MODES[config.mode].block_mode, blocks if reuse else blocks[::EVERY]
    conditions = [(block, Condition((block.address,), mode)) for block in some]
    money, _ = purse(config, len(some), found.baseline_cost, False, found.pace)
    seconds = bench.seconds(lambda: found.run(conditions, money, 0))
    evaluations = probe.spent - before
    baseline_rows = pairs * levels.rows_per_example
    return {
        "pairs": pairs,
        "rows": baseline_rows,
        "blocks": len(blocks),
        "ablated": len(some),
        "seconds": round(seconds, 2),
        "block_evaluations": evaluations,
        "seconds_per_block_evaluation": seconds / evaluations,
        "tflop_per_block_evaluation": flops / 1e12,
        **bench.of_peak(flops * evaluations, seconds),
        **probe.cost_facts(),
        **bench.memory(),
    }


def generate(bench: Bench) -> Found:
    """Pictures a minute at the first size: adapter on, off, merged."""
    bench.denoiser.config, found = bench.config(0), dict[str, Any]()
    if not hasattr(bench.denoiser.model, "peft_config"):
        placed(bench, "all")
    bench.fresh()

    def timed(state: str) -> None:
        for batch in (1, 4):
            prompts, seeds = [captions(i)[0] for i in range(batch)], list(range(batch))
            seconds = bench.seconds(
                lambda p=prompts, s=seeds, b=batch: bench.denoiser.sample(
                    p, s, PICTURE_STEPS, batch_size=b
                )
            )
            rate = round(60 * batch / seconds, 1)
            found[f"adapter {state}, batch {batch}"] = {"per_minute": rate}
            bench.say(f"adapter {state}, batch {batch}: {rate} pictures a minute")

    bench.denoiser.sample([captions(0)[0]], [0], 2)
    timed("on")
    with switched_off(bench.denoiser.model):
        timed("off")
    bench.say(f"merged in {bench.seconds(bench.denoiser.merge_adapter):.1f} s")
    timed("merged")
    return {**found, **bench.memory()}


ITEMS: dict[str, tuple[Callable[[Bench], Found], float]] = {
    "card": (card, 5),
    "localize": (localize, 40),
    "train": (train, 30),
    "script": (script, 12),
    "generate": (generate, 15),
    "compile": (compiled, 20),
}
"""What is measured, and how many seconds must be left for it."""


def main(given: Sequence[str] | None = None) -> None:
    """Measure what is asked for, and keep the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a few narrow blocks")
    parser.add_argument("--only", nargs="+", choices=ITEMS, default=list(ITEMS))
    parser.add_argument("--skip", nargs="+", choices=ITEMS, default=[])
    parser.add_argument("--placements", nargs="+", choices=PLACEMENTS, default=list(PLACEMENTS))
    parser.add_argument("--seconds", type=float, default=170, help="for all of it")
    parser.add_argument("--sweep-seconds", type=float, default=32, help="of the longer sweep")
    parser.add_argument("--reserve", type=float, default=32, help="kept for what follows training")
    parser.add_argument("--commit", default="", help="where there is no git")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/gpu.json"))
    options = parser.parse_args(given)
    packages = ("torch", "diffusers", "transformers", "peft")
    record: Found = {
        "card": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "commit": options.commit or head(),
        "model": "tiny" if options.tiny else "FLUX.1-dev's configuration, random bfloat16 weights",
        "items": {},
    }
    same = files.read_json(options.out) if options.out.exists() else {}
    if all(same.get(key) == record[key] for key in ("card", "model", "commit")):
        record["items"] = same["items"]

    def stop() -> None:
        record["stopped"] = f"after {options.seconds:g} s and 15 more"
        files.write_json(options.out, record)
        os._exit(3)  # a compilation or a kernel may not be interrupted otherwise

    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options, TINY if options.tiny else REAL, Path(folder))
        bench.sync()
        watch = threading.Timer(max(5, bench.left + 15), stop)
        watch.daemon = True
        watch.start()
        bench.say(f"the model is made: {bench.memory()}")
        for name, (item, needed) in ITEMS.items():
            if name not in options.only or name in options.skip:
                continue
            if bench.left < needed and not options.tiny:
                found: Found = {"skipped": f"{bench.left:.0f} s left, {needed:g} needed"}
            else:
                record["items"][name] = {"failed": "the time was over in the middle of it"}
                clock = time.perf_counter()
                found = guarded(lambda item=item: item(bench))
                found["item_seconds"] = round(time.perf_counter() - clock, 1)
            record["items"][name] = found
            files.write_json(options.out, record)
            bench.say(f"{name}: {json.dumps(found)}")
        watch.cancel()


def head() -> str:
    """The commit."""
    try:
        command = ["git", "rev-parse", "--short", "HEAD"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


if __name__ == "__main__":
    main()
