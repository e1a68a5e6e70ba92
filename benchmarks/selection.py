"""Which rule chooses modules that learn? The rules' agreement, a known answer, equal trainings.

    ablate2tune render-data recipes/testbed.yaml
    python benchmarks/selection.py recipes/testbed.yaml --count 8 --steps 250 --draws 3

All Linears are ranked by scout, and by impact, specificity and gradient in another sweep:
Spearman's correlation of every two rules, and how many of the first --count they share. Then the
known answer: in half of the contrast groups, drawn at random, captions and foils are exchanged, for
the scout's training as for its measuring, so that there is nothing to learn of one group that holds
in another; the scout must find no skill. Then adapters are trained by the recipe's section `train`,
with --steps steps, on the --count modules that `train` takes of the scout's and of impact's
ranking, on the first in the plain order of the scout's first round and of the gradient, and on
--draws random draws. Their margins are measured at noise level 1 on scenes of the split "test",
which nothing has seen before. What is finished in --out is not made again.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ablate2tune.components import discover
from ablate2tune.contrasts.contrast import TEST, TRAINING
from ablate2tune.contrasts.makers.rendered_scenes import scene_contrasts
from ablate2tune.files import read_json, write_json
from ablate2tune.localize.localizing import localize
from ablate2tune.localize.margins.caption_losses import Levels, measure
from ablate2tune.localize.margins.encoded_examples import encode, split_groups
from ablate2tune.localize.measuring.condition import BASELINE
from ablate2tune.localize.measuring.engine import Engine
from ablate2tune.localize.scout.scout_training import unmeasured
from ablate2tune.localize.scout.scouting import localize_by_scout
from ablate2tune.models import load_denoiser
from ablate2tune.progress import Terminal
from ablate2tune.recipe import Recipe, load_recipe
from ablate2tune.scenes.dataset.records import SceneRecord, read_dataset
from ablate2tune.scenes.vocabulary import CONTRAST
from ablate2tune.seeding import numpy_generator
from ablate2tune.statistics.clusters import Clusters
from ablate2tune.statistics.rank_stability import agreement
from ablate2tune.statistics.resampling import Resampling
from ablate2tune.train.targets import choose_targets
from ablate2tune.train.train_config import TrainConfig
from ablate2tune.train.training_loop import train

NOISES = 3
"""Noise draws for each test scene."""


def main() -> None:
    """Rank, compare, train, print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("overrides", nargs="*", help="recipe keys, KEY=VALUE")
    parser.add_argument("--count", type=int, default=8, help="modules of each training")
    parser.add_argument("--steps", type=int, default=250, help="of each training")
    parser.add_argument("--draws", type=int, default=3, help="random draws")
    parser.add_argument("--only", nargs="+", help="of the trainings, these; or none")
    parser.add_argument("--out", type=Path, default=Path("runs/selection"))
    options = parser.parse_args()
    recipe = load_recipe(options.recipe, options.overrides)
    records = read_dataset(recipe.data_folder)
    terminal, out = Terminal(), options.out

    count, wanted = options.count, set(options.only or [])
    arms = chosen(recipe, {}, count, options.draws)
    if not wanted or wanted - set(arms):
        scout = by_scout(recipe, records, out / "scout", terminal)
        print(f"scout: {scout['verdict']}, margins {_margins(scout)}", flush=True)
        print(f"gradients against switching off: {scout['trust']['screening']}", flush=True)
        arms |= chosen(recipe, {"scout": scout}, count, options.draws)
        alone = [row["address"] for row in scout["components"] if row["level"] == "projection"]
        arms["scout-order"] = alone[:count]
        if not wanted or wanted - set(arms):
            ablation = by_ablation(recipe, records, out / "ablation", terminal)
            orders = ranked(scout, ablation)
            arms |= chosen(recipe, {"impact": ablation}, count, options.draws)
            arms["gradient-order"] = _first(orders["gradient"], count)
            print_agreement(orders, count)
            turned = by_scout(recipe, exchanged(records, recipe.seed), out / "exchanged", terminal)
            print(f"captions exchanged: {turned['verdict']}, margin {_margins(turned)}", flush=True)

    config = recipe.train.model_copy(update={"steps": options.steps, "sample_prompts": 0})
    for name, modules in arms.items():
        if not wanted or name in wanted:
            note = arm(recipe, records, modules, config, out / f"arm-{name}")
            print(_line(name, note), flush=True)


def print_agreement(orders: dict[str, dict[str, float]], count: int) -> None:
    """Spearman's correlation of every two rules, and how many of the first modules they share."""
    found = agreement({name: list(values.values()) for name, values in orders.items()})
    for pair, value in found.items():
        first = [set(_first(orders[rule], count)) for rule in pair.split("~")]
        both = len(first[0] & first[1])
        print(f"{pair}: Spearman {value:+.2f}, {both} of {count} shared", flush=True)


def by_scout(
    recipe: Recipe, records: list[SceneRecord], folder: Path, terminal: Terminal
) -> dict[str, Any]:
    """ranking.json of the scout."""
    if not (folder / "ranking.json").exists():
        config = recipe.localize.model_copy(update={"rank_by": "scout"})
        contrasts = scene_contrasts(records).of(TRAINING)
        model = load_denoiser(recipe.model)
        with terminal.bar(folder.name) as progress:
            localize_by_scout(
                model, contrasts, records, recipe.train, config, recipe.seed, folder, progress
            )
    return read_json(folder / "ranking.json")


