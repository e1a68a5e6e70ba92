"""What each part of training's objective does to the held-out margin of every relation.

    ablate2tune render-data recipes/testbed.yaml
    python benchmarks/objective.py recipes/testbed.yaml train.targets=all train.steps=300

The recipe is trained as it stands and with one part of its objective (`contrast`, `high_noise`,
`retention`) off at a time, and all of them, in as many steps and with so many pictures in each that
all cost as many forward passes. Each is measured on the test scenes, whose pairs of objects were
not trained on: the margins at sigma = 1, and the squared difference from the base's prediction
under captions without a relation. Figures are means over the seeds with t intervals (95 %), and go
to objective.json; finished runs are not made again.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from accelerate import Accelerator
from scipy.stats import t

from ablate2tune.components import discover
from ablate2tune.files import read_json, write_json
from ablate2tune.models import Denoiser, load_denoiser
from ablate2tune.progress import Terminal
from ablate2tune.recipe import Recipe, load_recipe
from ablate2tune.scenes.dataset.records import SceneRecord, read_dataset
from ablate2tune.train import train
from ablate2tune.train.example_cache import ExampleCache, data_key, encode_examples
from ablate2tune.train.objective.margins import Taught, measure_taught
from ablate2tune.train.targets import choose_targets
from ablate2tune.train.train_config import TrainConfig
from ablate2tune.train.validation import HeldOut, passes_per_picture

USUAL: dict[str, Any] = {"high_noise": 0.0, "twins": False, "twins_from": None}
OFF: dict[str, dict[str, Any]] = {
    "the recipe": {},
    "without contrast": {"contrast": 0.0},
    "without high_noise": USUAL,
    "without retention": {"retention": 0.0},
    "the loss alone": {"contrast": 0.0, "retention": 0.0, **USUAL},
}
ROWS = 50
"""Rows of a forward pass when the test scenes are measured."""


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("overrides", nargs="*", help="recipe keys, KEY=VALUE")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/objective"))
    options = parser.parse_args()
    recipe = load_recipe(options.recipe, options.overrides)
    records = read_dataset(recipe.data_folder)
    found: dict[str, list[dict[str, Any]]] = {}
    for name, off in OFF.items():
        config = at_equal_cost(recipe.train, off)
        for seed in range(1, options.seeds + 1):
            folder = options.out / name.replace(" ", "-") / f"seed-{seed}"
            if not (folder / "taught.json").exists():
                taught = measured(recipe, config, records, seed, folder)
                write_json(folder / "taught.json", taught.row())
            found.setdefault(name, []).append(read_json(folder / "taught.json"))
        print(f"{name} (batch_size {config.batch_size}): {summary(found[name])}", flush=True)
    write_json(options.out / "objective.json", found)


def at_equal_cost(config: TrainConfig, off: dict[str, Any]) -> TrainConfig:
    """The settings with parts off, and as many pictures to a step as cost what they did before."""
    changed = config.model_copy(update=off)
    passes = config.batch_size * passes_per_picture(config)
    # Twins come in twos.
    together = 2 if changed.twins else 1
    rows = together * round(passes / passes_per_picture(changed) / together)
    return changed.model_copy(update={"batch_size": rows})


def measured(
    recipe: Recipe, config: TrainConfig, records: Sequence[SceneRecord], seed: int, folder: Path
) -> Taught:
    """Train in a folder, and what the model then does with the test scenes."""
    denoiser = load_denoiser(recipe.model)
    targets = choose_targets(None, config, discover(denoiser.model), seed)
    with Terminal().bar(folder.parent.name) as progress:
        train(denoiser, records, targets, config, seed, folder, on_progress=progress)
    return on_test(denoiser, [r for r in records if r.split == "test"], folder / "test")


def on_test(denoiser: Denoiser, records: Sequence[SceneRecord], folder: Path) -> Taught:
    """Margins and retention of a model on scenes, with one noise for all seeds of training."""
    captions = [text for r in records for text in (r.text, r.foil, r.pair_text)]
    encode_examples(denoiser, records, captions, data_key(records, captions), folder)
    accelerator = Accelerator(cpu=denoiser.device.type == "cpu")
    cache, places = ExampleCache(folder), range(len(records))
    held_out = HeldOut(denoiser, cache, places, 0, 1.0, ROWS, accelerator)
    return measure_taught(held_out, records)


def summary(rows: Sequence[dict[str, Any]]) -> str:
    """Margins by relation and retention over the seeds, in a line."""
    figures = {
        relation: [row["margins"][relation] for row in rows] for relation in rows[0]["margins"]
    }
    figures |= {name: [row[name] for row in rows] for name in ("margin", "retention")}
    return ", ".join(f"{name} {interval(values)}" for name, values in figures.items())


def interval(values: Sequence[float]) -> str:
    """The mean with its t interval; alone where there is one value.

    >>> interval([0.1, 0.2, 0.3])
    '0.200 [-0.048, 0.448]'
    """
    mean = fmean(values)
    if len(values) == 1:
        return f"{mean:.3f}"
    half = t.ppf(0.975, len(values) - 1) * stdev(values) / len(values) ** 0.5
    return f"{mean:.3f} [{mean - half:.3f}, {mean + half:.3f}]"


if __name__ == "__main__":
    main()
