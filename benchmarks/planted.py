"""Planted circuits: does `localize` find the block that a skill was put into?

    python benchmarks/planted.py recipes/testbed.yaml --blind-data data/testbed-pretrain

The testbed is first made relation-blind: its denoiser is trained on with captions whose relation is
drawn at random, so that relation words mean nothing to it (its margin is printed). Then, for each
block in turn, a LoRA on that block alone is taught the relations on clean captions and merged; the
skill now lies in that block's weights by construction. `localize` ranks the blocks of each such
model by specificity, without being told. Every part resumes; figures go to OUT/planted.json.
"""

import argparse
import shutil
from pathlib import Path
from typing import Any

from ablate2tune.components import discover, lora_targets
from ablate2tune.localize.ranking import Ranking
from ablate2tune.localize.stage import localize
from ablate2tune.pipelines import FluxDenoiser, load_denoiser
from ablate2tune.progress import Terminal
from ablate2tune.recipe import Recipe, TrainConfig, load_recipe
from ablate2tune.runs import write_json
from ablate2tune.scenes.dataset import SceneRecord, read_dataset
from ablate2tune.scenes.vocabulary import RELATIONS
from ablate2tune.testbed.build import cached_latents
from ablate2tune.testbed.denoiser import mirrored, pretrain_denoiser
from ablate2tune.testbed.recipe import CaptionMix, PartConfig
from ablate2tune.train.loop import train

TOP = 2
"""Places of its stack among which the planted block must be."""
RANDOM_RELATION = CaptionMix(
    relation_stated=0.6, relation_wrong=1 - 1 / len(RELATIONS), dropped=0.1
)


def main() -> None:
    """Blind the model, plant, localize, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("overrides", nargs="*", help="recipe keys, KEY=VALUE")
    parser.add_argument("--blind-data", type=Path, required=True, help="data set for the blinding")
    parser.add_argument("--blind-images", type=int, default=6000)
    parser.add_argument("--blind-steps", type=int, default=800)
    parser.add_argument("--plant-steps", type=int, default=400)
    parser.add_argument("--groups", type=int, default=192, help="contrast groups of each sweep")
    parser.add_argument("--out", type=Path, default=Path("runs/planted"))
    options = parser.parse_args()
    recipe = load_recipe(options.recipe, options.overrides)
    terminal = Terminal()
    blind = options.out / "blind"
    if not (blind / "model_index.json").exists():
        images = [r for r in read_dataset(options.blind_data) if r.split == "train"]
        make_blind(recipe, images[: options.blind_images], options.blind_steps, blind, terminal)
    records = read_dataset(recipe.data_folder)
    config = recipe.localize.model_copy(
        update={"rank_by": "specificity", "top_blocks": 1, "groups": options.groups}
    )

    def ranked(model: Path, folder: Path) -> Ranking:
        training = [record for record in records if record.split == "train"]
        with terminal.bar(f"localize {model.name}") as progress:
            return localize(_load(recipe, model), training, config, recipe.seed, folder, progress)

    before = ranked(blind, options.out / "blind-localize").data
    print(f"blind: {_margin(before)}; {before['verdict']}", flush=True)
    plants = []
    for block in discover(_load(recipe, blind).model).blocks:
        planted = options.out / block.address
        if not (planted / "model_index.json").exists():
            changes = {"steps": options.plant_steps, "plain_captions": 0.2, "rank": 32}
            training = recipe.train.model_copy(update=changes | {"sample_every": 10**6})
            plant(recipe, blind, records, lora_targets(block), training, planted, terminal)
        data = ranked(planted, options.out / f"{block.address}-localize").data
        plants.append(outcome(block.address, block.stack, data))
        print(_line(plants[-1]), flush=True)
    recall = {n: sum(p["place"] is not None and p["place"] <= n for p in plants) for n in (1, TOP)}
    write_json(options.out / "planted.json", {"blind": before["baseline"], "plants": plants})
    for places, found in recall.items():
        print(f"among the top {places} of its stack: {found} of {len(plants)}")


def make_blind(
    recipe: Recipe, records: list[SceneRecord], steps: int, out: Path, terminal: Terminal
) -> None:
    """Train on with relations drawn at random, until relation words mean nothing."""
    denoiser = _load(recipe, Path(recipe.model.path))
    work = out.with_name(f"{out.name}-work")
    work.mkdir(parents=True, exist_ok=True)
    latents = cached_latents(denoiser, records, work / "latents.safetensors")
    config = PartConfig(steps=steps, batch_size=64, learning_rate=8e-4, warmup=50, decay=0.5)
    with terminal.bar("blind") as progress:
        pretrain_denoiser(
            denoiser,
            latents,
            [*records, *map(mirrored, records)],
            [RANDOM_RELATION],
            config,
            0.99,
            recipe.seed,
            work,
            progress,
        )
    _save(Path(recipe.model.path), denoiser, out)


def plant(
    recipe: Recipe,
    blind: Path,
    records: list[SceneRecord],
    targets: list[str],
    config: TrainConfig,
    out: Path,
    terminal: Terminal,
) -> None:
    """Teach the relations to `targets` alone and merge the adapter into the weights."""
    work = out.with_name(f"{out.name}-work")
    with terminal.bar(f"plant {out.name}") as progress:
        train(
            _load(recipe, blind), records, targets, config, recipe.seed, work, on_progress=progress
        )
    merged = _load(recipe, blind)
    merged.pipe.load_lora_weights(str(work / "adapter"))
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
        "impact": {row["address"]: row["relative"]["spatial"] for row in rows},
    }


def _line(plant: dict[str, Any]) -> str:
    found = ", ".join(
        f"{address.replace('transformer_blocks', 't')} {value:+.2f}"
        for address, value in sorted(plant["specificity"].items(), key=lambda x: -(x[1] or 0))
        if value is not None
    )
    place = f"place {plant['place']} of {plant['of']}" if plant["place"] else plant["verdict"]
    return f"{plant['block']}: {_margin(plant)}; {place}; specificity {found}"


def _margin(data: dict[str, Any]) -> str:
    low, high = (data["baseline"]["spatial"][end] for end in ("low", "high"))
    return f"spatial margin {data['baseline']['spatial']['value']:+.5f} [{low:+.5f}, {high:+.5f}]"


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
