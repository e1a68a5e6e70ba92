"""Repair: one block of a model with the skill is damaged; does the whole loop find and mend it?

    ablate2tune render-data recipes/testbed-study.yaml
    python benchmarks/repair.py recipes/testbed-study.yaml

First a model with the skill: the one of --skilled, or the recipe's own after a full training of all
its modules. Then, case by case, blocks of it are damaged: their Linears alone are trained on
captions with the relation reversed as often as not, until the held-out margin is gone. Each damaged
model is studied like any other (`ablate2tune study`): the recipe's rule chooses k modules without
being told, against random sets, random sets within the damaged blocks, and all modules. The cases
are single blocks, --several blocks, and all of them: the benefit of guidance against how local the
fault is. What is recovered is told as a share of what was lost.

Everything is kept in --out and not made again, killed and resumed anywhere; figures go to
--results. With --only, several processes can share the cases; the whole command then finds them,
and where --results is named, the figures of these cases go there.
"""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from ablate2tune.components import Catalogue, discover
from ablate2tune.disk.identity import identity
from ablate2tune.files import content_hash, read_json, write_json
from ablate2tune.models import Denoiser, load_denoiser
from ablate2tune.models.conditioning import Conditioning
from ablate2tune.progress import Terminal
from ablate2tune.recipe import Recipe, load_recipe, overridden
from ablate2tune.scenes.dataset.records import SceneRecord, load_images, read_dataset
from ablate2tune.seeding import numpy_generator, torch_generator
from ablate2tune.stage_running import run_stage
from ablate2tune.statistics.blocks import exchange_p
from ablate2tune.study.stage import STAGE as STUDY
from ablate2tune.study.tuning.held_out import by_relation, held_out_margins, test_scenes
from ablate2tune.train.stage import STAGE as TRAIN
from ablate2tune.train.targets import choose_targets
from ablate2tune.train.train_config import TrainConfig

BATCH = 16
RATE = 1e-3
WEIGHT = 4.0
"""Of what the true caption still gains over the reversed one, beside the loss."""
GONE = 0.05
"""Share of the margin at which a damage is deep enough."""
EVERY = 25
"""Steps between looks at the held-out margin."""
LOOK = 4
"""A look takes the first fourth of the test scenes."""
ARMS = ("guided", "random", "blocks", "all")
RESULTS = Path("benchmarks/results/repair.json")

TEXTS = ("text", "foil")


class Case(NamedTuple):
    """What is damaged."""

    name: str
    blocks: list[str]


