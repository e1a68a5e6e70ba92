"""`testbed build` with another pipeline's autoencoder, from scenes to a pipeline that loads."""

import json
from pathlib import Path

import pytest
from diffusers import FluxPipeline
from safetensors.torch import load_file
from tiny_parts import TINY

from ablate2tune.cli import main
from ablate2tune.testbed.architecture import build_pipeline
from ablate2tune.testbed.text import word_list

VAE = "vae/diffusion_pytorch_model.safetensors"
pytestmark = pytest.mark.usefixtures("blender")

RECIPE = {
    "seed": 8,
    "out": "second",
    "work": "work",
    "data": "scenes",
    "autoencoder": "first",
    "scenes": {
        "images": 4,
        "test_images": 2,
        "size": 32,
        "samples": 1,
        "workers": 1,
        "objects": ["ball", "cube"],
    },
    "captions": [{}],
    "sizes": TINY.model_dump(mode="json"),
    "text": {"steps": 2, "batch_size": 4},
    "vae": {"steps": 1},
    "judge_training": {"steps": 1},
    "denoiser": {"steps": 2, "batch_size": 4},
}


def build(folder: Path, **changes: object) -> int:
    recipe = folder / "recipe.yaml"
    recipe.write_text(json.dumps({**RECIPE, **changes}))
    with pytest.raises(SystemExit) as ended:
        main(["testbed", "build", str(recipe)])
    return int(str(ended.value.code))


def test_an_autoencoder_of_another_pipeline_is_taken_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    first = build_pipeline(word_list(), TINY, seed=0)
    first.save_pretrained("first")
    assert build(tmp_path) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "testbed in second"
    assert not (tmp_path / "second-judge").exists()

    taken, own = load_file(tmp_path / "first" / VAE), load_file(tmp_path / "second" / VAE)
    assert taken.keys() == own.keys()
    assert all(weight.equal(own[name]) for name, weight in taken.items())
    second = FluxPipeline.from_pretrained("second")
    assert second.tokenizer.get_vocab() != first.tokenizer.get_vocab()  # words in another order
    made = json.loads((tmp_path / "second" / "provenance.json").read_text())
    assert set(made["last_losses"]) == {"text", "denoiser"}

    narrow = {**RECIPE["sizes"], "vae_channels": [8, 8]}
    assert build(tmp_path, sizes=narrow, work="other") == 2
    assert "autoencoder: that of first has channels" in capsys.readouterr().err
    assert build(tmp_path, autoencoder="scenes") == 2
    assert "it has no vae/" in capsys.readouterr().err
    assert build(tmp_path, denoiser={"steps": 3, "batch_size": 4}) == 2
    told = capsys.readouterr().err
    assert "denoiser.steps was 2, is 3" in told and "to keep it, work=OTHER" in told
