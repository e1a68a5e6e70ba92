import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ablate2tune.errors import UserError
from ablate2tune.scenes.dataset.export import export, run_lengths, write_webdataset
from ablate2tune.scenes.dataset.records import (
    COLUMNS,
    index_files,
    load_depth,
    load_images,
    load_masks,
    read_dataset,
)
from ablate2tune.scenes.dataset.shards import read_shard


def body(kind, box):
    return {"kind": kind, "colour": "red", "box": box, "visible": 0.5}


@pytest.fixture
def folder(set_by_hand):
    """The set by hand with sidecars that name two objects."""
    (set_by_hand / "sidecars").mkdir(exist_ok=True)
    for record in read_dataset(set_by_hand):
        note = {
            "objects": {
                "subject": body("ball", [0.0, 0.25, 0.5, 1.0]),
                "object": body("cube", [0.5, 0.5, 1.0, 1.0]),
            },
            "mask_values": {"background": 0, "subject": 1, "object": 2},
            "relation_asserted": record.relation,
            "relations_true": [record.relation],
            "slack": {record.relation: {"gap": 0.25, "visible": 0.5}},
            "rejections": ["outside the frame", "outside the frame"],
        }
        record.sidecar_path.write_text(json.dumps(note))
    return set_by_hand


@pytest.mark.parametrize(
    "mask, counts",
    [
        ([[0, 0], [0, 0]], [4]),
        ([[1, 1], [1, 1]], [0, 4]),
        ([[0, 1], [1, 1]], [1, 3]),
        ([[1, 0], [0, 1]], [0, 1, 2, 1]),
    ],
)
def test_run_lengths_go_down_the_columns(mask, counts):
    assert run_lengths(np.array(mask, bool)) == counts


def test_coco(folder):
    content = json.loads(export(folder, "coco").read_text())
    records = read_dataset(folder)
    assert [image["file_name"] for image in content["images"]] == [r.file_name for r in records]
    assert content["categories"] == [{"id": 1, "name": "ball"}, {"id": 2, "name": "cube"}]
    masks = load_masks(records)
    assert len(content["annotations"]) == 4
    for made in content["annotations"]:
        mask = masks[made["image_id"] - 1] == {"subject": 1, "object": 2}[made["role"]]
        x, y, width, height = made["bbox"]
        assert made["area"] == mask.sum() == mask[y : y + height, x : x + width].sum()
        assert width * height == 1  # one pixel each
        runs = made["segmentation"]["counts"]
        flat = np.repeat(np.arange(len(runs)) % 2, runs)
        assert np.array_equal(mask, flat.reshape(4, 4).T)
    assert content["annotations"][0]["amodal_bbox"] == [0.0, 1.0, 2.0, 3.0]


def test_coco_names_the_licences_of_ones_own_files(folder):
    assert json.loads(export(folder, "coco").read_text())["licenses"] == []
    note = {"files": {"chest.glb": {"licence": "CC-BY-4.0", "author": "J", "sha256": "0"}}}
    (folder / "dataset.json").write_text(json.dumps(note))
    assert json.loads(export(folder, "coco").read_text())["licenses"] == [
        {"id": 1, "name": "CC-BY-4.0", "url": "", "file": "chest.glb"}
    ]


def test_shards_never_lie_among_the_pictures(folder, monkeypatch):
    """Readers of an imagefolder take archives below it for pictures of its own."""
    assert export(folder, "webdataset") == folder.with_name("set-webdataset")
    for inside in (folder, folder / "shards"):
        with pytest.raises(UserError, match="would be read as pictures of it"):
            export(folder, "webdataset", inside)
    assert not list(folder.rglob("*.tar"))
    monkeypatch.chdir(folder.parent)
    assert export(Path("set"), "webdataset") == Path("set-webdataset")


def test_shards_of_another_set_are_not_read_with_these(folder, tmp_path):
    records = read_dataset(folder)
    write_webdataset(records, tmp_path / "out", per_shard=1)
    write_webdataset(records, tmp_path / "out", per_shard=1)
    with pytest.raises(UserError, match=r"out: holds shards of another set, train-000001\.tar"):
        write_webdataset(records[:1], tmp_path / "out", per_shard=1)
    records[0].mask_path.unlink()
    with pytest.raises(UserError, match=r"masks/g000000-a\.png: no such file; render the data"):
        write_webdataset(records, tmp_path / "new", per_shard=1)


def test_webdataset_members_lie_side_by_side(folder, tmp_path):
    records = read_dataset(folder)
    for out in ("one", "two"):
        write_webdataset(records, tmp_path / out, per_shard=1)
    shards = sorted((tmp_path / "one").iterdir())
    assert [shard.name for shard in shards] == ["train-000000.tar", "train-000001.tar"]
    for shard, record in zip(shards, records, strict=True):
        with tarfile.open(shard) as tar:
            name = record.scene_id
            endings = ("png", "txt", "json", "mask.png", "depth.png")
            assert tar.getnames() == [f"{name}.{ending}" for ending in endings]
            assert tar.extractfile(f"{name}.txt").read().decode() == record.text
            assert tar.extractfile(f"{name}.png").read() == record.image_path.read_bytes()
        assert shard.read_bytes() == (tmp_path / "two" / shard.name).read_bytes()


