import pytest
from diffusers import FluxTransformer2DModel
from torch import nn

from ablate2tune.components import discover, select
from ablate2tune.errors import UserError
from ablate2tune.models import FluxDenoiser

DOUBLE_ATTENTION = [
    *("to_q", "to_k", "to_v", "to_out.0"),
    *("add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"),
]


@pytest.fixture(scope="module")
def flux() -> FluxTransformer2DModel:
    return FluxTransformer2DModel(
        in_channels=4,
        num_layers=3,
        num_single_layers=2,
        attention_head_dim=4,
        num_attention_heads=2,
        joint_attention_dim=8,
        pooled_projection_dim=8,
        axes_dims_rope=(2, 2, 0),
    )


def addresses(components) -> list[str]:
    return [component.address for component in components]


def test_blocks_and_sublayers_of_flux(flux):
    catalogue = discover(flux)
    assert {name: len(blocks) for name, blocks in catalogue.stacks.items()} == {
        "transformer_blocks": 3,
        "single_transformer_blocks": 2,
    }
    double = catalogue["transformer_blocks.2"]
    assert [(c.address.split(".")[-1], c.role) for c in catalogue.children(double)] == [
        ("attn", "attention"),
        ("ff", "feed-forward"),
        ("ff_context", "feed-forward"),
    ]
    single = catalogue["single_transformer_blocks.1"]
    assert {(c.address.split(".")[-1], c.role) for c in catalogue.children(single)} == {
        ("attn", "attention"),
        ("proj_mlp", "projection"),
        ("proj_out", "projection"),
    }
    attention = catalogue["transformer_blocks.0.attn"]
    assert {
        c.address.removeprefix("transformer_blocks.0.attn.") for c in catalogue.children(attention)
    } == set(DOUBLE_ATTENTION)


def test_facts_of_a_component(flux):
    to_q = discover(flux)["transformer_blocks.1.attn.to_q"]
    assert (to_q.level, to_q.kind, to_q.stack, to_q.index) == (
        "projection",
        "Linear",
        "transformer_blocks",
        1,
    )
    assert to_q.parent == "transformer_blocks.1.attn"
    assert to_q.parameters == 8 * 8 + 8


def test_every_address_is_a_module_and_no_norm_is_a_component(flux):
    catalogue = discover(flux)
    for component in catalogue:
        module = flux.get_submodule(component.address)
        assert type(module).__name__ == component.kind
        assert "norm" not in component.address
    assert len({component.address for component in catalogue}) == len(catalogue)


def test_lora_targets(flux):
    catalogue = discover(flux)
    of = lambda address: list(catalogue[address].linears)  # noqa: E731
    prefix = "transformer_blocks.0"
    assert set(of(f"{prefix}.attn")) == {f"{prefix}.attn.{name}" for name in DOUBLE_ATTENTION}
    assert of(f"{prefix}.ff") == [f"{prefix}.ff.net.0.proj", f"{prefix}.ff.net.2"]
    assert of(f"{prefix}.ff.net.2") == [f"{prefix}.ff.net.2"]
    single = "single_transformer_blocks.0"
    assert set(of(f"{single}.attn")) == {f"{single}.attn.to_{x}" for x in "qkv"}
    assert of(f"{single}.proj_out") == [f"{single}.proj_out"]


def test_lora_targets_of_a_block_are_all_its_linears_but_modulation(flux):
    catalogue = discover(flux)
    for block in catalogue.blocks:
        module = flux.get_submodule(block.address)
        linears = {
            f"{block.address}.{name}"
            for name, inner in module.named_modules()
            if isinstance(inner, nn.Linear) and not name.startswith("norm")
        }
        assert set(block.linears) == linears
        assert len(block.linears) == len(linears)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("transformer_blocks.*", [f"transformer_blocks.{i}" for i in range(3)]),
        ("*.0", ["transformer_blocks.0", "single_transformer_blocks.0"]),
        (
            "transformer_blocks.{0..1}.attn.to_[qk]",
            [f"transformer_blocks.{i}.attn.to_{x}" for i in range(2) for x in "qk"],
        ),
        (
            "transformer_blocks.1.attn.to_*",
            [f"transformer_blocks.1.attn.{n}" for n in DOUBLE_ATTENTION if n.startswith("to_")],
        ),
        (
            "transformer_blocks.{0,2}.{ff,ff_context}",
            [f"transformer_blocks.{i}.{n}" for i in (0, 2) for n in ("ff", "ff_context")],
        ),
        ("transformer_blocks.{0..1,2}.ff", [f"transformer_blocks.{i}.ff" for i in range(3)]),
        (
            "transformer_blocks.0.ff.net.*",
            [f"transformer_blocks.0.ff.net.{n}" for n in ("0.proj", "2")],
        ),
        ("**.proj_out", [f"single_transformer_blocks.{i}.proj_out" for i in range(2)]),
        (
            "transformer_blocks.?.attn.to_out.0",
            [f"transformer_blocks.{i}.attn.to_out.0" for i in range(3)],
        ),
    ],
)
def test_select(flux, pattern: str, expected: list[str]):
    assert set(addresses(select(discover(flux), pattern))) == set(expected)


def test_selection_is_in_model_order(flux):
    catalogue = discover(flux)
    chosen = addresses(select(catalogue, "transformer_blocks.{2,0}.ff"))
    assert chosen == ["transformer_blocks.0.ff", "transformer_blocks.2.ff"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("transformer_blocks.0.atn", "did you mean 'transformer_blocks.0.attn'"),
        ("transformer_blocks.{0..3}.ff", r"\(transformer_blocks.3.ff\): matches no component"),
        ("blob", r"blocks are transformer_blocks.\{0..2\}, single_transformer_blocks.\{0..1\}"),
        ("", "matches no component"),
        ("transformer_blocks.{2..0}", r"\{2..0\} is not a range"),
        ("transformer_blocks.{0..x}", "is not a range"),
        ("transformer_blocks.{0..2", "unbalanced braces"),
        ("transformer_blocks.0.norm1.linear", "matches no component"),
        ("transformer_blocksX0", "matches no component"),
    ],
)
def test_bad_patterns(flux, pattern: str, message: str):
    with pytest.raises(UserError, match=message):
        select(discover(flux), pattern)


def test_unknown_address_has_near_matches(flux):
    with pytest.raises(UserError, match=r"transformer_blocks\.1\.ff_context"):
        discover(flux)["transformer_blocks.1.ff_contex"]


def test_fused_projections_are_refused(tiny_flux: FluxDenoiser):
    tiny_flux.pipe.transformer.fuse_qkv_projections()
    with pytest.raises(UserError, match=r"transformer_blocks.0.attn: .*fused; call unfuse"):
        discover(tiny_flux.model)
    tiny_flux.pipe.transformer.unfuse_qkv_projections()
    assert len(discover(tiny_flux.model).blocks) == 4


@pytest.mark.parametrize(
    "model", [nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2)), nn.ModuleList()]
)
def test_a_model_without_blocks_is_refused(model: nn.Module):
    with pytest.raises(UserError, match="no stack of attention blocks"):
        discover(model)


def test_a_list_of_unlike_modules_is_no_stack():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([nn.TransformerEncoderLayer(4, 1), nn.Identity()])
            self.plain = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
            self.stack = nn.ModuleList([nn.TransformerEncoderLayer(4, 1)])

    assert list(discover(Mixed()).stacks) == ["stack"]
