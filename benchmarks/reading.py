"""How well `compare` reads relations from pictures whose objects and depth are known.

    ablate2tune render-data recipes/scenes-natural.yaml scenes.images=260 scenes.preset=draft64
    python benchmarks/reading.py data/scenes-natural

The true boxes, masks and depth of rendered scenes stand in for a zero-shot judge's models, so what
is left is the error of the rules: once with boxes alone, once with the masks.
"""

import argparse
from collections import Counter
from pathlib import Path

import numpy as np

from ablate2tune.compare.judges.boxes import own_pixels, relative_depth
from ablate2tune.compare.prompts import JUDGED
from ablate2tune.compare.relation_reading import Box, Detection, read_relation
from ablate2tune.scenes.dataset.records import load_depth, load_masks, read_dataset

LEAST = 9
"""Pixels of an object that is seen at all."""
RANGE = 3.0
"""Metres of a picture's range of depth (`ZeroShotConfig.depth_range`)."""


def main() -> None:
    """Print, by relation, how many scenes are read rightly."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    records = [r for r in read_dataset(parser.parse_args().folder) if r.relation in JUDGED]
    scenes, right = Counter[str](), {"boxes": Counter[str](), "masks": Counter[str]()}
    pictures = zip(records, load_masks(records), load_depth(records), strict=True)
    for record, mask, metres in pictures:
        masks = [mask == k for k in (1, 2)]
        if min(map(np.count_nonzero, masks)) < LEAST:
            continue
        scenes[record.relation] += 1
        depth = relative_depth(1 / np.where(metres > 0, metres, np.inf), RANGE)
        boxes = [_box(own) for own in masks]
        for name, pixels in (("boxes", own_pixels(boxes, *mask.shape)), ("masks", masks)):
            pair = [_seen(b, p, depth, name) for b, p in zip(boxes, pixels, strict=True)]
            right[name][record.relation] += read_relation(*pair) == record.relation
    for name, counted in right.items():
        told = ", ".join(f"{r} {counted[r]} of {scenes[r]}" for r in scenes)
        print(f"with {name}: {sum(counted.values())} of {sum(scenes.values())}: {told}")


def _seen(box: Box, pixels: np.ndarray, depth: np.ndarray, name: str) -> Detection:
    low, middle, high = (float(d) for d in np.percentile(depth[pixels], (10, 50, 90)))
    spread = high - low if name == "masks" else None
    return Detection("-", box, pixels, middle, 1.0, None, spread)


def _box(pixels: np.ndarray) -> Box:
    rows, columns = np.nonzero(pixels)
    edges = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    left, top, right, bottom = (float(edge) for edge in edges)
    return left, top, right, bottom


if __name__ == "__main__":
    main()
