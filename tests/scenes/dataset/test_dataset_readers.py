"""Other people's readers of both formats give the same pictures and captions."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from ablate2tune.scenes.dataset.export import export, write_webdataset
from ablate2tune.scenes.dataset.records import read_dataset


@pytest.fixture
def both_ways(set_by_hand, tmp_path):
    """The set by hand and its shards, one for each scene."""
    (set_by_hand / "sidecars").mkdir()
    for record in read_dataset(set_by_hand):
        record.sidecar_path.write_text(json.dumps({"record": record.row}))
    records = read_dataset(set_by_hand)
    return set_by_hand, write_webdataset(records, tmp_path / "shards", per_shard=1)


def by_datasets(folder, cache):
    datasets = pytest.importorskip("datasets")
    rows = datasets.load_dataset(
        "imagefolder", data_dir=str(folder), cache_dir=str(cache), split="train"
    )
    return [(np.asarray(row["image"].convert("RGB")), row["text"]) for row in rows]


def by_webdataset(folder, *decoders):
    webdataset = pytest.importorskip("webdataset", reason="webdataset is not installed")
    shards = [str(path) for path in sorted(folder.glob("*.tar"))]
    rows = webdataset.WebDataset(shards, shardshuffle=False).decode(*decoders)
    return list(rows)


def test_webdataset_and_imagefolder_give_the_same_pairs(both_ways, tmp_path):
    folder, shards = both_ways
    expected = by_datasets(folder, tmp_path / "cache")
    found = [
        (np.asarray(row["png"].convert("RGB")), row["txt"]) for row in by_webdataset(shards, "pil")
    ]
    assert len(found) == len(expected) == 2
    for (image, text), (other, caption) in zip(found, expected, strict=True):
        assert text == caption and (image == other).all()
    assert (found[1][0][0, 1] == (255, 0, 7)).all() and found[1][1].startswith(
        "a red ball right of"
    )


def test_every_export_leaves_the_imagefolder_as_it_was(both_ways, tmp_path):
    folder, _ = both_ways
    before = by_datasets(folder, tmp_path / "before")
    export(folder, "webdataset")
    after = by_datasets(folder, tmp_path / "after")
    assert [text for _, text in after] == [text for _, text in before]


def test_webdataset_gives_masks_depth_and_the_sidecar(both_ways):
    rows = by_webdataset(both_ways[1])
    for row, relation in zip(rows, ("left of", "right of"), strict=True):
        assert row["json"]["record"]["relation"] == relation
        # As bytes: webdataset's own image decoders make eight bits of red, green and blue of them.
        mask, depth = (
            np.asarray(Image.open(io.BytesIO(row[f"{k}.png"]))) for k in ("mask", "depth")
        )
        assert mask[0, 1] == 1 and mask[2, 3] == 2 and mask.sum() == 3
        assert depth[0, 0] == 2500 and depth[3, 0] == 65535
