"""What a sweep costs: the generating loop, the exhaustive margin sweep, prefix reuse, the default.

    python benchmarks/localize.py recipes/testbed.yaml            the recipe's model and data
    python benchmarks/localize.py recipes/testbed.yaml --shape 19 38   a random FLUX of that depth
    python benchmarks/localize.py recipes/testbed.yaml --groups 14 --out /tmp/x.json   a small try

Every sweep ranks all blocks and all sub-layers of all blocks by impact, on the same images. The
generating loop (an image per prompt and condition, 28 steps, with the recipe's classifier-free
guidance; none for a random model) is timed on a few conditions and scaled to all; its block
evaluations are exact. A random model has no skill, so its captions are exchanged with their foils
wherever its margin is negative: it has one then, by construction. Each run appends a JSON line to
--out.
"""

import argparse
import dataclasses
import json
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from ablate2tune.ablation import ablated
from ablate2tune.contrasts.contrast import Contrast
from ablate2tune.contrasts.makers.rendered_scenes import scene_contrasts
from ablate2tune.localize.localize_config import LocalizeConfig
from ablate2tune.localize.localizing import localize
from ablate2tune.localize.margins.caption_losses import Levels, batch_loss, batches, measure
from ablate2tune.localize.margins.encoded_examples import encode
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.localize.measuring.engine import BASELINE, Engine
from ablate2tune.localize.measuring.replay import Blocks
from ablate2tune.models import FluxDenoiser, load_denoiser
from ablate2tune.recipe import Recipe, load_recipe
from ablate2tune.scenes.dataset.records import read_dataset
from ablate2tune.testbed.architecture import Sizes, build_pipeline
from ablate2tune.testbed.text import word_list

STEPS = 28
OFF = {"prefix_reuse": False, "batch_conditions": False, "racing": False, "screening": "off"}
SWEEPS: dict[str, dict[str, Any]] = {
    "exhaustive": OFF,
    "prefix reuse alone": OFF | {"prefix_reuse": True},
    "default": {},
}


def main() -> None:
    """Measure, print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("overrides", nargs="*", help="recipe keys, KEY=VALUE")
    parser.add_argument("--shape", nargs=2, type=int, metavar=("DOUBLE", "SINGLE"))
    parser.add_argument("--groups", type=int, help="contrast groups instead of the recipe's")
    parser.add_argument("--loop-conditions", type=int, default=2, help="conditions of the loop run")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/localize.json"))
    options = parser.parse_args()
    recipe = load_recipe(options.recipe, options.overrides)
    records = scene_contrasts(read_dataset(recipe.data_folder)).of("train")
    denoiser = _random_model(recipe, *options.shape) if options.shape else None
    denoiser = denoiser or load_denoiser(recipe.model)
    blocks = len(Blocks(denoiser.model))
    changes = {"top_blocks": blocks, "rank_by": "impact"} | (
        {"groups": options.groups} if options.groups else {}
    )
    config = recipe.localize.model_copy(update=changes)
    if options.shape:
        records = _favoured(denoiser, records, config, recipe.seed)

    sweeps = {name: _sweep(denoiser, records, config, recipe.seed, name) for name in SWEEPS}
    conditions = sweeps["exhaustive"]["conditions"]
    prompts = 2 * config.groups
    guidance = 1.0 if options.shape else recipe.compare.true_cfg_scale
    loop = _generating_loop(
        denoiser, records[:prompts], conditions, options.loop_conditions, guidance
    )
    record = {
        "machine": {"processor": platform.processor() or platform.machine(), **_machine()},
        "model": "random FLUX {} + {}".format(*options.shape) if options.shape else recipe.name,
        "blocks": blocks,
        "prompts": prompts,
        "sweeps": {"generating loop": loop, **{n: _without(s) for n, s in sweeps.items()}},
        "ratios": _ratios(loop, sweeps),
        "hooks installed but off": _idle_cost(denoiser, records, config, recipe.seed),
    }
    print(json.dumps(record, indent=2))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with open(options.out, "a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def _sweep(
    denoiser: FluxDenoiser,
    records: list[Contrast],
    config: LocalizeConfig,
    seed: int,
    name: str,
) -> dict[str, Any]:
    """One whole localize stage in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        ranking = localize(
            denoiser, records, config.model_copy(update=SWEEPS[name]), seed, Path(folder)
        )
        seconds = time.perf_counter() - began
        cost = json.loads((Path(folder) / "cost.json").read_text(encoding="utf-8"))
    if not ranking.has_skill:
        raise SystemExit(f"{name}: {ranking.messages()[1]}")
    return {
        "stage_seconds": round(seconds, 2),
        "sweep_seconds": cost["seconds"],
        "block_evaluations": cost["block_evaluations"],
        "conditions": cost["conditions"],
        "stability": ranking.data["trust"]["stability"],
        "impacts": {r["address"]: r["target"]["value"] for r in ranking.data["components"]},
    }


