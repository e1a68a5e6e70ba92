import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ablate2tune import files
from ablate2tune.models import load_denoiser
from ablate2tune.seeding import torch_generator
from ablate2tune.train import size_buckets
from ablate2tune.train.lessons.picture_lessons import PictureLessons
from ablate2tune.train.lessons.user_pictures import load_pictures, read_user_pictures
from ablate2tune.train.size_buckets import at_size, bucket_sizes, nearest
from ablate2tune.train.step_plan import examples_at
from ablate2tune.train.training_loop import teach

TARGETS = ["transformer_blocks.1.attn.to_q", "single_transformer_blocks.0.proj_out"]
WEIGHTS = "adapter/pytorch_lora_weights.safetensors"


def test_sizes_of_512_pixels_are_kohyas() -> None:
    # As its log lists them for --resolution=512,512 with sides from 256 to 1024.
    wanted = [
        (256, 832), (256, 896), (256, 960), (256, 1024), (320, 704), (320, 768), (384, 640),
        (448, 576), (576, 448), (640, 384), (704, 320), (768, 320), (832, 256), (896, 256),
        (960, 256), (1024, 256),
    ]  # fmt: skip
    assert bucket_sizes(512, 512, 16) == [(512, 512), *wanted]


@pytest.mark.parametrize("height, width, multiple", [(512, 768, 32), (1024, 1024, 8)])
def test_sizes_fit_the_model_and_its_area(height: int, width: int, multiple: int) -> None:
    sizes = bucket_sizes(height, width, multiple)
    assert sizes[0] == (height, width) and len(sizes) == len(set(sizes)) > 3
    for rows, columns in sizes:
        assert rows % multiple == columns % multiple == 0 and rows * columns <= height * width


def test_the_nearest_shape_by_hand() -> None:
    sizes = bucket_sizes(512, 512, 16)
    # 4:3 lies at log 0.288; 576 x 448 at 0.251, 512 x 512 at 0, 640 x 384 at 0.511.
    assert nearest((1200, 1600), sizes) == (448, 576)
    assert nearest((1600, 1200), sizes) == (576, 448)
    assert nearest((700, 710), sizes) == (512, 512)
    assert nearest((100, 2000), sizes) == (256, 1024)


@pytest.fixture(scope="module")
def own_folder(tmp_path_factory) -> Path:
    """Square, wide and tall pictures, two of each."""
    folder, rng, rows = tmp_path_factory.mktemp("shapes"), np.random.default_rng(2), []
    for number, shape in enumerate([(40, 40), (12, 42), (60, 20)] * 2):
        Image.fromarray(rng.integers(0, 256, (*shape, 3), dtype=np.uint8)).save(
            folder / f"{number}.png"
        )
        rows.append({"file_name": f"{number}.png", "text": f"a red ball left of {number} cones"})
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metadata.jsonl").write_text(lines, encoding="utf-8")
    return folder


def test_pictures_are_taught_in_their_own_shapes(
    tiny_flux_config, own_folder: Path, config, tmp_path: Path, monkeypatch
) -> None:
    """The first step's loss is that of each picture alone, in a model of its size."""
    monkeypatch.setattr(size_buckets, "STEP", 8)
    settings = config.model_copy(
        update={
            "batch_size": 5, "caption_dropout": 0.0, "plain_captions": 0.0, "steps": 3,
            "sample_every": 9, "validation_images": 1, "timesteps": "logit_normal",
        }
    )  # fmt: skip
    users, lines = read_user_pictures(own_folder), []

    def again(folder: str, on_progress=None) -> bytes:
        lessons = PictureLessons(load_denoiser(tiny_flux_config), [], 1, users)
        arguments = TARGETS, settings, 3, tmp_path / folder
        teach(lessons, *arguments, on_progress=on_progress, on_message=lines.append)
        return (tmp_path / folder / WEIGHTS).read_bytes()

    def stop(done: int, total: int, note: str) -> None:
        if done == 2:
            raise KeyboardInterrupt

    whole = again("whole")
    (told,) = {line for line in lines if line and line.startswith("own pictures")}
    assert told == (
        "own pictures: 6, 2 of them enlarged; brought to 32 x 32: 2, 56 x 16: 2, 16 x 48: 2; "
        "captions that are cut: 0"
    )
    with pytest.raises(KeyboardInterrupt):
        again("stopped", stop)
    assert again("stopped") == whole

    # The last picture is held out; a step of five sees each of the others once.
    generators = [torch_generator(3, f"train {what}", 1) for what in ("sigma", "noise")]
    sigma = torch.randn(5, generator=generators[0]).sigmoid()
    losses = []
    for place, example in enumerate(examples_at(3, 1, 5, 5)):
        size = [(32, 32), (16, 56), (48, 16)][example % 3]
        sized = tiny_flux_config.model_copy(update={"height": size[0], "width": size[1]})
        alone, record = load_denoiser(sized), users[example]
        latents = alone.encode_images(load_pictures([record], *size))
        noise = torch.randn(latents.shape[1:], generator=generators[1])[None]
        with torch.no_grad():
            told = alone.encode_prompts([record.text])
            losses.append(alone.denoising_loss(latents, noise, sigma[place, None], told, 1.0))
    row = files.read_jsonl(tmp_path / "whole" / "log.jsonl")[1]
    assert row["loss"] == pytest.approx(torch.cat(losses).mean().item(), rel=1e-5)


def test_the_recipes_size_comes_back(tiny_flux_config) -> None:
    denoiser = load_denoiser(tiny_flux_config)
    with pytest.raises(KeyError), at_size(denoiser, (16, 64)):
        assert denoiser.latent_grid == (2, 8)
        raise KeyError
    assert denoiser.config == tiny_flux_config
