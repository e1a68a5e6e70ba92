import json

import numpy as np
import pytest
from PIL import Image

from ablate2tune.errors import UserError
from ablate2tune.scenes.dataset.records import (
    data_identity,
    load_depth,
    load_images,
    load_masks,
    read_dataset,
)


def test_rows_and_pictures(set_by_hand):
    records = read_dataset(set_by_hand)
    assert [r.scene_id for r in records] == ["g000000-a", "g000000-b"]
    assert records[0].text == records[1].foil == "a red ball left of a blue cube"
    images, masks, depth = load_images(records), load_masks(records), load_depth(records)
    assert images.shape == (2, 4, 4, 3) and images.dtype == np.uint8
    assert images[1, 0, 1].tolist() == [255, 0, 7] and images[1, 3, 3].tolist() == [100] * 3
    assert masks.dtype == np.uint8 and masks.sum() == 2 * (1 + 2) and masks[0, 2, 3] == 2
    assert depth.dtype == np.float32 and depth[0, 0, 0] == 2.5
    assert depth[1, 3, 0] == pytest.approx(65.535)


def test_loads_as_an_imagefolder(set_by_hand, tmp_path):
    datasets = pytest.importorskip("datasets")
    rows = datasets.load_dataset(
        "imagefolder", data_dir=str(set_by_hand), cache_dir=str(tmp_path / "cache"), split="train"
    )
    assert rows["text"] == ["a red ball left of a blue cube", "a red ball right of a blue cube"]
    assert rows[1]["image"].getpixel((0, 0)) == (100, 100, 100)


def test_no_folder(tmp_path):
    with pytest.raises(UserError, match=r"nowhere: no such data set; .*render-data"):
        read_dataset(tmp_path / "nowhere")


@pytest.mark.parametrize("content", [None, ""])
def test_no_rows(set_by_hand, content):
    metadata = set_by_hand / "metadata.jsonl"
    metadata.unlink() if content is None else metadata.write_text(content)
    with pytest.raises(UserError, match=r"metadata.jsonl: missing or empty"):
        read_dataset(set_by_hand)


def test_missing_picture(set_by_hand):
    (set_by_hand / "images/g000000-b.png").unlink()
    with pytest.raises(UserError, match=r"g000000-b.png: no such picture"):
        read_dataset(set_by_hand)


def test_torn_picture(set_by_hand):
    path = set_by_hand / "images/g000000-b.png"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(UserError, match=r"g000000-b.png: the picture is damaged"):
        read_dataset(set_by_hand)


def test_what_is_not_a_picture(set_by_hand):
    (set_by_hand / "masks/g000000-a.png").write_text("no picture")
    with pytest.raises(UserError, match="the picture is damaged"):
        load_masks(read_dataset(set_by_hand))


def test_pictures_of_two_sizes(set_by_hand):
    Image.new("RGB", (6, 5)).save(set_by_hand / "images/g000000-b.png")
    with pytest.raises(UserError, match=r"6 x 5 pixels, but the first picture has 4 x 4"):
        load_images(read_dataset(set_by_hand))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"text": " "}, r"metadata.jsonl:2: empty caption in 'text'"),
        ({"foil": None}, r"metadata.jsonl:2: 'foil' is not text"),
        ({"group_id": ...}, r"metadata.jsonl:2: no column 'group_id'"),
        ({"file_name": 5}, r"metadata.jsonl:2: file_name 5 is no file below"),
        ({"file_name": "/a.png"}, r"metadata.jsonl:2: file_name '/a.png' is no file below"),
    ],
)
def test_bad_rows(set_by_hand, change, message):
    metadata = set_by_hand / "metadata.jsonl"
    rows = [json.loads(line) for line in metadata.read_text().splitlines()]
    rows[1] = {k: v for k, v in {**rows[1], **change}.items() if v is not ...}
    metadata.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UserError, match=message):
        read_dataset(set_by_hand)
    if "file_name" in change:
        with pytest.raises(UserError, match=message):
            data_identity(set_by_hand)


def test_a_picture_replaced_by_hand_is_read_as_it_is_seen(set_by_hand):
    grey = np.full((4, 4), 32768, np.uint16)
    Image.fromarray(grey).save(set_by_hand / "images/g000000-a.png")
    turned, exif = np.zeros((4, 4, 3), np.uint8), Image.Exif()
    turned[0], exif[0x0112] = 255, 3
    Image.fromarray(turned).save(set_by_hand / "images/g000000-b.png", exif=exif)
    first, second = load_images(read_dataset(set_by_hand))
    assert (first == 128).all()
    assert (second == turned[::-1]).all()


def test_every_row_of_a_file_written_by_hand_counts(set_by_hand):
    metadata = set_by_hand / "metadata.jsonl"
    lines = metadata.read_text().splitlines()
    metadata.write_text("\n\n".join(lines))  # blank lines, and no newline at the end
    assert [record.scene_id for record in read_dataset(set_by_hand)] == ["g000000-a", "g000000-b"]
    metadata.write_text("\n".join([*lines, lines[0]]))
    with pytest.raises(UserError, match=r"metadata.jsonl:3: says the same as line 1"):
        read_dataset(set_by_hand)
    metadata.write_text("\n".join([*lines, lines[0].replace('"seed": ', '"seed": 1')]))
    with pytest.raises(UserError, match="two rows have the scene_id 'g000000-a'"):
        read_dataset(set_by_hand)
