"""What stands against a model is one line: paths, permissions, devices, hubs."""

import os
from pathlib import Path

import httpx
import huggingface_hub
import pytest
import torch
from huggingface_hub import errors

from ablate2tune.errors import UserError
from ablate2tune.models import check_model, check_model_path, load_denoiser, resolve_device
from ablate2tune.models.model_config import ModelConfig

NAME = "some-lab/Some-Model.1"
RESPONSE = httpx.Response(401, request=httpx.Request("GET", "http://hub"))
OFFLINE = errors.OfflineModeIsEnabled("offline")
UNREACHED = errors.LocalEntryNotFoundError("no connection and nothing cached")
GATED = errors.GatedRepoError("gated", response=RESPONSE)
UNKNOWN = errors.RepositoryNotFoundError("404", response=RESPONSE)
LINES = [
    (GATED, "its licence must be accepted on its page .*`hf auth login`"),
    (UNKNOWN, "no such folder here, and no such model on the hub; .*may have moved"),
    (OFFLINE, "HF_HUB_OFFLINE forbids to fetch it"),
    (UNREACHED, "the hub cannot be reached"),
    (httpx.ConnectError("no route"), "the hub cannot be reached"),
    (errors.HfHubHTTPError("503 busy", response=RESPONSE), r"the hub refuses it \(503 busy"),
]


@pytest.fixture
def uncached(monkeypatch) -> None:
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)


def raising(error: BaseException):
    def ask(*_, **__):
        raise error

    return ask


@pytest.mark.parametrize("error, line", LINES)
def test_each_way_in_which_a_hub_says_no(uncached, monkeypatch, error, line: str) -> None:
    monkeypatch.setattr(huggingface_hub, "model_info", raising(error))
    with pytest.raises(UserError, match=line) as caught:
        check_model_path(NAME)
    assert "\n" not in str(caught.value)
    assert NAME in str(caught.value)


@pytest.mark.parametrize("error, line", LINES)
def test_the_same_where_diffusers_hides_it(monkeypatch, error, line: str) -> None:
    """A known model whose files are refused: diffusers raises OSError over the hub's error."""
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: "model_index.json")
    monkeypatch.setattr("diffusers.configuration_utils.hf_hub_download", raising(error))
    with pytest.raises(UserError, match=line) as caught:
        load_denoiser(ModelConfig(path=NAME, device="cpu"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "path",
    [
        "./model",
        "../model",
        "/no/such/model",
        "a/b/c",
        "model",
        "checkpoints/mine",
        "runs/mine",
        "some lab/model",
        "owner/",
    ],
)
def test_what_looks_like_a_path_is_never_asked_of_a_hub(
    tmp_path: Path, monkeypatch, path: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub, "model_info", raising(AssertionError("asked")))
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", raising(AssertionError("asked")))
    with pytest.raises(UserError, match="no such model directory") as caught:
        check_model_path(path)
    assert caught.value.mend, "something to do"


def test_a_name_below_a_folder_that_is_here_is_a_path(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "some-lab/Some-Modell.1").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no such model directory; did you mean 'some-lab/Some-Mod"):
        check_model_path(NAME)
    for name in ("b", "a", ".cache"):
        (tmp_path / name).mkdir()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError) as caught:
        check_model_path("zzzzzz")
    assert caught.value.mend == "use one of: a, b, some-lab"


def test_a_recipes_path_from_another_directory(tmp_path: Path, monkeypatch) -> None:
    from ablate2tune.models import model_hub

    (tmp_path / "checkout" / NAME).mkdir(parents=True)
    monkeypatch.setattr(model_hub, "CHECKOUT", tmp_path / "checkout")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"no such folder below the current one; run it from .*ch"):
        check_model_path(NAME)


def test_weights_without_permission(tiny_flux_folder: Path, monkeypatch) -> None:
    weights = next((tiny_flux_folder / "transformer").glob("*.safetensors"))
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != weights and allowed(path, mode))
    with pytest.raises(UserError, match="no permission to read it") as caught:
        check_model_path(str(tiny_flux_folder))
    assert str(weights) in str(caught.value)


def test_a_link_to_a_blob_that_is_gone(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text("{}")
    (tmp_path / "w.safetensors").symlink_to(tmp_path / "blobs" / "none")
    with pytest.raises(UserError, match=r"w\.safetensors: is a link to what is gone"):
        check_model_path(str(tmp_path))


@pytest.mark.parametrize(
    "name, count, line",
    [
        ("cuda", 0, "there is no CUDA device here"),
        ("cuda:7", 0, "there is no CUDA device here"),
        ("cuda:7", 2, "there are 2 CUDA devices here, counted from 0"),
        ("mps", 0, "there is no MPS device here"),
    ],
)
def test_a_device_that_is_absent_is_one_line(
    tiny_flux_folder: Path, monkeypatch, name: str, count: int, line: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UserError, match=line) as caught:
        check_model(ModelConfig(path=str(tiny_flux_folder), device=name))
    assert "\n" not in str(caught.value)
    assert resolve_device("cpu") == torch.device("cpu")


def test_a_device_that_is_no_device() -> None:
    with pytest.raises(ValueError, match="device"):
        ModelConfig(path="x", device="gpu")
