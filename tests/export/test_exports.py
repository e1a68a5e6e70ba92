"""Exports read back by the loaders' own rules, written down here anew.

ComfyUI (comfy/lora.py, weight_adapter/lora.py): a layer's key is one of its names; up and down are
`.lora_up.weight` and `.lora_down.weight`; what is added is up @ down times alpha / rank, which is
1 without an alpha. sd-scripts (networks/lora_flux.py) names its layers `lora_unet_` and the
original module with underscores, and scales alike.
"""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from safetensors import safe_open
from safetensors.torch import load_file
from tiny_diffusion import stable_diffusion_xl
from tiny_flow import stable_diffusion_3
from tiny_parts import TOKENS

from ablate2tune.cli import main
from ablate2tune.disk.identity import identity
from ablate2tune.errors import UserError
from ablate2tune.export.lora_formats import comfyui, natives_of
from ablate2tune.models import AdapterNote, Denoiser, load_denoiser
from ablate2tune.models.family_registry import FAMILIES
from ablate2tune.models.model_config import ModelConfig
from ablate2tune.models.native_names import unet_name
from ablate2tune.recipe import Recipe
from ablate2tune.run_dir import RunDir
from ablate2tune.train.methods.adapter_method import of_one_rank

RANKS = {
    "transformer_blocks.0.attn.to_q": 3,
    "transformer_blocks.0.attn.to_v": 1,
    "transformer_blocks.1.ff.net.2": 2,
    "single_transformer_blocks.0.attn.to_k": 2,
    "single_transformer_blocks.0.proj_mlp": 4,
    "single_transformer_blocks.1.proj_out": 2,
}
"""Of a FLUX with blocks of width 32."""


def finished(
    denoiser: Denoiser, ranks: dict[str, int], runs: Path, **train: float
) -> dict[str, torch.Tensor]:
    """A run that ended with an adapter of these ranks; what it adds to each module's weight."""
    model = denoiser.config.model_dump(mode="json")
    recipe = Recipe.model_validate(
        {"name": "job", "runs": str(runs), "model": model, "train": train}
    )
    torch.manual_seed(4)
    weights, added = {}, {}
    for name, rank in ranks.items():
        out, width = denoiser.model.get_parameter(f"{name}.weight").shape
        down, up = torch.randn(rank, width), torch.randn(out, rank)
        weights |= {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}
        added[name] = up @ down
    most = max(ranks.values())
    note = AdapterNote(
        base=identity(denoiser.config.path),
        rank=most,
        targets=list(ranks),
        seed=0,
        height=denoiser.config.height,
        width=denoiser.config.width,
    )
    inputs = {"model": recipe.model.decisive() | {"path": note.base}, "data": "d1", "ranking": "r1",
              "train": recipe.train.decisive()}  # fmt: skip
    run = RunDir(recipe.run_folder, recipe.model_dump(mode="json"))
    with run.stage("train", inputs) as folder:
        denoiser.save_adapter(folder / "adapter", note, of_one_rank(weights))
        targets = {"injected": list(ranks), "ranks": ranks, "parameters": {"trainable": 1234}}
        (folder / "targets.json").write_text(json.dumps(targets), encoding="utf-8")
    return added


def added_by(path: Path, names: dict[str, str]) -> dict[str, torch.Tensor]:
    """What a loader adds to the layers of these keys; every tensor of the file is used."""
    tensors, found = load_file(path), {}
    for key, name in names.items():
        if f"{key}.lora_up.weight" not in tensors:
            continue
        up, down = (tensors.pop(f"{key}.lora_{side}.weight") for side in ("up", "down"))
        found[name] = up @ down * (tensors.pop(f"{key}.alpha").item() / len(down))
    assert not tensors
    return found


def same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-6)


def exported(*arguments: str) -> int | str | None:
    with pytest.raises(SystemExit) as ended:
        main(["export", *arguments])
    return ended.value.code


@pytest.fixture(scope="module")
def job(tiny_flux_config: ModelConfig, tmp_path_factory):
    """The run of a tiny FLUX, and what its adapter adds."""
    runs = tmp_path_factory.mktemp("runs")
    added = finished(load_denoiser(tiny_flux_config), RANKS, runs)
    return runs / "job", added


def test_comfyui_adds_the_same_with_ranks_that_differ(job, tiny_flux: Denoiser) -> None:
    run, added = job
    assert not exported(str(run), "--format", "comfyui")
    every = {f"transformer.{name}": name for name, _ in tiny_flux.model.named_modules()}
    path = run / "export/comfyui/lora.safetensors"
    same(added_by(path, every), added)
    with safe_open(path, framework="pt") as file:
        facts = file.metadata()
    assert json.loads(facts["ablate2tune.targets"]) == list(RANKS)
    assert (facts["ablate2tune.data_hash"], facts["ablate2tune.ranking_hash"]) == ("d1", "r1")


