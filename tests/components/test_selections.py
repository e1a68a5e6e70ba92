import pytest

from ablate2tune.components.configs import split_prefix
from ablate2tune.components.selections import Selection, parse
from ablate2tune.errors import UserError


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("blocks.3", Selection("blocks.3")),
        ("blocks.3.attn[heads=3,7]", Selection("blocks.3.attn", "heads", (3, 7))),
        ("blocks.3.attn[heads=7,0..2]", Selection("blocks.3.attn", "heads", (0, 1, 2, 7))),
        ("blocks.3.ff[neurons=0:3]", Selection("blocks.3.ff", "neurons", (0, 1, 2))),
        ("blocks.3@image", Selection("blocks.3", stream="image")),
        ("b.3.attn[heads=1]@text", Selection("b.3.attn", "heads", (1,), "text")),
        ("b.3.attn@tokens=relation", Selection("b.3.attn", None, (), "text", "relation")),
        ("b.3.attn@tokens=2..3", Selection("b.3.attn", None, (), "text", (2, 3))),
        ("b.3.attn@text@tokens=subject", Selection("b.3.attn", None, (), "text", "subject")),
    ],
)
def test_parse(address: str, expected: Selection):
    assert parse(address) == expected


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("", "not an address"),
        ("b.3.attn[heads=3", "not an address"),
        ("b.3.attn[head=3]", "no such slice .*did you mean 'heads'"),
        ("b.3.attn[heads=]", "'' is not a number or a range"),
        ("b.3.attn[heads=a]", "'a' is not a number"),
        ("b.3.attn[heads=3..1]", "the range '3..1' is empty"),
        ("b.3.attn[heads=3:3]", "the range '3:3' is empty"),
        ("b.3.attn[heads=1,1]", "a number comes twice"),
        ("b.3@images", "@images does not fit"),
        ("b.3@image@text", "@text does not fit"),
        ("b.3@tokens=", "does not fit"),
        ("b.3@image@tokens=x@image", "@image does not fit"),
    ],
)
def test_bad_addresses(address: str, message: str):
    with pytest.raises(UserError, match=message):
        parse(address)


def test_prefixes_of_a_pipeline():
    parts = {"transformer": 0, "text_encoder": 0, "text_encoder_2": 0}
    assert split_prefix("text_encoder_2:encoder.block.3", parts) == (
        "text_encoder_2",
        "encoder.block.3",
    )
    assert split_prefix("a.0.to_q[cols=0:4]", parts) == ("transformer", "a.0.to_q[cols=0:4]")
    with pytest.raises(UserError, match="did you mean 'text_encoder_2'"):
        split_prefix("text_encoder_3:encoder.block.3", parts)
    with pytest.raises(UserError, match="has no denoiser"):
        split_prefix("blocks.0", {"vae": 0})