def test_gallery_names_thumbnails_beside_it_and_what_it_filters_by(folder, tmp_path):
    out = export(folder, "gallery", tmp_path / "seen" / "page.html")
    page = out.read_text()
    start = page.index("const scenes = ") + len("const scenes = ")
    scenes = json.JSONDecoder().raw_decode(page[start:])[0]
    assert [scene["text"] for scene in scenes] == [r.text for r in read_dataset(folder)]
    assert {scene["relation"] for scene in scenes} == {"left of", "right of"}
    assert scenes[0]["slack"] == 0.25 and scenes[0]["tightest"] == "gap"
    assert scenes[0]["rejections"] == {"outside the frame": 2}
    assert scenes[0]["image"] == "page/g000000-a.image.jpg"
    with Image.open(out.parent / scenes[0]["mask"]) as mask:
        assert np.asarray(mask).tolist() == load_masks(read_dataset(folder))[0].tolist()
    assert sorted(p.name for p in (tmp_path / "seen").rglob("*")) == [
        "g000000-a.image.jpg", "g000000-a.mask.png", "g000000-b.image.jpg", "g000000-b.mask.png",
        "page", "page.html",
    ]  # fmt: skip
    assert "http" not in page and " src=" not in page.split("<script>")[0]


def test_the_gallery_shows_pictures_as_a_person_sees_them(folder):
    """16-bit grey, which an editor may have left, was white."""
    path = folder / "images/g000000-a.png"
    Image.fromarray(np.full((4, 4), 32768, np.uint16)).save(path)
    export(folder, "gallery")
    with Image.open(folder / "gallery" / "g000000-a.image.jpg") as shown:
        assert np.abs(np.asarray(shown).astype(int) - 128).max() < 4
    (folder / "masks/g000000-b.png").unlink()
    with pytest.raises(UserError, match=r"masks/g000000-b\.png: no such picture; render the data"):
        export(folder, "gallery")


def test_a_caption_cannot_end_the_script(folder):
    path = folder / "metadata.jsonl"
    rows = [json.loads(line) for line in path.open()]
    rows[0]["text"] = "a </script><b> ball"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = export(folder, "gallery").read_text()
    assert page.count("</script>") == 1 and "a <\\/script><b> ball" in page


def test_an_unknown_format(folder):
    with pytest.raises(UserError, match=r"^--format coc: no data format 'coc'.*coco"):
        export(folder, "coc")


@pytest.fixture
def shards(folder, tmp_path):
    """The set as one shard for each scene, the sidecars with their records."""
    for record in read_dataset(folder):
        note = record.sidecar()
        note["record"] = {column: getattr(record, column) for column in COLUMNS}
        record.sidecar_path.write_text(json.dumps(note))
    return write_webdataset(read_dataset(folder), tmp_path / "shards", per_shard=1)


def test_shards_read_back_as_they_were_written(folder, shards):
    ours, theirs = read_dataset(shards), read_dataset(folder)
    assert [r.text for r in ours] == [r.text for r in theirs]
    for load in (load_images, load_masks, load_depth):
        assert (load(ours) == load(theirs)).all()
    assert [r.sidecar() for r in ours] == [r.sidecar() for r in theirs]
    assert [r.image_path.read_bytes() for r in ours] == [r.image_path.read_bytes() for r in theirs]
    assert index_files(shards) == sorted(shards.iterdir())
    again = write_webdataset(ours, shards.with_name("again"), per_shard=1)
    assert [p.read_bytes() for p in index_files(again)] == [
        p.read_bytes() for p in index_files(shards)
    ]


def test_samples_are_grouped_by_their_names_up_to_the_first_dot(shards):
    """As webdataset groups them: neighbours with one key are one sample."""
    with tarfile.open(shards / "train-000000.tar") as tar:
        keys = [name.split(".", 1)[0] for name in tar.getnames()]
        assert set(keys) == {"g000000-a"}
        assert all(info.isfile() and "/" not in info.name for info in tar)
        assert json.load(tar.extractfile("g000000-a.json"))["record"]["relation"] == "left of"


def add(shard, name, data=b"{}"):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    with tarfile.open(shard, "a") as tar:
        tar.addfile(info, io.BytesIO(data))


def test_shards_that_are_not_right(shards):
    one, two = index_files(shards)
    whole = one.read_bytes()
    one.write_bytes(whole[:700])
    with pytest.raises(UserError, match=r"train-000000.tar"):
        read_dataset(shards)
    one.write_bytes(whole)
    add(one, "other.png")
    with pytest.raises(UserError, match=r"train-000000.tar/other: no json in the sample"):
        read_dataset(shards)
    add(one, "other.json", b"{}")
    with pytest.raises(UserError, match=r"other: its json is not a scene's"):
        read_dataset(shards)
    add(one, "g000000-a.cls")
    with pytest.raises(UserError, match=r"files of sample 'g000000-a' do not lie side by side"):
        list(read_shard(one))
    two.write_bytes(b"no tar")
    one.unlink()
    with pytest.raises(UserError, match=r"train-000001.tar: the shard is damaged"):
        read_dataset(shards)