def test_kohya_adds_the_same_to_the_original_layers(job) -> None:
    run, added = job
    assert not exported(str(run), "--format", "kohya")
    none = torch.zeros(32, 32)
    expected = {
        "double_blocks.0.img_attn.qkv": torch.cat([
            added["transformer_blocks.0.attn.to_q"], none, added["transformer_blocks.0.attn.to_v"],
        ]),
        "double_blocks.1.img_mlp.2": added["transformer_blocks.1.ff.net.2"],
        "single_blocks.0.linear1": torch.cat([
            none, added["single_transformer_blocks.0.attn.to_k"], none,
            added["single_transformer_blocks.0.proj_mlp"],
        ]),
        "single_blocks.1.linear2": added["single_transformer_blocks.1.proj_out"],
    }  # fmt: skip
    keys = {f"lora_unet_{name.replace('.', '_')}": name for name in expected}
    same(added_by(run / "export/kohya/lora.safetensors", keys), expected)


def test_diffusers_is_what_stock_diffusers_loads(job, tiny_flux: Denoiser) -> None:
    run, added = job
    assert not exported(str(run))
    pipe = DiffusionPipeline.from_pretrained(tiny_flux.config.path)
    before = {name: pipe.transformer.get_submodule(name).weight.clone() for name in RANKS}
    pipe.load_lora_weights(run / "export/diffusers")
    pipe.fuse_lora()
    pipe.unload_lora_weights()
    after = {name: pipe.transformer.get_submodule(name).weight - w for name, w in before.items()}
    for name, change in after.items():
        torch.testing.assert_close(change, added[name], rtol=0, atol=1e-5)
    card = (run / "export/diffusers/README.md").read_text()
    assert "transformer_blocks.0.attn.to_q`, rank 3" in card and "1,234 parameters" in card


@torch.no_grad()
def test_merged_is_a_stock_pipeline_with_the_adapter(job, tiny_flux: Denoiser, tmp_path) -> None:
    run, _ = job
    assert not exported(str(run), "--merge", "--out", str(tmp_path / "merged"))
    merged = type(tiny_flux)(
        DiffusionPipeline.from_pretrained(tmp_path / "merged"), tiny_flux.config
    )
    tiny_flux.load_adapter(run / "train/adapter")
    latents = tiny_flux.encode_images(np.zeros((2, 32, 32, 3), np.uint8))
    given = latents, torch.tensor([0.3, 0.8]), tiny_flux.encode_prompts(["a red ball", "a cube"])
    torch.testing.assert_close(merged.predict(*given), tiny_flux.predict(*given), rtol=0, atol=1e-5)
    assert exported(str(run), "--merge", "--out", str(tmp_path / "merged")) == 2


def test_an_adapter_for_the_first_steps_says_so(tiny_flux: Denoiser, tmp_path, capsys) -> None:
    finished(tiny_flux, RANKS, tmp_path, acts_above=0.875)
    run = str(tmp_path / "job")
    for form in ("diffusers", "kohya"):
        assert not exported(run, "--format", form)
        assert "noise levels from 0.875 up" in capsys.readouterr().out
        card = (tmp_path / "job/export" / form / "README.md").read_text()
        assert "below 875" in card
        assert ("if len(following) and following[0] < 875:" in card) == (form == "diffusers")
    with safe_open(next((tmp_path / "job/export/kohya").glob("*.safetensors")), "pt") as file:
        assert file.metadata()["ablate2tune.acts_above"] == "0.875"
    # A comparison after the recipe was edited writes it into the manifest; the adapter is the same.
    manifest = tmp_path / "job/manifest.json"
    told = json.loads(manifest.read_text())
    del told["recipe"]["train"]["acts_above"]
    manifest.write_text(json.dumps(told))
    assert exported(run, "--merge") == 2
    assert "it would act at every level" in capsys.readouterr().err


@pytest.fixture(scope="module")
def others(tmp_path_factory) -> dict[str, Denoiser]:
    """SD3 and SDXL."""
    found = {}
    for name, build in (("sd3", stable_diffusion_3), ("sdxl", stable_diffusion_xl)):
        folder = tmp_path_factory.mktemp(name)
        torch.manual_seed(0)
        build().save_pretrained(folder)
        config = {"device": "cpu", "height": 32, "width": 32, "max_sequence_length": TOKENS}
        found[name] = load_denoiser(ModelConfig(path=str(folder), **config))
    return found


