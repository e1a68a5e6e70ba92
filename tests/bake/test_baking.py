"""What is baked equals what hooks do; stock transformers loads it; the rest is refused."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_language import WIDTH, tokens, write_language_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from ablate2tune.ablation import Ablation, ablated
from ablate2tune.ablation.specs import read_ablations
from ablate2tune.bake import bake_command
from ablate2tune.bake.baking import bake
from ablate2tune.bake.pruning import cut_config
from ablate2tune.components import discover
from ablate2tune.errors import UserError
from ablate2tune.models import LanguageModel, load_language_model
from ablate2tune.models.model_config import ModelConfig
from ablate2tune.progress import Terminal

IDS = tokens(rows=2, length=10, seed=7)
TIED = {"tie_word_embeddings": True}
BIASED = {"attention_bias": True, "mlp_bias": True}


def stored(folder: Path, model_type: str = "llama", **more) -> Path:
    return write_language_model(folder / "model", model_type, num_hidden_layers=3, **more)


def run(source: Path, specs: list[str], out: Path, **more) -> None:
    job = {"ablate": specs, "out": out, "device": "cpu", **more}
    bake_command.run(bake_command.read_job(str(source), job), Terminal(quiet=True))


def loaded(path: Path) -> LanguageModel:
    return load_language_model(ModelConfig(path=str(path), device="cpu"))


@torch.no_grad()
def logits(model) -> torch.Tensor:
    return model(input_ids=IDS, use_cache=False).logits


@torch.no_grad()
def under_hooks(path: Path, *specs: str) -> torch.Tensor:
    model = loaded(path).model
    with ablated(model, read_ablations(discover(model), specs)):
        return logits(model)


SPECS = {
    "heads": ["model.layers.1.self_attn[heads=1,3]"],
    "attention": ["model.layers.1.self_attn"],
    "mlp": ["model.layers.{0,2}.mlp"],
    "neurons": ["model.layers.2.mlp[neurons=3..20]"],
    "identity": ["model.layers.1"],
    "projection": ["model.layers.0.self_attn.v_proj"],
    "columns": ["model.layers.0.self_attn.q_proj[cols=0:8]"],
    "several": ["model.layers.0.self_attn[heads=0]", "model.layers.2.mlp", "model.layers.1"],
}


@pytest.mark.parametrize("specs", SPECS.values(), ids=SPECS)
def test_baked_equals_hooked_after_reading_it_back(tmp_path: Path, specs: list[str]):
    source = stored(tmp_path, **BIASED)
    run(source, specs, tmp_path / "out")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert torch.allclose(logits(again), under_hooks(source, *specs), atol=1e-5)
    assert AutoTokenizer.from_pretrained(tmp_path / "out")("w1")["input_ids"] == [1, 5]
    note = json.loads((tmp_path / "out" / "ablate2tune_bake.json").read_text())
    assert note["max_difference"] < 1e-5 < note["max_effect"]


@pytest.mark.parametrize("sizes", [{}, TIED, BIASED], ids=["plain", "tied", "biases"])
@pytest.mark.parametrize("removed", [[0], [1, 2]], ids=str)
def test_a_deleted_layer_is_a_skipped_one(tmp_path: Path, sizes: dict, removed: list[int]):
    source = stored(tmp_path, **sizes)
    specs = [f"model.layers.{index}" for index in removed]
    run(source, specs, tmp_path / "out", prune=True)
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert again.config.num_hidden_layers == 3 - len(removed)
    assert torch.allclose(logits(again), under_hooks(source, *specs), atol=1e-5)
    generated = [
        again.generate(IDS, max_new_tokens=6, do_sample=False, use_cache=cache, pad_token_id=0)
        for cache in (True, False)
    ]
    assert torch.equal(*generated)


def test_lists_and_leading_layers_are_cut(tmp_path: Path):
    from transformers import Gemma2Config, Glm4MoeConfig

    kinds = ["full_attention", "sliding_attention", "full_attention", "sliding_attention"]
    config = Gemma2Config(num_hidden_layers=4, layer_types=kinds)
    cut = cut_config(config, 4, [0, 2, 3])
    assert (cut.num_hidden_layers, cut.layer_types) == (3, [kinds[0], kinds[2], kinds[3]])
    moe = cut_config(Glm4MoeConfig(num_hidden_layers=5, first_k_dense_replace=2), 5, [1, 2, 3])
    assert (moe.num_hidden_layers, moe.first_k_dense_replace) == (3, 1)


@pytest.mark.parametrize(
    ("kind", "sizes"),
    [("llama", {}), ("llama", {**TIED, **BIASED}), ("gpt2", {}), ("opt", {}), ("mixtral", {})],
    ids=["plain", "tied", "gpt2", "opt", "experts"],
)
def test_a_direction_is_taken_out_of_everything_that_writes(tmp_path: Path, kind: str, sizes):
    source = stored(tmp_path, kind, **sizes)
    v = torch.randn(WIDTH, generator=torch.Generator().manual_seed(3))
    save_file({"v": v}, tmp_path / "v.safetensors")
    out = tmp_path / "out"
    run(source, [], out, project_out=str(tmp_path / "v.safetensors"))
    again, before = AutoModelForCausalLM.from_pretrained(out), loaded(source).model
    seen: list[torch.Tensor] = []
    for block in discover(again).blocks:
        again.get_submodule(block.address).register_forward_hook(
            lambda _m, args, out: seen.extend([args[0], out if torch.is_tensor(out) else out[0]])
        )
    moved = logits(again) - logits(before)
    assert moved.abs().max() > 0.1
    unit = v / v.norm()
    assert len(seen) >= 4
    assert all(float((h @ unit).abs().max()) < 1e-5 * float(h.norm(dim=-1).max()) for h in seen)
    # The head reads as before, tied or not.
    assert torch.equal(again.lm_head.weight, before.lm_head.weight)


def test_shards_are_read_back(tmp_path: Path):
    from ablate2tune.bake.checkpoint import write_checkpoint

    source = loaded(stored(tmp_path))
    specs = [Ablation("model.layers.0.mlp", "zero")]
    wanted = under_hooks(tmp_path / "model", "model.layers.0.mlp")
    write_checkpoint(bake(source, specs), source, specs, tmp_path / "out", shard="20KB")
    assert len(list((tmp_path / "out").glob("*.safetensors"))) > 1
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert torch.allclose(logits(again), wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "specs", "more", "says"),
    [
        ("llama", ["model.layers.0.mlp=mean"], {}, "no weight and no bias can hold"),
        ("llama", ["model.layers.0.mlp=resample"], {}, "activations of other examples"),
        ("llama", ["model.layers.0.mlp=channel-mean"], {}, "cannot be baked"),
        ("llama", ["model.layers.0.self_attn[heads=4]"], {}, "head 4 is out of range"),
        ("llama", ["model.layers.7"], {}, "matches no component"),
        ("llama", ["model.layers.0.mlp=zeros"], {}, "did you mean 'zero'"),
        ("llama", [], {}, "nothing to bake"),
        ("llama", ["model.layers.{0..2}"], {"prune": True}, "no layer would be left"),
        ("opt", ["model.decoder.layers.1"], {}, "differ by"),
    ],
)
def test_what_is_refused_leaves_nothing(tmp_path: Path, kind: str, specs, more: dict, says: str):
    # OPT's norms stand behind the sum in this variant, so that no weights make an identity.
    behind = {"do_layer_norm_before": False} if kind == "opt" else {}
    source = stored(tmp_path, kind, **behind)
    with pytest.raises(UserError, match=says):
        run(source, specs, tmp_path / "out", **more)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


@pytest.mark.parametrize(
    ("vector", "says"),
    [
        (torch.ones(WIDTH + 1), "channels, the residual stream"),
        (torch.zeros(WIDTH), "no length"),
        (torch.full((WIDTH,), float("nan")), "no length, or is not finite"),
    ],
)
def test_directions_that_are_refused(tmp_path: Path, vector: torch.Tensor, says: str):
    source = loaded(stored(tmp_path))
    with pytest.raises(UserError, match=says):
        bake(source, [], vector)


def test_a_norm_behind_the_writers_is_refused(tmp_path: Path):
    source = loaded(write_language_model(tmp_path / "model", "gemma2"))
    with pytest.raises(UserError, match="a norm behind what writes"):
        bake(source, [], torch.randn(WIDTH, generator=torch.Generator().manual_seed(3)))


def test_nothing_is_written_over(tmp_path: Path):
    source = stored(tmp_path)
    for out in (source, tmp_path):
        with pytest.raises(UserError, match="is there already"):
            run(source, ["model.layers.0"], out)


def test_a_disk_that_fills_up_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = stored(tmp_path)

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("transformers.PreTrainedTokenizerBase.save_pretrained", full)
    with pytest.raises(UserError, match="No space left"):
        run(source, ["model.layers.0"], tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_a_file_says_the_same_as_options(tmp_path: Path):
    source = stored(tmp_path)
    file = tmp_path / "job.yaml"
    file.write_text(
        f"model: {source}\nablate: ['model.layers.1.self_attn[heads=0]']\ndevice: cpu\n"
    )
    job = bake_command.read_job(str(file), {"out": tmp_path / "out", "prune": True})
    assert (job.ablate, job.prune, job.out) == (
        ["model.layers.1.self_attn[heads=0]"], True, tmp_path / "out",
    )  # fmt: skip
    bake_command.run(job, Terminal(quiet=True))
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert torch.allclose(logits(again), under_hooks(source, *job.ablate), atol=1e-5)


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ({}, "no folder to write to"),
        ({"out": "x", "dtype": "int8"}, "--dtype int8: input should be 'float32'"),
        ({"out": "x", "device": "gpu"}, "--device gpu: string should match"),
    ],
)
def test_jobs_that_are_refused(tmp_path: Path, typed: dict, says: str):
    with pytest.raises(UserError, match=says):
        bake_command.run(bake_command.read_job("model", typed), Terminal(quiet=True))
