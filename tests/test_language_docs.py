"""The commands of docs/language-models.md, as they stand there, on a tiny model."""

import re
import shlex
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_language import WIDTH, write_language_model, write_text

from ablate2tune.cli import main

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "language-models.md"
COMMANDS = re.findall(r"^\| [^|]+ \| `ablate2tune ([^`]+)`", PAGE.read_text(), re.MULTILINE)
SMALL = [
    *("model.device=cpu", "localize.perplexity.length=12", "localize.perplexity.sequences=8"),
    "localize.bootstrap=60",
]
TRAINED = [
    "length=12",
    "targets=random",
    "count=2",
    "rank=2",
    "steps=2",
    "batch_size=2",
    "validation_images=2",
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    write_language_model(folder / "MODEL", num_hidden_layers=6)
    write_text(folder / "TEXT", length=120)
    for name, start in (("harmful", 0), ("plain", 20)):
        prompts = [f"w{start + place} w{place} w{start}" for place in range(1, 7)]
        (folder / f"{name}.txt").write_text("\n".join(prompts))
    (folder / "job.yaml").write_text("model: MODEL\nablate: [model.layers.2.mlp]\ndevice: cpu\n")
    (folder / "recipes").symlink_to(ROOT / "recipes")
    return folder


def test_there_is_a_command_for_each_wish():
    assert len(COMMANDS) == 11


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_page(
    place: Path, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.chdir(place)
    words = shlex.split(command)
    if words[0] == "localize":
        words += [*SMALL, f"name=run{COMMANDS.index(command)}"]
    if words[0] == "train":  # without the ranking that its recipe goes by
        words += ["model.device=cpu", *(f"train.{key}" for key in TRAINED)]
    if "--project-out" in words and not Path("direction.safetensors").exists():
        save_file({"v": torch.ones(WIDTH)}, "direction.safetensors")  # run alone
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 0, capsys.readouterr().err
