import pytest
import torch
from torch import nn

from ablate2tune.train.adapter import inject, trainable
from ablate2tune.train.memory.memory_estimate import kept_by_autograd
from ablate2tune.train.memory.narrow_inputs import _Widens


class Two(nn.Module):
    """Two layers that share an input."""

    def __init__(self, dtype: torch.dtype):
        super().__init__()
        torch.manual_seed(0)
        self.left, self.right = (nn.Linear(8, 8, dtype=dtype) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.left(x) * self.right(x)


def adapted(dtype: torch.dtype, widened: bool) -> Two:
    model = Two(dtype)
    inject(model, ["left", "right"], 2, seed=0)
    for name, parameter in trainable(model).items():
        torch.manual_seed(len(name))
        parameter.data.normal_()
    for layer in (model.left, model.right):
        if not widened:
            layer.lora_A["default"].__class__ = nn.Linear
            layer.cast_input_dtype_enabled = True
    return model


def test_outputs_and_gradients_are_pefts_and_less_is_kept() -> None:
    x = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(1)).bfloat16()
    found = []
    for widened in (True, False):
        model, given = adapted(torch.bfloat16, widened), x.clone().requires_grad_()
        held = [*model.parameters()]
        kept = kept_by_autograd(lambda m=model, g=given: m(g), held)
        out = model(given)
        out.float().square().sum().backward()
        gradients = [given.grad, *(p.grad for p in trainable(model).values())]
        found.append((kept, out, gradients))
    (lean, ours, our_gradients), (wide, peft, peft_gradients) = found
    assert torch.equal(ours, peft)
    for one, other in zip(our_gradients, peft_gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    # Two casts of 3 x 5 x 8 to float32 are not kept; the input itself is, once.
    assert wide - lean == 2 * 480 - 240


@pytest.mark.parametrize("more", [{"use_dora": True}, {}])
def test_left_alone(more: dict) -> None:
    model = Two(torch.bfloat16 if more else torch.float32)
    inject(model, ["left"], 2, seed=0, **more)
    assert not isinstance(model.left.lora_A["default"], _Widens)