def test_sd3_in_kohyas_names(others, tmp_path) -> None:
    ranks = {
        "transformer_blocks.0.attn.add_k_proj": 2,
        "transformer_blocks.0.ff_context.net.0.proj": 1,
        "transformer_blocks.1.attn.to_out.0": 2,
    }
    added = finished(others["sd3"], ranks, tmp_path)
    assert not exported(str(tmp_path / "job"), "--format", "kohya")
    none = torch.zeros(16, 16)
    expected = {
        "joint_blocks.0.context_block.attn.qkv": torch.cat([none, added[next(iter(ranks))], none]),
        "joint_blocks.0.context_block.mlp.fc1": added["transformer_blocks.0.ff_context.net.0.proj"],
        "joint_blocks.1.x_block.attn.proj": added["transformer_blocks.1.attn.to_out.0"],
    }
    keys = {f"lora_unet_{name.replace('.', '_')}": name for name in expected}
    same(added_by(tmp_path / "job/export/kohya/lora.safetensors", keys), expected)


def test_sdxl_in_both_names(others, tmp_path) -> None:
    """One layer to a level here: two input blocks to a level, the second changes the size."""
    inside = "transformer_blocks.0.attn1.to_q"
    ranks = {
        f"down_blocks.1.attentions.0.{inside}": 2,
        f"mid_block.attentions.0.{inside}": 1,
        f"up_blocks.0.attentions.1.{inside}": 2,
    }
    added = finished(others["sdxl"], ranks, tmp_path)
    theirs = ("input_blocks.3.1", "middle_block.1", "output_blocks.1.1")
    expected = {f"{at}.{inside}": added[name] for at, name in zip(theirs, ranks, strict=True)}
    for form, wanted in (("kohya", expected), ("comfyui", added)):
        assert not exported(str(tmp_path / "job"), "--format", form)
        keys = {f"lora_unet_{name.replace('.', '_')}": name for name in wanted}
        same(added_by(tmp_path / f"job/export/{form}/lora.safetensors", keys), wanted)


def test_sdxls_own_numbers() -> None:
    """As sd-scripts' and diffusers' conversions of the real SDXL have them."""
    for ours, theirs in (
        ("down_blocks.1.attentions.0.proj_in", "input_blocks.4.1.proj_in"),
        ("down_blocks.2.attentions.1.proj_in", "input_blocks.8.1.proj_in"),
        ("up_blocks.1.attentions.2.proj_in", "output_blocks.5.1.proj_in"),
        ("down_blocks.0.resnets.1.conv1", "input_blocks.2.0.in_layers.2"),
        ("mid_block.resnets.1.conv2", "middle_block.2.out_layers.3"),
    ):
        native = unet_name(2, ours)
        assert native is not None and native.name == theirs


CHOSEN = [
    *(f"transformer_blocks.1.attn.to_{x}" for x in "qkv"),
    "transformer_blocks.1.ff.net.2",
    "single_transformer_blocks.1.proj_out",
]


@pytest.fixture(scope="module")
def chosen(tiny_flux_config: ModelConfig, tmp_path_factory) -> Path:
    """A run that adapted whole layers of the original code."""
    runs = tmp_path_factory.mktemp("chosen")
    finished(load_denoiser(tiny_flux_config), dict.fromkeys(CHOSEN, 2), runs)
    return runs / "job"


def linears(denoiser: Denoiser) -> list[str]:
    return [n for n, m in denoiser.model.named_modules() if isinstance(m, torch.nn.Linear)]


def test_trainers_take_exactly_the_chosen_modules(chosen, tiny_flux: Denoiser, capsys) -> None:
    names = linears(tiny_flux)

    def printed(tool: str) -> str:
        capsys.readouterr()
        assert not exported(str(chosen), "--targets", tool)
        return capsys.readouterr().out

    def by_suffix(keys: list[str]) -> list[str]:  # PEFT
        return [n for n in names if any(n == key or n.endswith(f".{key}") for key in keys)]

    words = shlex.split(printed("diffusers"))
    assert by_suffix(words[words.index("--lora_layers") + 1].split(",")) == CHOSEN
    assert by_suffix(json.loads(printed("simpletuner"))["peft_lora_target_modules"]) == CHOSEN
    told = json.loads(printed("onetrainer"))
    assert told["layer_filter_regex"] is True
    patterns = [pattern.strip() for pattern in told["layer_filter"].split(",")]
    assert [n for n in names if any(re.search(p, n) for p in patterns)] == CHOSEN
    contained = re.findall(r'^ +- "(.+)"$', printed("ai-toolkit"), re.MULTILINE)
    assert [n for n in names if any(w in f"transformer.{n}" for w in contained)] == CHOSEN


