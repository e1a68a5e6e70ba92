"""Text with and without components, by the command line's own function."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from tiny_language import write_language_model

from ablate2tune.ablation import Ablation, ablated
from ablate2tune.errors import UserError
from ablate2tune.models import load_language_model
from ablate2tune.models.model_config import ModelConfig
from ablate2tune.progress import Terminal
from ablate2tune.try_out.try_command import run, texts

SKIPPED = [Ablation("model.layers.1", "skip")]


class Heard(Terminal):
    def __init__(self):
        super().__init__(quiet=True)
        self.lines: list[str] = []

    def say(self, message) -> None:
        self.lines.append(str(message))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_language_model(tmp_path_factory.mktemp("try") / "model", num_hidden_layers=3)


@pytest.mark.parametrize(
    "ablations",
    [SKIPPED, [Ablation("model.layers.0.self_attn[heads=1,2]", "zero")]],
    ids=["skip", "heads"],
)
def test_a_cache_changes_nothing_under_ablation(folder: Path, ablations: list[Ablation]):
    model = load_language_model(ModelConfig(path=str(folder), device="cpu"))
    with ablated(model.model, ablations):
        assert model.generate(["w1 w2 w3"], 12) == model.generate(["w1 w2 w3"], 12, cache=False)


def test_the_ablated_text_is_that_of_greedy_steps(folder: Path):
    model = load_language_model(ModelConfig(path=str(folder), device="cpu"))
    ((prompt, before, after),) = texts(model, SKIPPED, ["w1 w2 w3"], 8)
    ids = model.tokenizer(prompt, return_tensors="pt")["input_ids"]
    del model.model.model.layers[1]
    with torch.no_grad():
        for _ in range(8):
            last = model.logits(ids)[:, -1].argmax(-1, keepdim=True)
            ids = torch.cat([ids, last], 1)
            if int(last) == model.tokenizer.eos_token_id:
                break
    assert after == model.tokenizer.decode(ids[0, 4:], skip_special_tokens=True)
    assert before != after


def test_the_command_says_both(folder: Path):
    terminal = Heard()
    run(str(folder), ["model.layers.1"], ["w1 w2", "w3"], terminal, tokens=5, device="cpu")
    assert [line.splitlines()[0] for line in terminal.lines] == ["> w1 w2", "> w3"]
    assert all("as it is: " in line and "ablated: " in line for line in terminal.lines)


def test_pictures_side_by_side(tiny_flux_folder: Path, tmp_path: Path):
    file = tmp_path / "both.png"
    run(
        str(tiny_flux_folder), ["transformer_blocks.0"], ["a cat", "a dog"], Heard(),
        out=file, size=32, steps=1, device="cpu",
    )  # fmt: skip
    picture = Image.open(file)
    assert picture.size == (64, 64)
    assert picture.crop((0, 0, 32, 64)).tobytes() != picture.crop((32, 0, 64, 64)).tobytes()
    # It would take the activation of another prompt, or of the half without guidance.
    with pytest.raises(UserError, match="not made for sampled pictures"):
        run(
            str(tiny_flux_folder), ["transformer_blocks.0.attn=resample"], ["a cat"], Heard(),
            out=file, size=32, steps=1, device="cpu",
        )  # fmt: skip


def test_what_cannot_be_is_refused_before_any_model_is_read(tmp_path: Path):
    (tmp_path / "file").write_text("")
    for more, says in (
        ({"dtype": "int8"}, "--dtype int8: input should be 'float32', 'bfloat16' or 'float16'"),
        ({"device": "gpu"}, "--device gpu: string should match pattern"),
        ({"out": tmp_path / "file" / "x.png"}, "file: is a file, not a folder"),
    ):
        with pytest.raises(UserError, match=says):
            run("none", ["model.layers.1"], ["w1"], Heard(), **more)


@pytest.mark.parametrize(
    ("specs", "prompts", "says"),
    [
        (["model.layers.1"], [], "nothing to say"),
        ([], ["w1"], "nothing is ablated"),
        (["model.layers.1=mean"], ["w1"], "needs calibrated means"),
    ],
)
def test_what_is_refused(folder: Path, specs: list[str], prompts: list[str], says: str):
    with pytest.raises(UserError, match=says):
        run(str(folder), specs, prompts, Heard(), device="cpu")
