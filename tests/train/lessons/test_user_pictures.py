import json
from pathlib import Path
from random import Random

import numpy as np
import pytest
from PIL import Image

from ablate2tune.errors import UserError
from ablate2tune.scenes.dataset.records import SceneRecord
from ablate2tune.scenes.scenes_config import CaptionRates
from ablate2tune.train.lessons.user_pictures import fitted, load_pictures, read_user_pictures
from ablate2tune.train.step_plan import captions_of, choose_caption, examples_at, mixed_at
from ablate2tune.train.train_config import TrainConfig


def written(folder: Path, *rows: dict) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metadata.jsonl").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A wide picture, and a tall one that its camera wrote lying down."""
    wide = np.zeros((4, 12, 3), np.uint8)
    wide[:, 4:8] = 200
    Image.fromarray(wide).save(tmp_path / "wide.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(wide).save(tmp_path / "turned.png", exif=turned)
    return written(
        tmp_path,
        {"file_name": "wide.png", "text": "a cup left of a book", "foil": "a cup right of a book"},
        {"file_name": "turned.png", "text": "a lamp", "licence": "mine"},
    )


def test_pictures_are_covered_and_cropped_around_their_centre(folder: Path) -> None:
    users = read_user_pictures(folder)
    assert [record.text for record in users] == ["a cup left of a book", "a lamp"]
    seen = load_pictures(users, 4, 4)
    assert seen.shape == (2, 4, 4, 3)
    assert (seen == 200).all()  # the middle third of both
    mirrored = load_pictures([users[0].mirror()], 4, 8)
    assert (mirrored == load_pictures(users[:1], 4, 8)[:, :, ::-1]).all()


@pytest.mark.parametrize(
    "shape, size, columns",
    [((2, 6), (2, 2), [2, 3]), ((2, 5), (2, 4), [0, 1, 2, 3]), ((6, 2), (2, 2), [0, 1])],
)
def test_fitted_by_hand(shape, size, columns: list[int]) -> None:
    picture = np.zeros((*shape, 3), np.uint8)
    picture += np.arange(shape[1], dtype=np.uint8)[None, :, None]
    found = fitted(picture, *size)
    assert found.shape == (*size, 3)
    assert found[0, :, 0].tolist() == columns


def test_a_small_picture_is_enlarged() -> None:
    assert fitted(np.full((3, 2, 3), 7, np.uint8), 8, 8).tolist() == [[[7] * 3] * 8] * 8


def test_a_share_of_the_places_is_the_users_and_epochs_are_whole() -> None:
    seen = [i for step in range(1, 21) for i in mixed_at(5, step, 4, 9, 3, 0.25)]
    users = [i for i in seen if i >= 9]
    assert len(users) == 20 and sorted(users[:3]) == sorted(users[3:6]) == [9, 10, 11]
    scenes = [i for i in seen if i < 9]
    assert sorted(scenes[:9]) == sorted(scenes[9:18]) == list(range(9))
    assert all(sum(i >= 9 for i in seen[k : k + 4]) == 1 for k in range(0, 80, 4))
    assert scenes[:27] == examples_at(5, 1, 27, 9)


def test_users_captions_are_always_stated_in_full(folder: Path) -> None:
    with_foil, without = read_user_pictures(folder)
    config = TrainConfig(plain_captions=0.5, contrast=1.0, caption_dropout=0.1)
    rates = CaptionRates(foil=0.5)

    def said(record: SceneRecord, draw: float):
        return choose_caption(record, draw, config, rates, Random(0))

    assert said(without, 0.3) == said(without, 0.9) == ("a lamp", True, None)
    assert said(with_foil, 0.9).foil == "a cup right of a book"
    assert said(without, 0.05).text == ""
    assert captions_of(without, config, rates) == ["a lamp", ""]
    assert captions_of(with_foil, config, rates)[-1] == "a cup right of a book"


@pytest.mark.parametrize(
    "row, told",
    [
        ({"file_name": "wide.png"}, "'text' is missing"),
        ({"file_name": "gone.png", "text": "a"}, "no such picture"),
        ({"file_name": "../wide.png", "text": "a"}, "leads out"),
        (
            {"file_name": "wide.png", "text": "a", "split": "trian"},
            "split is 'trian'; write 'train'",
        ),
        ({"file_name": "wide.png", "text": "a", "group": [1]}, r"group is \[1\]"),
        ({"file_name": "wide.png", "text": "a", "foil": "a"}, "the text itself"),
    ],
)
def test_what_a_row_lacks_is_one_line(folder: Path, row: dict, told: str) -> None:
    with pytest.raises(UserError, match=told) as refused:
        read_user_pictures(written(folder, row))
    assert "\n" not in str(refused.value)
