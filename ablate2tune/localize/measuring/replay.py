"""Prefix reuse: the blocks before an ablated one are computed once and replayed after that.

The model's own forward runs every time, so whatever stands between the blocks (concatenation of
streams, long skip connections) stays right; blocks that are replayed return what they returned
in the recorded run of the same batch. Valid for one noised batch, not across sampling steps.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from ablate2tune.ablation.regions import map_tensors
from ablate2tune.components import discover
from ablate2tune.errors import UserError


class Trace:
    """What every block returned in one run of one batch, in the order of the calls."""

    def __init__(self) -> None:
        """Nothing recorded yet."""
        self.order: list[str] = []
        self._outputs: dict[str, Any] = {}
        self._versions: dict[str, list[int]] = {}

    @property
    def obstacle(self) -> str | None:
        """Why the outputs cannot stand for their blocks; None where they can."""
        twice = [address for i, address in enumerate(self.order) if address in self.order[:i]]
        if twice:
            return f"{twice[0]} is called more than once in a forward"
        changed = [a for a, x in self._outputs.items() if _versions(x) != self._versions[a]]
        if changed:
            return f"the model changes the output of {changed[0]} in place"
        return None

    def add(self, address: str, output: Any) -> None:
        """Keep a block's output."""
        self.order.append(address)
        self._outputs[address] = output
        self._versions[address] = _versions(output)

    def output(self, address: str, copies: int) -> Any:
        """A block's recorded output, its batch repeated `copies` times.

        Raises:
            UserError: the model changed the recorded output in place.
        """
        output = self._outputs[address]
        if _versions(output) != self._versions[address]:
            raise UserError(
                "the model changes this block's output in place, so it cannot be replayed",
                where=address,
                mend="set localize.prefix_reuse=false",
            )
        if copies == 1:
            return output
        return map_tensors(lambda x: x.repeat(copies, *[1] * (x.dim() - 1)), output)


class Blocks:
    """The blocks of a model, whose calls are counted, recorded and replayed."""

    def __init__(self, model: nn.Module):
        """Find the blocks.

        Raises:
            UserError: a block is compiled, so that its forward cannot be replaced.
        """
        self._modules = {b.address: model.get_submodule(b.address) for b in discover(model).blocks}
        for address, module in self._modules.items():
            if getattr(module, "_compiled_call_impl", None) is not None:
                raise UserError(
                    "the block is compiled", where=address, mend="load the model without compile()"
                )
        self.evaluations = 0
        """Block evaluations so far: one per block and row of the batch that really ran."""

    def __len__(self) -> int:
        return len(self._modules)

    @property
    def addresses(self) -> list[str]:
        """The blocks' addresses, stack after stack."""
        return list(self._modules)

    @contextmanager
    def running(
        self, record: Trace | None = None, replay: Trace | None = None, start: int = 0, copies=1
    ) -> Iterator[None]:
        """Within this context the model's blocks are counted; on exit they are as before.

        Args:
            record: takes the outputs of all blocks.
            replay: a trace of the same batch; its first `start` blocks are not computed.
            start: how many blocks are replayed.
            copies: how often the recorded batch is repeated in this one.
        """
        replayed = set(replay.order[:start]) if replay else set()
        with ExitStack() as stack:
            for address, module in self._modules.items():
                if address in replayed and replay is not None:
                    forward = _returning(replay, address, copies)
                else:
                    forward = self._counting(address, module.forward, record)
                stack.enter_context(_replaced_forward(module, forward))
            yield

    def _counting(self, address: str, forward: Any, record: Trace | None) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            output = forward(*args, **kwargs)
            streams = [output] if isinstance(output, Tensor) else output
            self.evaluations += next(len(x) for x in streams if isinstance(x, Tensor))
            if record is not None:
                record.add(address, output)
            return output

        return call


def _returning(trace: Trace, address: str, copies: int) -> Any:
    return lambda *_args, **_kwargs: trace.output(address, copies)


@contextmanager
def _replaced_forward(module: nn.Module, forward: Any) -> Iterator[None]:
    """Give one module another forward; an instance's own one (offloading sets it) comes back."""
    own = vars(module).get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if own is None:
            del module.forward
        else:
            module.forward = own


def _versions(output: Any) -> list[int]:
    tensors = [output] if isinstance(output, Tensor) else output
    return [x._version for x in tensors if isinstance(x, Tensor)]
