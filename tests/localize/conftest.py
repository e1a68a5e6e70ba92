"""A small hand-made data set: pictures of noise with the rows that a rendered one has."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ablate2tune.scenes.dataset import SceneRecord
from ablate2tune.scenes.vocabulary import COLOURS, KINDS, OPPOSITE, RELATIONS, caption, pair_caption


@pytest.fixture(scope="session")
def make_records(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[SceneRecord]]:
    """Makes a data set of that many groups in a folder of its own."""

    def make(groups: int, size: int = 32, split: str = "train") -> list[SceneRecord]:
        return _records(tmp_path_factory.mktemp("data"), groups, size, split)

    return make


def _records(folder: Path, groups: int, size: int, split: str) -> list[SceneRecord]:
    """Two twins per group, opposite relations, pictures of seeded noise."""
    rng = np.random.default_rng(5)
    records = []
    for group in range(groups):
        c1, c2, wrong = rng.permutation(COLOURS)[:3]
        k1, k2 = rng.choice(KINDS, 2)
        other = next(kind for kind in KINDS if kind not in (k1, k2))
        first = RELATIONS[(group * 2) % len(RELATIONS)]
        for twin, relation in enumerate((first, OPPOSITE[first])):
            name = f"{group:04d}-{twin}"
            pixels = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{name}.png")
            records.append(
                SceneRecord(
                    file_name=f"{name}.png",
                    text=caption(c1, k1, relation, c2, k2),
                    relation=relation,
                    subject=str(k1),
                    subject_colour=str(c1),
                    object=str(k2),
                    object_colour=str(c2),
                    foil=caption(c1, k1, OPPOSITE[relation], c2, k2),
                    foil_colour=caption(wrong, k1, relation, c2, k2),
                    foil_object=caption(c1, other, relation, c2, k2),
                    pair_text=pair_caption(c1, k1, c2, k2),
                    scene_id=name,
                    group_id=f"{group:04d}",
                    seed=group,
                    split=split,
                    folder=folder,
                )
            )
    return records
