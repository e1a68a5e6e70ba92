from pathlib import Path

import pytest
from diffusers import HunyuanDiT2DModel

from ablate2tune.cli import main
from ablate2tune.components import discover
from ablate2tune.components.configs import empty_models
from ablate2tune.components.show import describe
from ablate2tune.errors import UserError


def shown(capsys, *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exited:
        main(["components", *words])
    out, err = capsys.readouterr()
    return exited.value.code, out, err


def test_a_pipeline_by_its_configs_alone(tiny_flux_folder: Path, tmp_path: Path, capsys):
    # A copy without any weights.
    for file in tiny_flux_folder.rglob("*.json"):
        copy = tmp_path / file.relative_to(tiny_flux_folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    assert not list(tmp_path.rglob("*.safetensors"))
    code, out, _ = shown(capsys, str(tmp_path))
    assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith("transformer: 4 blocks, ")
    assert any(
        line.startswith("  transformer_blocks.{0..1}  FluxTransformerBlock") for line in lines
    )
    assert any(line.strip().startswith("attn  FluxAttention") and "heads" in line for line in lines)
    assert any(line.startswith("text_encoder_2: ") for line in lines)
    assert all(model.device.type == "meta" for _, model in empty_models(str(tmp_path)))


def test_counts_and_cost_of_a_sweep(tiny_flux):
    lines = list(describe("transformer", discover(tiny_flux.model)))
    # 2 double blocks of 3 sub-layers, 2 single ones of 3; 8 + 2 * 2 and 3 projections in them.
    assert "4 blocks, 12 sub-layers, 30 projections" in lines[-2]
    # 5 forwards of 4 blocks; the skipped blocks 0 to 3 share 0 + 1 + 2 + 3 with the baseline.
    assert "takes 5 forwards" in lines[-1]
    assert "20 block evaluations, 14 where" in lines[-1]


def test_what_cannot_be_ablated_is_marked():
    model = HunyuanDiT2DModel(
        num_layers=4,
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=4,
        hidden_size=16,
        cross_attention_dim=8,
        cross_attention_dim_t5=8,
        pooled_projection_dim=4,
        sample_size=4,
        patch_size=2,
    )
    lines = list(describe("transformer", discover(model)))
    assert any("blocks.3" in line for line in lines)
    assert sum("cannot be ablated as a block: it mixes an earlier" in line for line in lines) == 1


def test_bad_models(tmp_path: Path, capsys):
    code, _, err = shown(capsys, str(tmp_path))
    assert code == 2 and "neither model_index.json nor config.json" in err
    code, _, err = shown(capsys, str(tmp_path / "nothing"))
    assert code == 2 and "no such folder" in err
    (tmp_path / "config.json").write_text('{"_class_name": "NoSuchTransformer"}')
    with pytest.raises(UserError, match="has no class NoSuchTransformer"):
        list(empty_models(str(tmp_path)))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        list(empty_models(str(tmp_path)))
    for index, says in (
        ("[]", "no mapping of keys"),
        ('{"transformer": ["diffusers", "FluxTransformer2DModel"]}', "cannot be read"),
        ('{"transformer": []}', "names no denoiser and no text encoder"),
        ('{"transformer": 3}', "names no denoiser and no text encoder"),
        ("{}", "names no denoiser and no text encoder"),
    ):
        (tmp_path / "model_index.json").write_text(index)
        code, _, err = shown(capsys, str(tmp_path))
        assert code == 2 and says in err and err.count("\n") == 1
    (tmp_path / "transformer").mkdir()
    config = tmp_path / "transformer" / "config.json"
    (tmp_path / "model_index.json").write_text(
        '{"transformer": ["diffusers", "FluxTransformer2DModel"]}'
    )
    for text in ('{"num_layers": "two"}', '{"attention_head_dim": []}'):
        config.write_text(text)
        code, _, err = shown(capsys, str(tmp_path))
        assert code == 2 and "builds no FluxTransformer2DModel" in err and err.count("\n") == 1
