"""Every family is trained through one interface, held against its stock pipeline alone.

The reference calls the stock pipeline on one caption at a time, with its own scheduler told which
timestep it is, and keeps what it would step along.
"""

import inspect
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers.training_utils import compute_snr
from peft import PeftModel
from PIL import Image
from tiny_parts import drawn
from tiny_pipelines import FAMILIES, Family

from ablate2tune import files
from ablate2tune.components import discover
from ablate2tune.disk.picture_reading import read_picture
from ablate2tune.models import Denoiser, load_denoiser
from ablate2tune.models.model_config import ModelConfig
from ablate2tune.scenes.dataset.records import SceneRecord
from ablate2tune.train.lessons.picture_lessons import PictureLessons
from ablate2tune.train.lessons.user_pictures import fitted, load_pictures, read_user_pictures
from ablate2tune.train.step_plan import batch_at, split_records
from ablate2tune.train.train_config import TrainConfig
from ablate2tune.train.training_loop import teach

SEED, SIZE = 3, 32
CONFIG = TrainConfig(
    rank=2,
    steps=2,
    batch_size=4,
    learning_rate=0.3,
    warmup=0,
    plain_captions=0.0,
    validation_images=2,
    sample_prompts=1,
    data_share=0.5,
)


@dataclass
class Trained:
    """A family's training, and the stock pipeline of the same files."""

    family: Family
    denoiser: Denoiser
    stock: Any
    folder: Path


@pytest.fixture(scope="module")
def own_folder(tmp_path_factory) -> Path:
    """Pictures of another size than the model's, a half of what training sees, two with masks."""
    folder, rng, rows = tmp_path_factory.mktemp("own"), np.random.default_rng(2), []
    for number, colour in enumerate(("red", "green", "blue")):
        picture = rng.integers(0, 256, (40, 56, 3), dtype=np.uint8)
        Image.fromarray(picture).save(folder / f"{number}.png")
        text = f"a {colour} ball left of a white cone"
        rows.append({"file_name": f"{number}.png", "text": text, "mask": "mask.png"})
    light = np.tile(np.arange(56, dtype=np.uint8) * 4, (40, 1))
    Image.fromarray(light).save(folder / "mask.png")
    del rows[1]["mask"]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metadata.jsonl").write_text(lines, encoding="utf-8")
    return folder


@pytest.fixture(scope="module", params=FAMILIES, ids=str)
def trained(request, records: list[SceneRecord], own_folder: Path, tmp_path_factory) -> Trained:
    family: Family = request.param
    torch.manual_seed(0)
    pipe = family.build()
    drawn(pipe.components.get("transformer") or pipe.unet)
    folder = tmp_path_factory.mktemp(str(family))
    pipe.save_pretrained(folder / "model")
    denoiser = load_denoiser(
        ModelConfig(
            path=str(folder / "model"),
            device="cpu",
            height=SIZE,
            width=SIZE,
            max_sequence_length=family.tokens,
        )
    )
    blocks = discover(denoiser.model).blocks
    targets = [*blocks[0].linears[:2], *blocks[-1].linears[:2]]
    users = read_user_pictures(own_folder)
    teach(PictureLessons(denoiser, records, 1, users), targets, CONFIG, SEED, folder)
    stock = diffusers.DiffusionPipeline.from_pretrained(folder / "model")
    stock.set_progress_bar_config(disable=True)
    return Trained(family, denoiser, stock, folder)


def called(pipe: Any, **more: Any) -> Any:
    """The stock call at the tests' size, without guidance."""
    wanted = {
        "height": SIZE,
        "width": SIZE,
        "num_inference_steps": 1,
        "guidance_scale": 0.0 if "ZImage" in type(pipe).__name__ else 1.0,
        "true_cfg_scale": 1.0,
        "use_resolution_binning": False,
        **more,
    }
    known = inspect.signature(type(pipe).__call__).parameters
    return pipe(**{name: value for name, value in wanted.items() if name in known})


