"""Real renders, tiny."""

import hashlib
import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from ablate2tune.errors import UserError
from ablate2tune.scenes.dataset.records import load_depth, load_images, load_masks, read_dataset
from ablate2tune.scenes.rendering.preview import preview
from ablate2tune.scenes.rendering.render import render_dataset
from ablate2tune.scenes.scenes_config import ScenesConfig
from ablate2tune.scenes.vocabulary import KINDS

TINY = ScenesConfig(
    images=4, size=32, samples=2, workers=1, objects=["ball", "cube"], colours=["red", "blue"],
    relations=["left of", "right of"], holdout=0.0,
)  # fmt: skip

pytestmark = pytest.mark.usefixtures("blender")


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes") / "tiny"
    calls = []
    summary = render_dataset(
        TINY, 1, folder, lambda done, total, note="": calls.append((done, total))
    )
    return folder, summary, calls


def contents(folder):
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def pixels(folder):
    return load_images(read_dataset(folder)).astype(int)


def test_summary_and_progress(rendered):
    _, summary, calls = rendered
    assert (summary.images, summary.rendered_now) == (4, 4)
    assert summary.relations == {"left of": 2, "right of": 2}
    assert calls == [(0, 4), (2, 4), (4, 4)]


def test_the_subject_is_on_the_side_the_caption_says(rendered):
    records = read_dataset(rendered[0])
    for record, mask in zip(records, load_masks(records), strict=True):
        subject, other = (np.nonzero(mask == label)[1].mean() for label in (1, 2))
        assert (subject < other) == (record.relation == "left of")


def test_the_masks_lie_on_the_colours(rendered):
    records = read_dataset(rendered[0])
    channel = {"red": 0, "blue": 2}
    for record, image, mask in zip(records, load_images(records), load_masks(records), strict=True):
        for label, colour in ((1, record.subject_colour), (2, record.object_colour)):
            mean = image[mask == label].mean(axis=0)
            assert mean.argmax() == channel[colour] and mean.max() > 2 * mean.min()


def test_depth_agrees_with_the_camera(rendered):
    records = read_dataset(rendered[0])
    depth = load_depth(records)
    for record, metres in zip(records, depth, strict=True):
        pose = np.array(json.loads(record.sidecar_path.read_text())["camera"]["camera_to_world"])
        k = np.array(json.loads(record.sidecar_path.read_text())["camera"]["intrinsics"])
        # The ray through the bottom left pixel meets the ground z = 0 at the stored depth.
        x, y = (0.5 - k[0, 2]) / k[0, 0], (31.5 - k[1, 2]) / k[1, 1]
        point = pose @ [metres[31, 0] * x, -metres[31, 0] * y, -metres[31, 0], 1]
        assert point[2] == pytest.approx(0, abs=0.002)


def test_a_second_run_changes_nothing(rendered):
    folder, _, _ = rendered
    before = contents(folder)
    again = render_dataset(TINY, 1, folder, on_message=pytest.fail)
    assert (again.rendered_now, again.damaged) == (0, 0)
    assert contents(folder) == before
    assert not [name for name in before if name.endswith((".tmp", ".lock"))]


def test_a_torn_set_is_mended(rendered, tmp_path):
    whole, _, _ = rendered
    torn = tmp_path / "torn"
    shutil.copytree(whole, torn)
    image = torn / "images/g000001-a.png"
    image.write_bytes(image.read_bytes()[:100])
    (torn / "sidecars/g000000-b.json").write_bytes(b"\xff{")
    (torn / "images/g000001-b.png.77.tmp").write_bytes(b"half")
    (torn / "metadata.jsonl").write_text("{")
    lines = []
    summary = render_dataset(TINY, 1, torn, on_message=lines.append)
    assert (summary.rendered_now, summary.damaged) == (4, 2)
    assert lines == [
        "render-data: 2 damaged, rendered again: "
        "sidecars/g000000-b.json is damaged, images/g000001-a.png is damaged"
    ]
    assert np.abs(pixels(torn) - pixels(whole)).max() <= 1
    names = ("metadata.jsonl", "dataset.json")
    assert all((torn / n).read_bytes() == (whole / n).read_bytes() for n in names)
    assert contents(torn).keys() == contents(whole).keys()


