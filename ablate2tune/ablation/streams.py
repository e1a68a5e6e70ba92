"""Which of a block's inputs each of its outputs continues, read from the block's own source.

A block that returns `encoder_hidden_states, hidden_states` takes parameters of those names: the
skip of a block is its inputs in that order. The arguments are bound by the forward's signature,
since pipelines call blocks by keyword and gradient checkpointing by position.
"""

import ast
import functools
import inspect
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from ablate2tune.errors import UserError


def skipped_output(block: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], output: Any):
    """What a block would return if it did nothing: its input streams in its return order.

    Args:
        block: the block that was called.
        args: the call's positional arguments.
        kwargs: the call's keyword arguments.
        output: what the block returned; a tensor or a tuple of tensors, one per stream.

    Returns:
        The block's own input tensors, in the shape of `output`.

    Raises:
        UserError: the block's outputs cannot be traced to inputs by name, or differ from them in
            shape or dtype.
    """
    streams = list(output) if isinstance(output, tuple | list) else [output]
    names = return_names(type(block), len(streams))
    forward = _forward(type(block))
    bound = inspect.signature(forward).bind(block, *args, **kwargs).arguments
    inputs = [bound.get(name) for name in names]
    for name, before, after in zip(names, inputs, streams, strict=True):
        if not isinstance(before, Tensor) or not isinstance(after, Tensor):
            raise UserError(f"stream {name!r} is not a tensor", where=type(block).__name__)
        if before.shape != after.shape or before.dtype != after.dtype:
            raise UserError(
                f"stream {name!r} enters as {before.dtype} {tuple(before.shape)} and leaves as "
                f"{after.dtype} {tuple(after.shape)}, so the block cannot be skipped",
                where=type(block).__name__,
            )
    return tuple(inputs) if isinstance(output, tuple | list) else inputs[0]


@functools.cache
def return_names(kind: type[nn.Module], arity: int) -> tuple[str, ...]:
    """Names of the parameters that a block class returns when it returns `arity` tensors.

    A single returned tensor whose name is no parameter continues the first parameter.

    Raises:
        UserError: the source cannot be read, or its `return` statements of this arity do not name
            parameters, or do not agree.
    """
    forward = _forward(kind)
    parameters = list(inspect.signature(forward).parameters)[1:]
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(forward)))
    except (OSError, TypeError, SyntaxError) as error:
        raise UserError("the source of forward() cannot be read", where=kind.__name__) from error
    found = {names for names in _returns(tree.body[0]) if len(names) == arity}
    known = {names for names in found if all(name in parameters for name in names)}
    if len(known) == 1 and known == found:
        return known.pop()
    if arity == 1 and not known and parameters:
        return (parameters[0],)
    raise UserError(f"its {arity} outputs cannot be matched to inputs by name", where=kind.__name__)


def _forward(kind: type[nn.Module]) -> Any:
    return inspect.unwrap(kind.forward)


def _returns(function: ast.AST) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for node in ast.iter_child_nodes(function):
        if isinstance(node, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            continue
        if isinstance(node, ast.Return) and node.value is not None:
            values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
            found.append(tuple(v.id if isinstance(v, ast.Name) else "" for v in values))
        found += _returns(node)
    return found
