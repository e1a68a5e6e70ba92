"""Loading causal language models, and what stands against it in one line."""

import json
from pathlib import Path

import pytest
import torch
from tiny_language import tokens, write_language_model
from transformers import AutoModelForCausalLM

from ablate2tune.errors import UserError
from ablate2tune.models import is_language_model, load_language_model
from ablate2tune.models.model_config import ModelConfig


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_language_model(tmp_path_factory.mktemp("loading") / "model")


def test_logits_are_those_of_the_stock_model(folder: Path):
    model = load_language_model(ModelConfig(path=str(folder), device="cpu"))
    stock = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        assert torch.equal(model.logits(tokens()), stock(tokens()).logits)
    assert not any(parameter.requires_grad for parameter in model.model.parameters())
    assert model.vocabulary == stock.config.vocab_size


def test_the_dtype_is_the_recipes(folder: Path):
    model = load_language_model(ModelConfig(path=str(folder), device="cpu", dtype="bfloat16"))
    assert model.logits(tokens()).dtype == torch.bfloat16


def test_texts_begin_as_the_tokenizer_begins_them(folder: Path):
    model = load_language_model(ModelConfig(path=str(folder), device="cpu"))
    assert model.beginning == [1]
    assert model.encode("w0 w1") == [1, 4, 5]
    assert model.encode("w0 w1", special=False) == [4, 5]
    assert model.tokens_at("w0 w1 w22", 3, 9) == [2, 3]


def test_what_is_a_language_model(folder: Path, tiny_flux_folder: Path, tmp_path: Path):
    assert is_language_model(str(folder))
    assert is_language_model("model.gguf")
    for other in (tiny_flux_folder, tmp_path, tmp_path / "none", "owner/name"):
        assert not is_language_model(str(other))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda path: (path / "config.json").unlink(), "no config.json"),
        (lambda path: (path / "config.json").write_text("{"), "cannot read config.json"),
        (lambda path: (path / "model.safetensors").unlink(), "cannot load the language model"),
        (lambda path: (path / "model.safetensors").write_bytes(b"x"), "cannot load"),
        (lambda path: (path / "tokenizer.json").unlink(), "cannot load"),
        (lambda path: (path / "model_index.json").write_text("{}"), "a pipeline of diffusers"),
        (lambda path: _with(path, quantization_config={"quant_method": "awq"}), "are quantised"),
        (lambda path: _with(path, model_type="t5"), "cannot load the language model"),
        (lambda path: _with(path, hidden_size="x"), "cannot read config.json .*hidden_size"),
    ],
)
def test_what_is_refused(tmp_path: Path, change, says: str):
    path = write_language_model(tmp_path / "model")
    change(path)
    with pytest.raises(UserError, match=says):
        load_language_model(ModelConfig(path=str(path), device="cpu"))


def _with(path: Path, **values) -> None:
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | values))


def test_files_that_are_not_there(tmp_path: Path):
    for path in (tmp_path / "model", tmp_path / "model.gguf"):
        with pytest.raises(UserError, match="no such"):
            load_language_model(ModelConfig(path=str(path), device="cpu"))