def test_a_preview_shows_the_scenes_that_the_render_begins_with(rendered, tmp_path):
    config = TINY.model_copy(update={"images": 400, "samples": 64})
    shown = preview(config, 1, tmp_path / "sheets" / "preview.png")
    assert [r.text for r in shown] == [r.text for r in read_dataset(rendered[0])]
    with Image.open(tmp_path / "sheets" / "preview.png") as sheet:
        assert sheet.width == 4 * 96 and 32 < sheet.height < 32 + 60
        corner = np.asarray(sheet)[-32:, :32].astype(int)
    # The first picture, with more samples here than there: the same scene up to noise.
    assert np.abs(corner - pixels(rendered[0])[0]).mean() < 8


def test_another_recipe_is_refused(rendered):
    other = TINY.model_copy(update={"size": 64})
    with pytest.raises(UserError, match=r"holds another data set: config.size was 32, is 64"):
        render_dataset(other, 1, rendered[0])


def test_a_folder_without_scenes_belongs_to_nobody(tmp_path):
    for size in (32, 48):
        config = TINY.model_copy(update={"images": 2, "min_area": 0.9, "max_attempts": 1})
        with pytest.raises(UserError, match="no acceptable view"):
            render_dataset(config.model_copy(update={"size": size}), 1, tmp_path)
    with pytest.raises(UserError, match="no executable"):
        render_dataset(TINY.model_copy(update={"blender": "/nowhere/blender"}), 1, tmp_path / "b")
    assert not any(path for path in (tmp_path / "b").iterdir() if not path.name.startswith("."))


def test_no_acceptable_view_tells_the_counts(tmp_path):
    config = TINY.model_copy(update={"images": 2, "min_area": 0.9, "max_attempts": 3})
    message = (
        r"failed.jsonl: the first group of 'left of' failed: no acceptable view in 3 attempts "
        r"\(1\): too small in the frame \(3\); .* lower scenes\.min_area"
    )
    with pytest.raises(UserError, match=message):
        render_dataset(config, 1, tmp_path / "set")
    assert not (tmp_path / "set/images").exists()


@pytest.mark.slow
def test_nine_kinds_with_one_and_two_workers(tmp_path):
    config = ScenesConfig(images=36, size=64, objects=list(KINDS), workers=1)
    for workers in (1, 2):
        render_dataset(config.model_copy(update={"workers": workers}), 5, tmp_path / str(workers))
    one, two = tmp_path / "1", tmp_path / "2"
    assert (one / "metadata.jsonl").read_bytes() == (two / "metadata.jsonl").read_bytes()
    assert np.abs(pixels(one) - pixels(two)).max() <= 1
    shown = {r.subject for r in read_dataset(one)} | {r.object for r in read_dataset(one)}
    assert shown == set(KINDS)


@pytest.mark.slow
def test_a_blender_executable_shows_the_same_scenes(rendered, tmp_path):
    named = os.environ.get("ABLATE2TUNE_BLENDER") or shutil.which("blender")
    if named is None:
        pytest.skip("no blender executable on this machine")
    folder = tmp_path / "set"
    render_dataset(TINY.model_copy(update={"blender": named}), 1, folder)
    records, reference = read_dataset(folder), read_dataset(rendered[0])
    assert [r.text for r in records] == [r.text for r in reference]
    assert (load_masks(records) == load_masks(reference)).all()
    ours, theirs = pixels(folder), pixels(rendered[0])
    for image, other, mask in zip(ours, theirs, load_masks(records), strict=True):
        for label in (0, 1, 2):  # region means: one of the two has no denoiser
            gap = image[mask == label].mean(axis=0) - other[mask == label].mean(axis=0)
            assert np.abs(gap).max() < 20


def test_pngs_hold_pixels_alone(rendered, pictures):
    path = next((rendered[0] / "images").iterdir())
    data = path.read_bytes()
    assert pictures.stripped(data) == data
    with Image.open(path) as image:
        assert not image.info
