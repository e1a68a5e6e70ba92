"""Native hooks by module path: registered, counted and taken off again."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from torch import nn
from torch.utils.hooks import RemovableHandle

from ablate2tune.errors import UserError


class Call(NamedTuple):
    """One call of a hooked module, and the value that is about to be replaced."""

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    value: Any


Hook = Callable[[Call], Any]
"""What it returns, if anything, takes the value's place."""


@contextmanager
def hooked(
    model: nn.Module, hooks: Iterable[tuple[str, Hook]], side: str = "output"
) -> Iterator[dict[str, int]]:
    """Register hooks by module path, count their firings, and take them off again.

    `side` says whether their value is the module's "output" or its first "input".

    Raises:
        UserError: an address comes twice, or on leaving, a hook never fired.
    """
    firings: dict[str, int] = {}

    def counted(address: str, hook: Hook) -> Hook:
        def count(call: Call) -> Any:
            firings[address] += 1
            return hook(call)

        return count

    with ExitStack() as stack:
        for address, hook in hooks:
            if address in firings:
                raise UserError("the address comes twice", where=address, mend="name it once")
            firings[address] = 0
            stack.enter_context(register(model, address, side, counted(address, hook)))
        yield firings
        refuse_silence(firings)


def refuse_silence(firings: Mapping[str, int]) -> None:
    """Refuse hooks that never fired.

    Raises:
        UserError: names the first of them.
    """
    for address, count in firings.items():
        if count == 0:
            raise UserError(
                "its hook never fired, so ablating it did nothing",
                where=address,
                mend="unfuse projections, do not compile the model, or leave the address out",
            )


def register(model: nn.Module, address: str, side: str, hook: Hook) -> RemovableHandle:
    """Register a hook on a module's "output", first "input", or argument of another name.

    Returns:
        torch's handle.
    """
    module = model.get_submodule(address)
    if side == "output":
        return module.register_forward_hook(lambda *call: hook(Call(*call)), with_kwargs=True)

    def before(module: nn.Module, args: tuple, kwargs: dict[str, Any]):
        if side != "input":
            bound = inspect.signature(module.forward).bind(*args, **kwargs)
            value = hook(Call(module, args, kwargs, bound.arguments[side]))
            if value is None:
                return None
            bound.arguments[side] = value
            return bound.args, bound.kwargs
        name = None if args else next(iter(kwargs))
        value = hook(Call(module, args, kwargs, args[0] if name is None else kwargs[name]))
        if value is None:
            return None
        return ((value, *args[1:]), kwargs) if name is None else (args, kwargs | {name: value})

    return module.register_forward_pre_hook(before, with_kwargs=True)