def main() -> None:
    """Make the skill, damage it, study the repair, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("overrides", nargs="*", help="recipe keys, KEY=VALUE")
    parser.add_argument("--skilled", type=Path, help="a pipeline folder that has the skill")
    parser.add_argument("--skill-steps", type=int, default=1000, help="of the full training")
    parser.add_argument("--blocks", type=int, default=4, help="single blocks that are damaged")
    parser.add_argument("--several", type=int, default=3, help="blocks of the middle case")
    parser.add_argument("--damage-steps", type=int, default=400, help="at most")
    parser.add_argument("--budgets", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--wide-budgets", type=int, nargs="+", help="where several are damaged")
    parser.add_argument("--draws", type=int, default=5, help="random sets in each seed")
    parser.add_argument("--arms", nargs="+", default=ARMS, choices=ARMS, help="what is measured")
    parser.add_argument("--only", nargs="+", help="these cases, by name; the others another time")
    parser.add_argument("--out", type=Path, default=Path("runs/repair"))
    parser.add_argument("--results", type=Path, help=f"default: {RESULTS}")
    options = parser.parse_args()
    recipe = load_recipe(options.recipe, options.overrides)
    recipe = overridden(recipe, {"scenes.folder": str(recipe.data_folder)}, "repair")
    records, terminal = read_dataset(recipe.data_folder), Terminal()
    test = test_scenes(records)

    skilled = options.skilled or make_skilled(recipe, options, terminal)
    recipe = overridden(recipe, {"model.path": str(skilled)}, "repair")
    denoiser = load_denoiser(recipe.model)
    whole = margin(denoiser, test, recipe.seed)
    catalogue = discover(denoiser.model)
    print(f"the model with the skill: held-out margin {whole:.4f}", flush=True)
    if whole <= 0:
        print("warning: it has no skill that could be lost; the shares below mean nothing")

    found = []
    for case in cases(catalogue, options.blocks, options.several, recipe.seed):
        if options.only and case.name not in options.only:
            continue
        damaged = options.out / "damaged" / case.name
        harm = identity(skilled), identity(recipe.data_folder), case.blocks, options.damage_steps
        if not made(
            damaged, content_hash(*harm, recipe.seed, [BATCH, RATE, WEIGHT, GONE, EVERY, LOOK])
        ):
            arguments = case, records, test, GONE * whole, options.damage_steps, damaged
            damage(recipe, *arguments, terminal)
        study = repair(recipe, case, damaged, options, terminal)
        found.append(outcome(case, study, options.out, catalogue, whole))
        print(line(found[-1]), flush=True)
    if options.only and not options.results:
        return
    results = {
        "recipe": options.recipe.name,
        "skilled_margin": whole,
        "cases": found,
        "pooled": pooled(found, recipe.seed),
    }
    write_json(options.results or RESULTS, results)
    for text in summary(results):
        print(text)


def cases(catalogue: Catalogue, single: int, several: int, seed: int) -> list[Case]:
    """Single blocks spread over the depth, then several at once, then all."""
    blocks = [block.address for block in catalogue.blocks]
    places = np.linspace(0, len(blocks) - 1, min(single, len(blocks))).round().astype(int)
    drawn = numpy_generator(seed, "repair several").permutation(len(blocks))[:several]
    return [
        *(Case(blocks[place], [blocks[place]]) for place in dict.fromkeys(places.tolist())),
        Case(f"{len(drawn)}-blocks", [blocks[place] for place in sorted(drawn.tolist())]),
        Case("all-blocks", blocks),
    ]


def make_skilled(recipe: Recipe, options: argparse.Namespace, terminal: Terminal) -> Path:
    """The recipe's model after a training of all its modules, merged into the weights."""
    folder = options.out / "skilled"
    own = {"name": "skilled-run", "runs": str(options.out), "study": {}}
    full = {"train.targets": "all", "train.steps": options.skill_steps}
    recipe = overridden(recipe, {**own, **full}, "repair")
    taught = recipe.train.model_dump(mode="json", exclude_defaults=True)
    learnt = identity(recipe.model.path), identity(recipe.data_folder), taught, recipe.seed
    if made(folder, content_hash(*learnt)):
        return folder
    run_stage(TRAIN, recipe, terminal)
    denoiser = load_denoiser(recipe.model)
    denoiser.pipe.load_lora_weights(str(recipe.run_folder / "train" / "adapter"))
    denoiser.pipe.fuse_lora()
    denoiser.pipe.unload_lora_weights()
    save(recipe, denoiser, folder)
    return folder


def made(folder: Path, key: str) -> bool:
    """Whether a folder is there; the key of what it follows from is kept beside it.

    Raises:
        SystemExit: it follows from something else.
    """
    kept = folder.with_name(f"{folder.name}.json")
    if folder.exists() and read_json(kept)["made_from"] != key:
        raise SystemExit(f"{folder}: made of another recipe; name another folder with --out")
    write_json(kept, {"made_from": key})
    return folder.exists()


def margin(denoiser: Denoiser, test: Sequence[SceneRecord], seed: int) -> float:
    """The mean held-out margin over the relations."""
    return mean(by_relation(held_out_margins(denoiser, test, seed)).values())