def by_ablation(
    recipe: Recipe, records: list[SceneRecord], folder: Path, terminal: Terminal
) -> dict[str, Any]:
    """ranking.json of all Linears by impact, with specificity and gain beside it."""
    if not (folder / "ranking.json").exists():
        model = load_denoiser(recipe.model)
        every = {"rank_by": "impact", "projections": True, "report_gradient": True}
        every["top_blocks"] = len(discover(model.model).blocks)
        config = recipe.localize.model_copy(update=every)
        contrasts = scene_contrasts(records).of(TRAINING)
        with terminal.bar(folder.name) as progress:
            localize(model, contrasts, config, recipe.seed, folder, progress, recipe.means_folder)
    return read_json(folder / "ranking.json")


def exchanged(records: Sequence[SceneRecord], seed: int) -> list[SceneRecord]:
    """The scenes, of which half of the groups say the opposite of what they show."""
    names = sorted({record.group_id for record in records})
    drawn = numpy_generator(seed, "exchanged captions").permutation(len(names))
    turned = {names[place] for place in drawn[: len(names) // 2]}
    return [_turned(record) if record.group_id in turned else record for record in records]


def _turned(record: SceneRecord) -> SceneRecord:
    before, after = record.relation, CONTRAST[record.relation]
    return replace(
        record,
        relation=after,
        text=record.foil,
        foil=record.text,
        foil_colour=record.foil_colour.replace(f" {before} ", f" {after} "),
    )


def ranked(scout: dict[str, Any], ablation: dict[str, Any]) -> dict[str, dict[str, float]]:
    """What each rule orders the Linears by, in one order of addresses."""

    def linears(ranking: dict[str, Any]) -> dict[str, dict[str, Any]]:
        rows = [row for row in ranking["components"] if row["level"] == "projection"]
        return {row["address"]: row for row in rows}

    ours, theirs = linears(scout), linears(ablation)
    names = sorted(ours.keys() & theirs.keys())
    columns = {
        "impact": {name: theirs[name]["target"]["value"] for name in names},
        "specificity": {name: theirs[name]["specificity"] for name in names},
        "gradient": {name: theirs[name]["gain"]["value"] for name in names},
        "scout": {name: ours[name]["target"]["value"] for name in names},
    }
    return {rule: held for rule, held in columns.items() if None not in held.values()}


def _first(held: dict[str, float], count: int) -> list[str]:
    return sorted(held, key=lambda name: -held[name])[:count]


def chosen(
    recipe: Recipe, rankings: dict[str, dict[str, Any]], count: int, draws: int
) -> dict[str, list[str]]:
    """The modules of each training: what `train` takes of each ranking, and random draws."""
    catalogue = discover(load_denoiser(recipe.model).model)
    config = TrainConfig(count=count)
    arms = {
        rule: choose_targets(ranking, config, catalogue, recipe.seed)
        for rule, ranking in rankings.items()
    }
    for draw in range(draws):
        config = TrainConfig(targets="random", count=count, draw=draw)
        arms[f"random-{draw}"] = choose_targets(None, config, catalogue, recipe.seed)
    return arms


def arm(
    recipe: Recipe,
    records: list[SceneRecord],
    modules: list[str],
    config: TrainConfig,
    folder: Path,
) -> dict[str, Any]:
    """Train an adapter on the modules and measure it: parameters, margins, seconds a step."""
    path = folder / "arm.json"
    if path.exists():
        return read_json(path)
    local, seed = recipe.localize, recipe.seed
    contrasts = scene_contrasts(records)
    measured = split_groups(contrasts.of(TRAINING), local.groups, 0, seed).measured
    config = config.model_copy(update={"cache": folder.parent / "cache"})
    denoiser = load_denoiser(recipe.model)
    learning = unmeasured(records, measured)
    summary = train(denoiser, learning, modules, config, seed, folder)
    tested = [contrast for contrast in contrasts.examples if contrast.split == TEST]
    levels = Levels([1.0], NOISES, seed, local.batch_size)
    engine, examples = Engine(denoiser, local.batch_size), encode(denoiser, tested)
    found: list[np.ndarray] = []
    for start in range(0, len(tested), levels.examples_per_batch):
        chunk = range(len(tested))[start : start + levels.examples_per_batch]
        margins = measure(engine.losses, examples, levels, chunk, [BASELINE], denoiser.device)
        found.append(margins[BASELINE].target.mean(1))
    values = np.concatenate(found)
    how = Resampling(seed, local.bootstrap, local.confidence, "selection-")
    relations = np.array([contrast.facts["relation"] for contrast in tested])
    note = {
        "modules": modules,
        "parameters": summary.parameters.trainable,
        "margin": Clusters([contrast.cluster for contrast in tested], how).mean(values),
        "by_relation": {name: float(values[relations == name].mean()) for name in set(relations)},
    }
    write_json(path, note)
    return note


def _margins(ranking: dict[str, Any]) -> str:
    rounds = ranking.get("scout") or [{"margin": ranking["baseline"]["target"]}]
    return ", ".join("{value:.4f} [{low:.4f}, {high:.4f}]".format(**r["margin"]) for r in rounds)


def _line(name: str, arm: dict[str, Any]) -> str:
    margin = "{value:.4f} [{low:.4f}, {high:.4f}]".format(**arm["margin"])
    each = ", ".join(f"{key} {value:+.3f}" for key, value in sorted(arm["by_relation"].items()))
    return f"{name}: {margin} with {arm['parameters']:,} parameters ({each})"


if __name__ == "__main__":
    main()