def _generating_loop(
    denoiser: FluxDenoiser,
    records: list[Contrast],
    conditions: int,
    timed: int,
    guidance: float,
) -> dict[str, Any]:
    """A picture per prompt and condition; `timed` conditions are run, the time of all is scaled."""
    counter = Blocks(denoiser.model)
    texts = [record.text for record in records]
    addresses = counter.addresses[:timed]
    began = time.perf_counter()
    with counter.running():
        for address in addresses:
            with ablated(denoiser.model, Condition((address,), "skip").ablations):
                denoiser.sample(texts, list(range(len(texts))), STEPS, guidance)
    seconds = time.perf_counter() - began
    scale = conditions / len(addresses)
    return {
        "true_cfg_scale": guidance,
        "timed_conditions": len(addresses),
        "timed_seconds": round(seconds, 2),
        "stage_seconds": round(seconds * scale, 2),
        "block_evaluations": round(counter.evaluations * scale),
        "conditions": conditions,
    }


def _ratios(loop: dict[str, Any], sweeps: dict[str, dict[str, Any]]) -> dict[str, Any]:
    exhaustive, prefix, default = (sweeps[name] for name in SWEEPS)
    shared = sorted(set(exhaustive["impacts"]) & set(default["impacts"]))
    figures = [[sweep["impacts"][a] for a in shared] for sweep in (exhaustive, default)]
    best = [
        set(sorted(shared, key=lambda address: -sweep["impacts"][address])[:8])
        for sweep in (exhaustive, default)
    ]
    evaluations = default["block_evaluations"]
    return {
        "loop / default, block evaluations": round(loop["block_evaluations"] / evaluations, 1),
        "exhaustive / default, block evaluations": round(
            exhaustive["block_evaluations"] / evaluations, 2
        ),
        **{
            f"exhaustive / {name}, {unit}": round(exhaustive[unit] / sweep[unit], 2)
            for name, sweep in (("prefix reuse alone", prefix), ("default", default))
            for unit in ("stage_seconds", "sweep_seconds")
        },
        "Spearman, default against exhaustive": round(float(stats.spearmanr(*figures)[0]), 3),
        "of the best 8 the same": len(best[0] & best[1]),
        "components": len(shared),
    }


def _idle_cost(
    denoiser: FluxDenoiser, records: list[Contrast], config: LocalizeConfig, seed: int
) -> dict[str, float]:
    """Seconds of a forward with the engine's counters on all blocks against one without."""
    levels = Levels(config.sigmas, 1, seed, config.batch_size)
    count = min(len(records), levels.examples_per_batch)
    examples = encode(denoiser, records[:count])
    batch = next(batches(examples, levels, range(count), denoiser.device))
    counter = Blocks(denoiser.model)
    plain, counted = [], []
    with torch.no_grad():
        for _ in range(9):
            plain.append(_seconds(lambda: batch_loss(denoiser, batch)))
            with counter.running():
                counted.append(_seconds(lambda: batch_loss(denoiser, batch)))
    ratio = float(np.median(counted) / np.median(plain))
    return {"plain_seconds": float(np.median(plain)), "ratio": round(ratio, 4)}


def _seconds(run: Any) -> float:
    began = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def _random_model(recipe: Recipe, double: int, single: int) -> FluxDenoiser:
    sizes = Sizes(
        double_blocks=double,
        single_blocks=single,
        heads=2,
        head_dim=16,
        text_tokens=32,
        vae_channels=(16, 32, 64),
        latent_channels=8,
    )
    with tempfile.TemporaryDirectory() as folder:
        build_pipeline(word_list(), sizes, seed=0).save_pretrained(folder)
        return load_denoiser(recipe.model.model_copy(update={"path": folder}))


def _favoured(
    denoiser: FluxDenoiser, records: list[Contrast], config: LocalizeConfig, seed: int
) -> list[Contrast]:
    """Exchange caption and foil wherever the model's margin is negative."""
    groups = sorted({record.cluster for record in records})
    groups = set(groups[: config.groups + config.calibration_groups])
    records = [record for record in records if record.cluster in groups]
    levels = Levels(config.sigmas, config.noises, seed, config.batch_size)
    examples, engine = encode(denoiser, records), Engine(denoiser, config.batch_size)
    found = []
    for start in range(0, len(records), levels.examples_per_batch):
        chunk = range(len(records))[start : start + levels.examples_per_batch]
        margins = measure(engine.losses, examples, levels, chunk, [BASELINE], denoiser.device)[
            BASELINE
        ]
        for index, margin in zip(chunk, margins.target.mean(1), strict=True):
            record = records[index]
            texts = {**record.texts, "true": record.texts["target"], "target": record.text}
            exchanged = dataclasses.replace(record, texts=texts, spans={})
            found.append(record if margin > 0 else exchanged)
    return found


def _without(sweep: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in sweep.items() if key != "impacts"}


def _machine() -> dict[str, Any]:
    cuda = torch.cuda.is_available()
    return {
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "peak_gpu_gb": round(torch.cuda.max_memory_allocated() / 1e9, 2) if cuda else None,
    }


if __name__ == "__main__":
    main()
