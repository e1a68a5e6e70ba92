"""A planted direction is found, and taken out it changes only what rests on it."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tiny_language import WIDTH, tiny_language_model, word_tokenizer
from transformers import AutoModelForCausalLM

from ablate2tune.bake.bake_command import find, read_job, run
from ablate2tune.bake.finding_direction import find_direction, read_prompts
from ablate2tune.bake.weight_edits import project_out_of_weights
from ablate2tune.components import discover
from ablate2tune.errors import UserError
from ablate2tune.models import load_language_model
from ablate2tune.models.model_config import ModelConfig
from ablate2tune.progress import Terminal

MARKED, TOLD = 30, 40
"""The word that writes the direction, and the one that the head makes of it."""


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.Tensor]:
    """A model in which one word alone writes a direction, and the head alone reads it."""
    folder = tmp_path_factory.mktemp("direction")
    model = tiny_language_model("llama", num_hidden_layers=3)
    v = torch.randn(WIDTH, generator=torch.Generator().manual_seed(1))
    v /= v.norm()
    project_out_of_weights(model, discover(model), v)
    reading = [m for name, m in model.named_modules() if name.endswith(("proj",))]
    model.model.embed_tokens.weight[4 + MARKED] += 3 * v
    for module in reading:
        if module.in_features == WIDTH:  # nothing inside the blocks reads it
            module.weight -= torch.outer(module.weight @ v, v)
    for name, parameter in model.named_parameters():
        if "norm" in name:
            parameter.fill_(1)
    model.lm_head.weight -= torch.outer(model.lm_head.weight @ v, v)
    model.lm_head.weight[4 + TOLD] += 3 * v
    model.save_pretrained(folder / "model")
    word_tokenizer().save_pretrained(folder / "model")
    marked = [f"w{a} w{a + 1} w{MARKED}" for a in range(0, 16, 2)]
    plain = [f"w{a} w{a + 1} w{a + 2}" for a in range(0, 16, 2)]
    (folder / "one.txt").write_text("\n".join(marked))
    (folder / "other.txt").write_text("\n".join(plain))
    return folder, v


def test_it_is_found_and_taken_out(planted: tuple[Path, torch.Tensor], tmp_path: Path):
    folder, v = planted
    source, file, out = str(folder / "model"), tmp_path / "v.safetensors", tmp_path / "out"
    find(source, folder / "one.txt", folder / "other.txt", file, Terminal(quiet=True), "cpu")
    with safe_open(file, "pt") as held:
        (layer,) = held.keys()
        found, facts = held.get_tensor(layer), held.metadata()
    assert facts["layer"] == layer
    assert facts["model"] == source
    assert float(found @ v) > 0.8
    # What is left of it beside the planted direction is noise of eight prompts: bake the true one.
    save_file({"v": v.contiguous()}, tmp_path / "true.safetensors")
    job = {"project_out": f"{tmp_path}/true.safetensors", "out": out, "device": "cpu"}
    run(read_job(source, job), Terminal(quiet=True))
    before, after = (AutoModelForCausalLM.from_pretrained(p) for p in (source, out))
    marked, plain = torch.tensor([[1, 5, 6, 4 + MARKED]]), torch.tensor([[1, 5, 6, 7]])
    with torch.no_grad():
        told = [float(m(marked).logits[0, -1, 4 + TOLD]) for m in (before, after)]
        assert told[0] > told[1] + 3
        assert torch.allclose(before(plain).logits, after(plain).logits, atol=1e-4)


def test_prompts_of_a_file_are_its_lines(tmp_path: Path):
    (tmp_path / "some.txt").write_bytes(b"\xef\xbb\xbfone\r\n\r\n two\n")
    assert read_prompts(tmp_path / "some.txt") == ["one", " two"]


def test_what_is_refused(planted: tuple[Path, torch.Tensor], tmp_path: Path):
    folder, _ = planted
    model = load_language_model(ModelConfig(path=str(folder / "model"), device="cpu"))
    with pytest.raises(UserError, match="2 different prompts are too few"):
        find_direction(model, ["w1", "w2", "w2", "w1"], ["w3", "w4", "w5", "w6"])
    with pytest.raises(UserError, match="no layer tells"):
        same = ["w1", "w2", "w3", "w4"]
        find_direction(model, same, same)
    taken = tmp_path / "v.safetensors"
    taken.touch()
    one, other, quiet = folder / "one.txt", folder / "other.txt", Terminal(quiet=True)
    with pytest.raises(UserError, match="is there already"):  # before any model is looked for
        find("none", one, other, taken, quiet, "cpu")
    with pytest.raises(UserError, match="--device gpu: string should match"):
        find(str(folder / "model"), one, other, tmp_path / "new", quiet, "gpu")
