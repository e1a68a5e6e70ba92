"""A model without its weights says what can be refused early, by the stages and by `run`."""

import shutil
from pathlib import Path

import pytest
import torch

from ablate2tune.errors import UserError
from ablate2tune.models import Denoiser, shell_of
from ablate2tune.models.model_config import ModelConfig
from ablate2tune.progress import Terminal
from ablate2tune.recipe import Recipe
from ablate2tune.stages import run_stages


def test_a_shell_has_shapes_and_tokenizers_and_needs_no_weights(
    tiny_flux: Denoiser, tiny_flux_config: ModelConfig, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_flux_config.path, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    shell = shell_of(tiny_flux_config.model_copy(update={"path": str(folder)}))
    assert shell is not None and shell.device == torch.device("meta")
    shapes = {name: x.shape for name, x in tiny_flux.model.named_parameters()}
    assert {name: x.shape for name, x in shell.model.named_parameters()} == shapes
    assert shell.latent_grid == tiny_flux.latent_grid
    text = "a red ball left of a blue cube"
    assert shell.token_count(text) == tiny_flux.token_count(text)


def test_a_size_that_the_model_cannot_work_at(tiny_flux_config: ModelConfig) -> None:
    with pytest.raises(UserError, match="33 x 32 pixels are not multiples of"):
        shell_of(tiny_flux_config.model_copy(update={"height": 33}))


def test_an_index_that_names_no_classes(tmp_path: Path) -> None:
    index = '{"_class_name": "FluxPipeline", "transformer": 3}'
    (tmp_path / "model_index.json").write_text(index)
    with pytest.raises(UserError, match=rf"model.path = {tmp_path}: cannot load the pipeline"):
        shell_of(ModelConfig(path=str(tmp_path)))


def test_nothing_is_told_of_a_model_that_is_not_here() -> None:
    assert shell_of(ModelConfig(path="no-owner/no-model")) is None


@pytest.mark.parametrize(
    "section, values, words",
    [
        ("train", {"rank": 4096}, "rank 4096 is more than"),
        ("train", {"count": 999}, "999 modules wanted"),
        ("scenes", {"size": 64}, "the scenes have 64 x 64 pixels, but the model runs at 32 x 32"),
        ("model", {"max_sequence_length": 4}, "tokens, and the model is given 4"),
        ("compare", {"arms": {"a": {"adapter": "nowhere"}}}, "no adapter to compare in the arm"),
        ("compare", {"arms": {"a": {"ablate": ["blocks.9=skip"]}}}, "blocks.9"),
        ("compare", {"judge": "nowhere"}, "no such judge"),
    ],
)
def test_run_refuses_what_a_later_stage_would(
    tiny_flux_config: ModelConfig, tmp_path: Path, section: str, values: dict, words: str
) -> None:
    """Before anything is rendered or measured: no folder is made."""
    sections: dict[str, dict] = {
        "model": tiny_flux_config.model_dump(mode="json"),
        "scenes": {"size": 32, "test_images": 2, "holdout": 0.5},
        "compare": {"prompts": 6, "plain_prompts": 2},
        "train": {"rank": 2},
    }
    sections[section] |= values
    places = {"runs": tmp_path / "runs", "data": tmp_path / "data"}
    recipe = Recipe.model_validate({"name": "x", **places, **sections})
    with pytest.raises(UserError, match=words):
        run_stages(recipe, Terminal())
    assert not list(tmp_path.iterdir())