def counting(folder: Path, latents: torch.Tensor) -> torch.Tensor:
    """What the mask is on average over each place of square latents, or each token."""
    light = fitted(read_picture(folder / "mask.png"), SIZE, SIZE)[:, :, 0] / 255
    side = math.isqrt(len(latents)) if latents.ndim == 2 else latents.shape[-1]
    blocks = light.reshape(side, SIZE // side, side, SIZE // side).mean((1, 3))
    shape = (-1, 1) if latents.ndim == 2 else (side, side)
    return torch.from_numpy(blocks).float().reshape(shape)


@torch.no_grad()
def stock_prediction(
    trained: Trained, caption: str, latents: torch.Tensor, timestep: float, monkeypatch
) -> torch.Tensor:
    """What the stock call would step along at this timestep."""
    scheduler, seen = trained.stock.scheduler, []

    def set_timesteps(num_inference_steps=None, device=None, timesteps=None, sigmas=None, mu=None):
        scheduler.num_inference_steps = 1
        scheduler.timesteps = torch.tensor([timestep])

    def step(output, t, sample, return_dict=True, **_):
        seen.append(output)
        return sample, sample

    with monkeypatch.context() as patch:
        patch.setattr(scheduler, "set_timesteps", set_timesteps)
        patch.setattr(scheduler, "step", step)
        called(
            trained.stock,
            prompt=[caption],
            latents=latents,
            max_sequence_length=trained.family.tokens,
            output_type="latent",
            return_dict=False,
        )
    (output,) = seen
    if output.shape != latents.shape:  # FLUX.2's patches, in one row
        output = output.transpose(1, 2).reshape(latents.shape)
    return output


def test_the_first_loss_is_the_stock_pipelines(
    trained: Trained, records: list[SceneRecord], own_folder: Path, monkeypatch
) -> None:
    """Nothing is learnt yet, so the first step's loss is the base's own."""
    denoiser, scheduler = trained.denoiser, trained.stock.scheduler
    seen = split_records(records, CONFIG.validation_images).train
    seen += read_user_pictures(own_folder)[:-1]  # a tenth is held out, at least one
    latents = denoiser.encode_images(load_pictures(seen, SIZE, SIZE))
    products = getattr(scheduler, "alphas_cumprod", None)
    flows = products is None
    drawing = CONFIG.model_copy(update={"timesteps": None if flows else "uniform"})
    shift = denoiser.sigma_shift
    batch = batch_at(SEED, 1, seen, latents.shape[1:], drawing, shift)
    losses, masked = [], 0
    for place, example in enumerate(batch.examples):
        clean, noise = latents[example, None], batch.noise[place, None]
        share = batch.sigma[place].item()
        if flows:
            noised, target = (1 - share) * clean + share * noise, noise - clean
            timestep, weight = 1000 * share, 1.0
        else:
            timestep = int(1000 * share)
            at = torch.tensor([timestep])
            noised, target = scheduler.add_noise(clean, noise, at), noise
            snr = compute_snr(scheduler, at)
            weight = (snr.clamp(max=5) / snr).item()
            if scheduler.config.prediction_type == "v_prediction":
                target = scheduler.get_velocity(clean, noise, at)
                weight = (snr.clamp(max=5) / (snr + 1)).item()
        output = stock_prediction(trained, batch.captions[place], noised, timestep, monkeypatch)
        error = (output - target).square()
        if seen[example].file_name == "0.png":
            masked += 1
            counts = counting(own_folder, error[0]).expand(error.shape)
            weight /= counts.mean().item()
            error = error * counts
        losses.append(weight * error.mean().item())
    assert masked == 1
    rows = [json.loads(row) for row in (trained.folder / "log.jsonl").read_text().splitlines()]
    assert len({float(sigma) for sigma in batch.sigma}) == 4
    assert rows[1]["loss"] == pytest.approx(np.mean(losses), rel=1e-4)
    assert rows[-1]["step"] == 2


@torch.no_grad()
def test_the_stock_pipeline_loads_it_and_draws_another_picture(trained: Trained) -> None:
    """Then the adapter goes into the weights, and nothing changes."""
    pipe, denoiser, part = trained.stock, trained.denoiser, trained.denoiser.part
    prompt = "a red ball left of a green cube"

    def picture() -> np.ndarray:
        generator = torch.Generator().manual_seed(1)
        length = {"max_sequence_length": trained.family.tokens}
        return called(pipe, prompt=[prompt], output_type="np", generator=generator, **length).images

    def predicted(of: Denoiser) -> torch.Tensor:
        latents = of.encode_images(np.zeros((2, SIZE, SIZE, 3), np.uint8))
        return of.predict(latents, torch.tensor([0.3, 0.9]), of.encode_prompts([prompt] * 2))

    before = picture()
    if hasattr(pipe, "load_lora_weights"):
        pipe.load_lora_weights(trained.folder / "adapter")
    else:
        loaded = PeftModel.from_pretrained(getattr(pipe, part), trained.folder / "adapter")
        setattr(pipe, part, loaded.base_model.model)
    assert np.abs(picture() - before).max() > 1e-3
    adapted = predicted(type(denoiser)(pipe, denoiser.config))
    torch.testing.assert_close(adapted, predicted(denoiser), rtol=0, atol=1e-5)
    denoiser.merge_adapter()
    assert not any("lora" in name for name in denoiser.model.state_dict())
    torch.testing.assert_close(adapted, predicted(denoiser), rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["int8", "fp8"])
def test_a_base_of_few_bits_predicts_nearly_the_same(trained: Trained, kind: str) -> None:
    config = trained.denoiser.config.model_copy(update={"dtype": "bfloat16"})
    found = []
    for quantize in (None, kind):
        denoiser = load_denoiser(config.model_copy(update={"quantize": quantize}))
        latents = torch.randn(
            denoiser.encode_images(np.zeros((2, SIZE, SIZE, 3), np.uint8)).shape,
            generator=torch.Generator().manual_seed(4),
        )
        told = denoiser.encode_prompts(["a red ball left of a green cube"] * 2)
        found.append(denoiser.predict(latents, torch.tensor([0.3, 0.9]), told).float())
    whole, few = found
    assert 0 < (whole - few).norm() < 0.1 * whole.norm()


def test_sd3_goes_on_where_it_was_stopped(
    trained: Trained, records: list[SceneRecord], own_folder: Path
) -> None:
    if str(trained.family) != "StableDiffusion3":
        pytest.skip("one family stands for the general call")

    def again(on_progress=None) -> None:
        denoiser = load_denoiser(trained.denoiser.config)
        lessons = PictureLessons(denoiser, records, 1, read_user_pictures(own_folder))
        often = CONFIG.model_copy(update={"checkpoint_every": 1})
        targets = files.read_json(trained.folder / "targets.json")["requested"]
        teach(lessons, targets, often, SEED, trained.folder / "again", on_progress=on_progress)

    def stop(done: int, total: int, note: str) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        again(stop)
    again()
    weights = "adapter/pytorch_lora_weights.safetensors"
    folders = trained.folder, trained.folder / "again"
    whole, stopped = ((folder / weights).read_bytes() for folder in folders)
    assert whole == stopped
