"""Planted circuits: does `localize` find the block that a skill was put into?

    ablate2tune render-data recipes/testbed.yaml
    python benchmarks/planted.py recipes/testbed.yaml

First the testbed is made relation-blind: it learns to predict under any relation what it predicts
under the caption without one. How much of the skill is left is printed: a plant shows only by the
margin that it adds. Then, for each block in turn, a LoRA on that block alone is taught to tell
true captions from those with the opposite relation, and merged; what the model gains lies in that
block's weights by construction. `localize` ranks the blocks of each such model by specificity,
without being told. Finished models and sweeps are kept in --out and not made again; figures go to
planted.json. The seven blocks of the testbed's first edition (3 + 4 blocks, 64 px, until commit
495c38f) took about an hour and a half on one CPU core.
"""

import argparse
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ablate2tune.components import discover
from ablate2tune.contrasts.makers.rendered_scenes import scene_contrasts
from ablate2tune.files import read_json, write_json
from ablate2tune.localize.localizing import localize
from ablate2tune.models import AdapterNote, FluxDenoiser, load_denoiser
from ablate2tune.models.conditioning import Conditioning
from ablate2tune.models.schedules import interpolate, squared_error, velocity_target
from ablate2tune.progress import Terminal
from ablate2tune.recipe import Recipe, load_recipe
from ablate2tune.scenes.dataset.records import SceneRecord, load_images, read_dataset
from ablate2tune.scenes.vocabulary import RELATIONS, caption
from ablate2tune.seeding import seed_for, torch_generator
from ablate2tune.train.adapter import inject, trainable
from ablate2tune.train.noise_levels import sample_sigmas
from ablate2tune.train.objective.step_loss import contrast_term

TOP = 2
"""Places of its stack among which the planted block must be."""
BATCH = 32
SHIFT = 15.0
"""Of the noise levels: who stands where is decided at the highest."""
RANK = 32
SHARPNESS = 100.0
"""Of the preference for the true caption, per unit of margin."""
WEIGHT = 100.0
"""Of that preference beside the loss under the true caption."""
CHANGES: dict[str, Any] = {
    "rank_by": "specificity", "mode": "zero", "top_blocks": 1, "noise_floor": False,
}  # fmt: skip


def main() -> None:
    """Blind the model, plant, localize, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("overrides", nargs="*", help="recipe keys, KEY=VALUE")
    parser.add_argument("--blind-steps", type=int, default=1000)
    parser.add_argument("--plant-steps", type=int, default=400)
    parser.add_argument("--groups", type=int, default=96, help="contrast groups of each sweep")
    parser.add_argument("--out", type=Path, default=Path("runs/planted"))
    options = parser.parse_args()
    recipe = load_recipe(options.recipe, options.overrides)
    records = [r for r in read_dataset(recipe.data_folder) if r.split == "train"]
    terminal = Terminal()

    blind = options.out / "blind"
    if not blind.exists():
        make_blind(recipe, records, options.blind_steps, blind, terminal)
    before = ranked(recipe, records, blind, options.groups, terminal)
    print(f"blind: {_margin(before)}; {before['verdict']}", flush=True)
    plants = []
    for block in discover(_load(recipe, blind).model).blocks:
        planted = options.out / block.address
        if not planted.exists():
            targets = list(block.linears)
            plant(recipe, blind, records, targets, options.plant_steps, planted, terminal)
        data = ranked(recipe, records, planted, options.groups, terminal)
        plants.append(outcome(block.address, block.stack, data))
        print(_line(plants[-1]), flush=True)
    write_json(options.out / "planted.json", {"blind": before["baseline"], "plants": plants})
    for places in (1, TOP):
        found = sum(p["place"] is not None and p["place"] <= places for p in plants)
        print(f"among the top {places} of its stack: {found} of {len(plants)}")


def ranked(
    recipe: Recipe, records: list[SceneRecord], model: Path, groups: int, terminal: Terminal
) -> dict[str, Any]:
    """The ranking of a model's blocks by specificity."""
    folder = model.with_name(f"{model.name}-localize")
    if not (folder / "ranking.json").exists():
        config = recipe.localize.model_copy(update={**CHANGES, "groups": groups})
        contrasts = scene_contrasts(records).examples
        with terminal.bar(f"localize {model.name}") as progress:
            localize(_load(recipe, model), contrasts, config, recipe.seed, folder, progress)
    return read_json(folder / "ranking.json")


def make_blind(
    recipe: Recipe, records: list[SceneRecord], steps: int, out: Path, terminal: Terminal
) -> None:
    """Distil the model into itself: under any relation it predicts as under the pair's caption."""
    denoiser = _load(recipe, Path(recipe.model.path))
    teacher = _load(recipe, Path(recipe.model.path))
    latents = denoiser.encode_images(load_images(records))

    def loss(step: int) -> Tensor:
        rows, noise, sigma = _drawn(latents, recipe.seed, "blind", step)
        rng = random.Random(seed_for(recipe.seed, "blind relations", step))
        told, plain = [], []
        for record in (records[row] for row in rows):
            subject = (record.subject_colour, record.subject)
            thing = (record.object_colour, record.object)
            plain.append(caption(*subject, None, *thing))
            states = rng.random() < 0.75
            words = caption(*subject, rng.choice(RELATIONS), *thing)
            told.append(words if states else plain[-1])
        noisy = interpolate(latents[rows], noise, sigma)
        with torch.no_grad():
            wanted = teacher.predict(noisy, sigma, teacher.encode_prompts(plain))
        return F.mse_loss(denoiser.predict(noisy, sigma, denoiser.encode_prompts(told)), wanted)

    denoiser.model.requires_grad_(True).train()
    with terminal.bar("blind") as progress:
        _optimise(list(denoiser.model.parameters()), loss, steps, 5e-4, progress)
    _save(Path(recipe.model.path), denoiser, out)


