import pytest
import torch
from torch import Tensor, nn

from ablate2tune.train.memory.checkpointing import cover
from ablate2tune.train.memory.memory_estimate import MemoryEstimate, kept_by_autograd


class Block(nn.Module):
    """A residual block that counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(4) / 2, requires_grad=False)
        self.calls = 0

    def forward(self, x: Tensor, *, scale: float) -> Tensor:
        self.calls += 1
        return x + scale * torch.tanh(x @ self.weight)


@pytest.fixture
def blocks() -> list[Block]:
    """Four blocks, of which the third is trained."""
    torch.manual_seed(0)
    made = [Block() for _ in range(4)]
    made[2].weight.requires_grad_(True)
    return made


def loss(blocks: list[Block]) -> Tensor:
    x = torch.arange(8.0).reshape(2, 4) / 8
    for block in blocks:
        x = block(x, scale=0.5)
    return x.square().sum()


def never() -> MemoryEstimate:
    raise AssertionError("nobody asked")


def test_gradients_are_the_same_and_blocks_before_the_adapted_one_run_once(blocks) -> None:
    loss(blocks).backward()
    weight = blocks[2].weight
    expected, weight.grad = weight.grad, None
    plain = kept_by_autograd(lambda: loss(blocks), [block.weight for block in blocks])
    for block in blocks:
        block.calls = 0
    assert cover(blocks, "on", never, None) == 4
    loss(blocks).backward()
    assert torch.equal(weight.grad, expected)
    assert [block.calls for block in blocks] == [1, 1, 2, 2]
    assert kept_by_autograd(lambda: loss(blocks), [block.weight for block in blocks]) < plain
    with torch.no_grad():
        loss(blocks)
    assert [block.calls for block in blocks][2:] == [4, 4]


def test_a_blocks_own_forward_comes_back(blocks) -> None:
    """What was put in its place before is covered as well, and is there again afterwards."""
    block = blocks[3]
    whole = block.forward
    doubled = block.forward = lambda x, *, scale: 2 * whole(x, scale=scale)
    expected = loss(blocks)
    cover(blocks, "on", never, None)
    assert vars(block)["forward"] is not doubled and torch.equal(loss(blocks), expected)
    cover(blocks, "off", never, None)
    assert vars(block)["forward"] is doubled and "forward" not in vars(blocks[2])


def test_as_few_blocks_as_the_memory_asks_for(blocks) -> None:
    def memory() -> MemoryEstimate:
        covered = sum("forward" in vars(block) for block in blocks)
        return MemoryEstimate(weights=0, adapter=0, activations=10 - 2 * covered, pictures=1)

    assert cover(blocks, "auto", memory, 10) == 0
    assert cover(blocks, "auto", memory, 7) == 2
    assert ["forward" in vars(block) for block in blocks] == [False, False, True, True]
    assert cover(blocks, "auto", memory, 1) == 4
    assert cover(blocks, "off", never, 1) == 0
    assert not any("forward" in vars(block) for block in blocks)
    assert cover(blocks, "auto", never, None) == 0