def damage(
    recipe: Recipe,
    case: Case,
    records: Sequence[SceneRecord],
    test: Sequence[SceneRecord],
    least: float,
    steps: int,
    out: Path,
    terminal: Terminal,
) -> None:
    """Train the blocks' Linears on reversed relations until the held-out margin is `least`.

    Every picture is shown under its caption and the reversed one alike, so that the blocks go on
    drawing and learn that the relation says nothing; where the true caption still explains a
    picture better, that is pushed back, but not beyond equality.
    """
    denoiser = load_denoiser(recipe.model)
    scenes = [record for record in records if record.split == "train"]
    latents = denoiser.encode_images(load_images(scenes))
    captions = [denoiser.encode_prompts([getattr(scene, key) for scene in scenes]) for key in TEXTS]
    blocks = [b for b in discover(denoiser.model).blocks if b.address in case.blocks]
    names = [name for block in blocks for name in block.linears]
    weights = [
        denoiser.model.get_parameter(f"{name}.weight").requires_grad_(True) for name in names
    ]
    optimizer = torch.optim.AdamW(weights, lr=RATE, weight_decay=0.0)
    with terminal.bar(f"damage {case.name}") as bar:
        for step in range(1, steps + 1):
            generator = torch_generator(recipe.seed, f"damage {case.name}", step)
            rows = torch.randint(len(scenes), (BATCH,), generator=generator).tolist()
            noise = torch.randn(BATCH, *latents.shape[1:], generator=generator)
            told = Conditioning.cat([half[rows] for half in captions])
            losses = denoiser.denoising_loss(
                latents[rows].repeat(2, *[1] * (latents.ndim - 1)),
                noise.repeat(2, *[1] * (noise.ndim - 1)),
                torch.ones(2 * BATCH),  # pure noise, where the caption decides
                told,
                1.0,
            )
            true, foil = losses.chunk(2)
            told_apart = F.relu(foil - true).mean()
            optimizer.zero_grad(set_to_none=True)
            (losses.mean() + WEIGHT * told_apart).backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            if step % EVERY == 0 or step == steps:
                left = margin(denoiser, test[: len(test) // LOOK], recipe.seed)
                bar(step, steps, f"margin {left:.4f}")
                if left <= least:
                    break
    save(recipe, denoiser, out)


def repair(
    recipe: Recipe, case: Case, damaged: Path, options: argparse.Namespace, terminal: Terminal
) -> dict[str, Any]:
    """The study of one damaged model: the recipe's rule against chance, the blocks, and all.

    The rule is the recipe's guided arm, or `localize.rank_by` where that is no ranking.
    """
    rule = recipe.study.arms[recipe.study.guided_arm or ""]
    arms = {
        "guided": rule.model_dump(exclude_unset=True) if rule.targets == "top" else {},
        "random": {"targets": "random", "draws": options.draws},
        "blocks": {"targets": "random", "modules": case.blocks},
        "all": {"targets": "all"},
    }
    arms = {name: arms[name] for name in options.arms}
    budgets = options.budgets
    if len(case.blocks) > 1 and options.wide_budgets:
        budgets = options.wide_budgets
    study = recipe.study.model_dump(mode="json", include={"seeds", "rankings", "confidence"})
    own = {
        "name": case.name,
        "runs": str(options.out / "studies"),
        "model.path": str(damaged),
        "study": {**study, "arms": arms, "budgets": budgets},
    }
    placed = overridden(recipe, own, "repair")
    run_stage(STUDY, placed, terminal)
    return read_json(placed.run_folder / "study" / "study.json")


def outcome(
    case: Case, study: dict[str, Any], out: Path, catalogue: Catalogue, whole: float
) -> dict[str, Any]:
    """What a case says: the first choice, and the share of the lost margin that came back."""
    lost = whole - study["untouched"]["margin"]
    inside = {n for b in catalogue.blocks if b.address in case.blocks for n in b.linears}

    def share(value: float) -> float:
        return (value - study["untouched"]["margin"]) / lost

    recovered = {
        entry["setting"]: share(entry["margin"]["value"])
        for entry in study["settings"]
        if "margin" in entry
    }
    shared = out / "studies" / case.name / "study" / "shared"
    rankings = [read_json(p) for p in sorted(shared.glob("ranking-*/localize/ranking.json"))]
    rankings = [ranking for ranking in rankings if ranking["components"]]
    first = [choose_targets(ranking, TrainConfig(count=1), catalogue, 0)[0] for ranking in rankings]
    guided = [c for c in study["cells"] if c["arm"] == "guided" and c["status"] == "done"]
    drawn = [c for c in study["cells"] if c["arm"] == "random" and c["status"] == "done"]
    return {
        "case": case.name,
        "blocks": case.blocks,
        "damaged_margin": study["untouched"]["margin"],
        "points_at": {block.address: impact(rankings, block.address) for block in catalogue.blocks},
        "first": first,
        "first_inside": sum(name in inside for name in first),
        "inside": {
            str(budget): mean(
                len(inside & set(c["modules"])) / len(c["modules"])
                for c in guided
                if c["budget"] == budget
            )
            for budget in dict.fromkeys(c["budget"] for c in guided)
        },
        "recovered": recovered,
        "cells": [
            {**{key: c[key] for key in ("arm", "budget", "seed")}, "share": share(c["margin"])}
            for c in (*guided, *drawn)
        ],
        "tests": study["tests"],
    }


def impact(rankings: Sequence[dict[str, Any]], address: str) -> float | None:
    """The mean impact of a component over the rankings that measured it."""
    found = [
        row[ranking["figure"]]["value"]
        for ranking in rankings
        for row in ranking["components"]
        if row["address"] == address
    ]
    return mean(found) if found else None


def pooled(found: Sequence[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    """Guided against random over all cases of one damaged block: case and seed are the blocks."""
    local = [case for case in found if len(case["blocks"]) == 1]
    pooled = []
    for budget in dict.fromkeys(cell["budget"] for case in local for cell in case["cells"]):
        treated, controls = list[float](), list[list[float]]()
        for case in local:
            cells = [cell for cell in case["cells"] if cell["budget"] == budget]
            for guided in (cell for cell in cells if cell["arm"] == "guided"):
                others = [
                    cell["share"]
                    for cell in cells
                    if cell["arm"] == "random" and cell["seed"] == guided["seed"]
                ]
                if others:
                    treated.append(guided["share"])
                    controls.append(others)
        if treated:
            chance = mean(map(mean, controls))
            pooled.append(
                {
                    "budget": budget,
                    "blocks": len(treated),
                    "guided": mean(treated),
                    "random": chance,
                    "ratio": mean(treated) / chance if chance > 0 else None,
                    "p": exchange_p(treated, controls, seed),
                }
            )
    return pooled


def line(case: dict[str, Any]) -> str:
    """One case in a line."""
    back = ", ".join(f"{name} {100 * share:.0f}" for name, share in case["recovered"].items())
    return (
        f"{case['case']}: margin {case['damaged_margin']:.4f}; chosen first inside "
        f"{case['first_inside']} of {len(case['first'])}; % recovered: {back}"
    )


def summary(results: dict[str, Any]) -> list[str]:
    """The table, and the test over all single blocks."""
    budgets = list(dict.fromkeys(c["budget"] for case in results["cases"] for c in case["cells"]))
    lines = ["", "% of the lost margin recovered, guided / random / within the blocks", ""]
    head = "".join(f"{f'{budget} modules':>18}" for budget in budgets)
    lines.append(f"{'damaged':<34}{head}{'all':>6}")
    for case in results["cases"]:
        cells = []
        for budget in budgets:
            names = [f"{arm}, {budget} modules" for arm in ("guided", "random", "blocks")]
            found = [case["recovered"].get(name) for name in names]
            text = " / ".join("-" if share is None else f"{100 * share:.0f}" for share in found)
            cells.append(f"{text:>18}")
        everything = case["recovered"].get("all")
        end = "-" if everything is None else f"{100 * everything:.0f}"
        lines.append(f"{case['case']:<34}{''.join(cells)}{end:>6}")
    single = [case for case in results["cases"] if len(case["blocks"]) == 1]
    right = sum(case["first_inside"] > len(case["first"]) / 2 for case in single)
    lines += ["", f"the damaged block is chosen first in {right} of {len(single)} single cases"]
    for test in results["pooled"]:
        ratio = "-" if test["ratio"] is None else f"{test['ratio']:.2f}"
        lines.append(
            f"{test['budget']} modules: guided recovers {100 * test['guided']:.0f} %, random sets "
            f"{100 * test['random']:.0f} % (ratio {ratio}), p = {test['p']:.2g}, over "
            f"{test['blocks']} pairs of case and seed"
        )
    return lines


def save(recipe: Recipe, denoiser: Denoiser, out: Path) -> None:
    """The recipe's pipeline with this denoiser's weights, whole or not at all."""
    part = out.with_name(f"{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(recipe.model.path, part)
    getattr(denoiser.pipe, denoiser.part).save_pretrained(part / denoiser.part)
    part.replace(out)


if __name__ == "__main__":
    main()
