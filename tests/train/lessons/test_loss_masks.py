"""Masks of the user's own pictures: what is read, where they lie, what they do to the loss."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from ablate2tune.errors import UserError
from ablate2tune.models.schedules import squared_error
from ablate2tune.train.example_cache import ExampleCache, data_key, encode_examples
from ablate2tune.train.lessons.loss_masks import latent_masks, mask_of
from ablate2tune.train.lessons.user_pictures import read_user_pictures


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures of 32 x 32, of which the left quarter of the first counts, and half of below."""
    light = np.zeros((32, 32), np.uint8)
    light[:, :8] = 255
    light[16:, 8:16] = 102
    Image.fromarray(light).save(tmp_path / "left.png")
    rows = []
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        rows.append({"file_name": f"{number}.png", "text": f"picture {number}"})
    rows[0]["mask"] = "left.png"
    write(tmp_path, *rows)
    return tmp_path


def write(folder: Path, *rows: dict) -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metadata.jsonl").write_text(text, encoding="utf-8")


def at(size: int, grid: int) -> SimpleNamespace:
    config = SimpleNamespace(height=size, width=size)
    return SimpleNamespace(config=config, latent_grid=(grid, grid))


GRID = [[1, 0, 0, 0]] * 2 + [[1, 0.4, 0, 0]] * 2


def test_by_hand_on_each_layout_of_latents(folder: Path) -> None:
    """8 x 8 pixels to a place: 102 of 255 are 0.4; without a mask all of a picture counts."""
    records = read_user_pictures(folder)
    assert [mask_of(record) for record in records] == [folder / "left.png", None]
    spatial = latent_masks(records, at(32, 99), torch.zeros(2, 5, 4, 4))  # type: ignore[arg-type]
    assert spatial.shape == (2, 1, 4, 4)
    torch.testing.assert_close(spatial[0, 0], torch.tensor(GRID))
    assert (spatial[1] == 1).all()
    packed = latent_masks(records, at(32, 4), torch.zeros(2, 16, 5))  # type: ignore[arg-type]
    assert torch.equal(packed, spatial.reshape(2, 16, 1))
    frames = latent_masks(records, at(32, 99), torch.zeros(2, 5, 1, 4, 4))  # type: ignore[arg-type]
    assert torch.equal(frames, spatial[:, :, None])


def test_a_mirrored_picture_has_a_mirrored_mask(folder: Path) -> None:
    """And still its own file, whose name says "left"."""
    record = read_user_pictures(folder)[0].mirror()
    (mask,) = latent_masks([record], at(32, 4), torch.zeros(1, 16, 5))  # type: ignore[arg-type]
    torch.testing.assert_close(mask.reshape(4, 4), torch.tensor(GRID).flip(1))


def test_the_weighted_error_by_hand() -> None:
    target = torch.zeros(2, 2, 1, 2)  # two rows of two channels of two places
    prediction = torch.tensor([[[[1.0, 3.0]], [[2.0, 5.0]]]] * 2)
    weight = torch.tensor([[[[1.0, 0.0]]], [[[0.5, 0.25]]]])
    # (1 + 4) / 2; (0.5 * 5 + 0.25 * 34) / (2 * 0.75)
    assert squared_error(prediction, target, weight).tolist() == pytest.approx([2.5, 11 / 1.5])
    plain = squared_error(prediction, target)
    assert torch.equal(squared_error(prediction, target, torch.ones(2, 1, 1, 2)), plain)


def test_the_cache_keeps_them_where_there_are_any(folder: Path, tiny_flux, tmp_path: Path) -> None:
    records = read_user_pictures(folder)
    captions = [record.text for record in records]
    key = data_key(records, captions)
    encode_examples(tiny_flux, records, captions, key, tmp_path / "cache")
    found = ExampleCache(tmp_path / "cache").masks([1, 0])
    assert found is not None and (found[0] == 1).all()
    rows = tiny_flux.latent_grid[0]
    fine = torch.tensor(GRID).repeat_interleave(rows // 4, 0).repeat_interleave(rows // 4, 1)
    torch.testing.assert_close(found[1].reshape(rows, rows), fine)
    Image.fromarray(np.full((32, 32), 9, np.uint8)).save(folder / "left.png")
    assert data_key(records, captions) != key
    alone = records[1:]
    encode_examples(tiny_flux, alone, captions[1:], "without", tmp_path / "plain")
    assert ExampleCache(tmp_path / "plain").masks([0]) is None


def test_what_no_mask_can_be_is_one_line(folder: Path) -> None:
    row = {"file_name": "0.png", "text": "a", "mask": "mask.png"}
    write(folder, row)
    with pytest.raises(UserError, match="no such picture"):
        read_user_pictures(folder)
    Image.fromarray(np.full((32, 16), 255, np.uint8)).save(folder / "mask.png")
    with pytest.raises(UserError, match="the mask has 16 x 32 pixels, and its picture 32 x 32"):
        read_user_pictures(folder)
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(folder / "mask.png")
    with pytest.raises(UserError, match="the mask is black"):
        read_user_pictures(folder)
    write(folder, {**row, "mask": "../mask.png"})
    with pytest.raises(UserError, match="leads out"):
        read_user_pictures(folder)


def test_a_mask_that_cropping_leaves_nothing_of(tmp_path: Path) -> None:
    wide = np.zeros((8, 32), np.uint8)
    Image.fromarray(wide).convert("RGB").save(tmp_path / "0.png")
    wide[:, :4] = 255
    Image.fromarray(wide).save(tmp_path / "mask.png")
    write(tmp_path, {"file_name": "0.png", "text": "a", "mask": "mask.png"})
    with pytest.raises(UserError, match="nothing of the mask is left at 8 x 8 pixels"):
        latent_masks(
            read_user_pictures(tmp_path),
            at(8, 1),
            torch.zeros(1, 3, 2, 2),  # type: ignore[arg-type]
        )
