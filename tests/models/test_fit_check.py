"""One check of pictures and texts against the model, asked by each stage before any work."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from ablate2tune.cli import main
from ablate2tune.errors import UserError
from ablate2tune.models import Denoiser, check_fit


def picture(folder: Path, width: int, height: int) -> Path:
    path = folder / f"{width}x{height}.png"
    Image.new("RGB", (width, height)).save(path)
    return path


def test_pictures_of_another_size(tiny_flux: Denoiser, tmp_path: Path) -> None:
    check_fit(tiny_flux, [picture(tmp_path, 32, 32)], [])
    # As many tokens, and another picture.
    wide = picture(tmp_path, 64, 16)
    with pytest.raises(UserError, match=r"64x16\.png: 64 x 16 pixels, .* runs at 32 x 32"):
        check_fit(tiny_flux, [picture(tmp_path, 32, 32), wide], [])
    with pytest.raises(UserError, match=r"gone\.png: the picture is missing or damaged"):
        check_fit(tiny_flux, [tmp_path / "gone.png"], [])


def test_texts_that_would_be_cut(tiny_flux: Denoiser) -> None:
    # A word is a token, and T5 adds an end: fifteen words are sixteen tokens, all there are.
    check_fit(tiny_flux, [], ["ball " * 15])
    with pytest.raises(UserError, match=r"has 17 tokens, and the model is given 16: it would"):
        check_fit(tiny_flux, [], ["ball " * 15, "ball " * 16])


@pytest.mark.parametrize(
    "dtype, mend",
    [
        ("float32", "check the model's weights"),
        ("bfloat16", "use model.dtype=float32"),
        ("float16", "use model.dtype=float32, or bfloat16"),
    ],
)
def test_pictures_that_are_not_finite(tiny_flux: Denoiser, dtype: str, mend: str) -> None:
    tiny_flux.pipe.vae.decoder.conv_out.bias.data.fill_(torch.nan)
    tiny_flux.config = tiny_flux.config.model_copy(update={"dtype": dtype})
    with pytest.raises(UserError) as caught:
        tiny_flux.sample(["a red ball"], [0], steps=1)
    where = f"model.dtype = {dtype}"
    assert str(caught.value) == f"{where}: the sampled pictures are not finite; {mend}"


@pytest.fixture
def recipe(tiny_flux_folder: Path, make_records, tmp_path: Path) -> Path:
    """A recipe over scenes of 32 px, for a model that would also run at 64."""
    records = make_records(3)
    rows = [dataclasses.asdict(record) | {"folder": ""} for record in records]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (records[0].folder / "metadata.jsonl").write_text(text, encoding="utf-8")
    settings = {
        "name": "fit",
        "seed": 1,
        "runs": str(tmp_path / "runs"),
        "model": {"path": str(tiny_flux_folder), "device": "cpu", "height": 32, "width": 32},
        "scenes": {"folder": str(records[0].folder)},
        "localize": {"groups": 2, "calibration_groups": 1, "sigmas": [0.5]},
        "train": {"targets": "all", "steps": 1, "validation_images": 2},
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


@pytest.mark.parametrize("command", ["localize", "train"])
@pytest.mark.parametrize(
    "change, line",
    [
        ("model.height=64", "32 x 32 pixels, but the model runs at 32 x 64"),
        ("model.max_sequence_length=8", "tokens, and the model is given 8: it would be cut"),
    ],
)
def test_stages_refuse_before_any_work(
    recipe: Path, tmp_path: Path, capsys, monkeypatch, command: str, change: str, line: str
) -> None:
    def encode(*_, **__):
        pytest.fail("encoded before the check")

    monkeypatch.setattr(Denoiser, "encode_images", encode)
    monkeypatch.setattr(Denoiser, "encode_prompts", encode)
    with pytest.raises(SystemExit) as ended:
        main([command, str(recipe), change])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert line in error
    assert error.strip().count("\n") == 0


def test_compare_refuses_before_any_picture(
    tiny_flux: Denoiser, make_records, tmp_path: Path, monkeypatch
) -> None:
    from ablate2tune.compare.arms import Arm
    from ablate2tune.compare.compare import compare
    from ablate2tune.compare.compare_config import CompareConfig
    from ablate2tune.scenes.scenes_config import ScenesConfig

    monkeypatch.setattr(Denoiser, "sample", lambda *_, **__: pytest.fail("sampled"))
    records = make_records(1, 64, split="test")
    config = CompareConfig(judge=tmp_path, prompts=6, plain_prompts=6)
    with pytest.raises(UserError, match="64 x 64 pixels, but the model runs at 32 x 32"):
        compare(
            tiny_flux,
            [Arm("before")],
            ScenesConfig(),
            records,
            config,
            0,
            tmp_path / "out",
            model="content",
        )
    assert not (tmp_path / "out").exists()
