"""Shared fixtures: a tiny random FLUX pipeline saved to disk, loaded as a user would."""

from pathlib import Path

import pytest

from ablate2tune.pipelines import FluxDenoiser, load_denoiser
from ablate2tune.recipe import ModelConfig
from ablate2tune.testbed.architecture import TINY, build_pipeline
from ablate2tune.testbed.text import word_list


@pytest.fixture(scope="session")
def tiny_flux_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random FLUX pipeline directory (2 double and 2 single blocks, 32 px)."""
    folder = tmp_path_factory.mktemp("tiny-flux")
    build_pipeline(word_list(), TINY, seed=0).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_flux_config(tiny_flux_folder: Path) -> ModelConfig:
    return ModelConfig(
        path=str(tiny_flux_folder), device="cpu", height=32, width=32, max_sequence_length=16
    )


@pytest.fixture
def tiny_flux(tiny_flux_config: ModelConfig) -> FluxDenoiser:
    """A freshly loaded tiny pipeline behind the FLUX adapter."""
    return load_denoiser(tiny_flux_config)
