"""What single cues tell of a recipe's relations, from proposed scenes alone: nothing is rendered.

    python benchmarks/cues.py --groups 650
    python benchmarks/cues.py --groups 400 scenes.relations=[in front of,behind]

Boxes are those of the shapes (`scenes/layouts/projected.py`); who hides whom is not told.
"""

import argparse
from collections import Counter
from pathlib import Path

from ablate2tune.recipe import load_recipe
from ablate2tune.scenes.checking.single_cues import CueScene, cue_check
from ablate2tune.scenes.layouts.projected import projected_boxes
from ablate2tune.scenes.samplers import sample

RECIPE = Path(__file__).parents[1] / "recipes" / "scenes-natural.yaml"


def main() -> None:
    """Print the cues, and the kinds that captions name most."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--groups", type=int, default=650)
    parser.add_argument("overrides", nargs="*")
    asked = parser.parse_args()
    recipe = load_recipe(RECIPE, [f"scenes.images={2 * asked.groups}", *asked.overrides])
    scenes, kinds = [], Counter[str]()
    for index in range(asked.groups):
        group = sample(recipe.scenes, recipe.seed, index, 0, "train")
        for twin, boxes in zip(group["twins"], projected_boxes(group), strict=True):
            row = twin["record"]
            kinds.update(row[role] for role in ("subject", "object", "third") if row[role])
            one, other = (boxes[twin[role]] for role in ("subject", "object"))
            colours = (row["subject_colour"], row["object_colour"])
            scenes.append(CueScene(row["group_id"], row["relation"], one, other, colours))
    check = cue_check(scenes)
    print(*check.lines(), sep="\n")
    print("told by more than is allowed:", check.telling() or "none")
    total = sum(kinds.values())
    print(", ".join(f"{kind} {count / total:.1%}" for kind, count in kinds.most_common(5)))


if __name__ == "__main__":
    main()