def test_sd_scripts_takes_exactly_the_chosen_layers(chosen, job, capsys) -> None:
    assert not exported(str(chosen), "--targets", "sd-scripts")
    words = shlex.split(capsys.readouterr().out, comments=True)
    key, value = words[words.index("--network_args") + 1].split("=", 1)
    assert key == "network_reg_dims"
    rules = [pair.rsplit("=", 1) for pair in value.split(",")]
    layers = ["img_attn.qkv", "img_attn.proj", "img_mlp.0", "img_mlp.2", "txt_attn.qkv"]
    every = [f"double_blocks.{i}.{layer}" for i in (0, 1, 11) for layer in layers]
    every += [f"single_blocks.{i}.linear{n}" for i in (0, 1, 11) for n in (1, 2)]

    def rank(layer: str) -> int:
        name = f"lora_unet_{layer.replace('.', '_')}"
        return next(int(rank) for pattern, rank in rules if re.search(pattern, name))

    taken = ["double_blocks.1.img_attn.qkv", "double_blocks.1.img_mlp.2", "single_blocks.1.linear2"]
    assert {layer: rank(layer) for layer in every if rank(layer)} == dict.fromkeys(taken, 2)

    assert not exported(str(job[0]), "--targets", "sd-scripts")
    comments = [line for line in capsys.readouterr().out.splitlines() if line.startswith("#")]
    assert any("img_attn.qkv" in line and "2 of its 3" in line for line in comments)


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["--format", "comfui"], "comfyui"),
        (["--targets", "kohya_ss"], "sd-scripts"),
        (["--merge", "--format", "kohya"], "give one"),
    ],
)
def test_what_cannot_be_is_one_line(chosen, arguments: list[str], told: str, capsys) -> None:
    assert exported(str(chosen), *arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and told in error


def test_a_folder_that_is_no_finished_run_is_one_line(tmp_path, tiny_flux, capsys) -> None:
    assert exported(str(tmp_path)) == 2
    finished(tiny_flux, dict.fromkeys(CHOSEN, 2), tmp_path)
    weights = tmp_path / "job/train/adapter/pytorch_lora_weights.safetensors"
    first_bytes = weights.read_bytes()
    weights.write_bytes(first_bytes[:-4])
    assert exported(str(tmp_path / "job")) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert "not a run" in first and "is not as it was written" in second
    targets = tmp_path / "job/train/targets.json"
    whole = targets.read_text()
    weights.write_bytes(first_bytes)
    for torn in ("[]", "{}", '{"injected": ["a"], "ranks": {}}'):
        targets.write_text(torn)
        assert exported(str(tmp_path / "job")) == 2
        error = capsys.readouterr().err
        assert "targets.json: does not say which modules" in error and error.count("\n") == 1
    targets.write_text(whole)
    manifest = tmp_path / "job/manifest.json"
    told = json.loads(manifest.read_text())
    told["recipe"]["model"]["path"] = str(tmp_path / "gone")
    manifest.write_text(json.dumps(told))
    for words in ((), ("--merge",), ("--targets", "diffusers")):
        assert exported(str(tmp_path / "job"), *words) == 2
        error = capsys.readouterr().err
        assert "no such model directory" in error and error.count("\n") == 1
    assert not (tmp_path / "job/export").exists()
    told["recipe"]["train"]["of_another_version"] = 1
    manifest.write_text(json.dumps(told))
    assert exported(str(tmp_path / "job")) == 2
    error = capsys.readouterr().err
    assert "its recipe cannot be read, perhaps of another version" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("kind", ["Lumina2", "Sana", "CogView4", "HunyuanDiT", "CogView3Plus"])
def test_families_without_names_are_refused_by_name(kind: str, tmp_path) -> None:
    family = FAMILIES[f"{kind}Pipeline"]
    model = family.__new__(family)
    model.pipe = type(f"{kind}Pipeline", (), {})()
    with pytest.raises(UserError, match=f"modules of {kind}Pipeline"):
        comfyui(model, tmp_path, tmp_path, {})
    with pytest.raises(UserError, match=f"layers.0.to_q of {kind}Pipeline"):
        natives_of(model, ["layers.0.to_q"])
    assert not list(tmp_path.iterdir())