def plant(
    recipe: Recipe,
    blind: Path,
    records: list[SceneRecord],
    targets: list[str],
    steps: int,
    out: Path,
    terminal: Terminal,
) -> None:
    """Teach `targets` alone to prefer true captions, and merge the adapter into the weights."""
    denoiser = _load(recipe, blind)
    latents = denoiser.encode_images(load_images(records))
    injected = inject(denoiser.model, targets, RANK, recipe.seed)

    def loss(step: int) -> Tensor:
        rows, noise, sigma = _drawn(latents, recipe.seed, "plant", step)
        clean = latents[rows]
        noisy = interpolate(clean, noise, sigma)
        told = [
            denoiser.encode_prompts([getattr(records[row], key) for row in rows])
            for key in ("text", "foil")
        ]
        both = denoiser.predict(noisy.repeat(2, 1, 1), sigma.repeat(2), Conditioning.cat(told))
        wanted = velocity_target(clean, noise)
        true, foil = (squared_error(half, wanted) for half in both.chunk(2))
        return true.mean() + WEIGHT * contrast_term(true, foil, SHARPNESS).mean()

    with terminal.bar(f"plant {out.name}") as progress:
        _optimise(list(trainable(denoiser.model).values()), loss, steps, 4e-3, progress)
    adapter = out.with_name(f"{out.name}-adapter")
    size = {"height": denoiser.config.height, "width": denoiser.config.width}
    note = AdapterNote(base=str(blind), rank=RANK, targets=injected, seed=recipe.seed, **size)
    denoiser.save_adapter(adapter, note)
    merged = _load(recipe, blind)
    merged.pipe.load_lora_weights(str(adapter))
    merged.pipe.fuse_lora()
    merged.pipe.unload_lora_weights()
    _save(blind, merged, out)


def outcome(address: str, stack: str, data: dict[str, Any]) -> dict[str, Any]:
    """The planted block's place in its stack by specificity; None where no skill was found."""
    rows = [row for row in data["components"] if row["level"] == "block"]
    in_stack = [row for row in rows if row["address"].startswith(f"{stack}.")]
    in_stack.sort(key=lambda row: -(row["specificity"] or float("-inf")))
    order = [row["address"] for row in in_stack]
    return {
        "block": address,
        "baseline": data["baseline"],
        "verdict": data["verdict"],
        "place": order.index(address) + 1 if address in order else None,
        "of": len(order),
        "specificity": {row["address"]: row["specificity"] for row in rows},
        "relative_impact": {row["address"]: row["relative"]["target"] for row in rows},
    }


def _drawn(latents: Tensor, seed: int, purpose: str, step: int) -> tuple[list[int], Tensor, Tensor]:
    """A step's rows, noise and noise levels."""
    generator = torch_generator(seed, purpose, step)
    rows = torch.randint(len(latents), (BATCH,), generator=generator).tolist()
    noise = torch.randn(BATCH, *latents.shape[1:], generator=generator)
    return rows, noise, sample_sigmas(BATCH, "flux_shift", SHIFT, generator)


def _optimise(
    parameters: list[torch.nn.Parameter],
    loss: Callable[[int], Tensor],
    steps: int,
    rate: float,
    progress: Callable[[int, int], None],
) -> None:
    """AdamW with 20 steps of warm-up, then a linear fall to zero."""
    optimizer = torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.99), weight_decay=0.0)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * min((step + 1) / 20, 1 - step / steps)
        optimizer.zero_grad()
        loss(step).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        progress(step + 1, steps)


def _line(plant: dict[str, Any]) -> str:
    known = {a: value for a, value in plant["specificity"].items() if value is not None}
    found = ", ".join(
        f"{address.replace('transformer_blocks', 't')} {value:+.2f}"
        for address, value in sorted(known.items(), key=lambda item: -item[1])
    )
    place = f"place {plant['place']} of {plant['of']}" if plant["place"] else plant["verdict"]
    return f"{plant['block']}: {_margin(plant)}; {place}; specificity {found}"


def _margin(data: dict[str, Any]) -> str:
    low, high = (data["baseline"]["target"][end] for end in ("low", "high"))
    return f"target margin {data['baseline']['target']['value']:+.5f} [{low:+.5f}, {high:+.5f}]"


def _load(recipe: Recipe, model: Path) -> FluxDenoiser:
    denoiser = load_denoiser(recipe.model.model_copy(update={"path": str(model)}))
    assert isinstance(denoiser, FluxDenoiser)
    return denoiser


def _save(source: Path, denoiser: FluxDenoiser, out: Path) -> None:
    """The pipeline of `source` with this denoiser's weights, whole or not at all."""
    part = out.with_name(f"{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(source, part)
    denoiser.pipe.transformer.save_pretrained(part / "transformer")
    part.replace(out)


if __name__ == "__main__":
    main()
