"""Which of a block's inputs each of its outputs continues, read from the block's own source.

A block that returns `encoder_hidden_states, hidden_states` takes parameters of those names: the
skip of a block is its inputs in that order. The arguments are bound by the forward's signature,
since pipelines call blocks by keyword and gradient checkpointing by position.
"""

import ast
import functools
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from ablate2tune.errors import UserError

TEXT = re.compile(r"encoder|context|text|txt|(^|_)t(_|$)")
"""Names of parameters and variables that hold the text stream."""


def stream_names(block: nn.Module, output: Any) -> tuple[str, ...]:
    """The block's parameters that its outputs continue, in the order of the outputs.

    A block of `transformers` has one stream, its first parameter; position biases or attention
    weights that it returns after it have no name here. A module that only wraps another has the
    names of that one.
    """
    several = isinstance(output, tuple | list)
    if type(block).__module__.startswith("transformers."):
        return (_parameters(type(block))[0],)
    return return_names(innermost(block), len(output) if several else 1)


def innermost(block: nn.Module) -> type[nn.Module]:
    """The block's class, or that of the only module that it hands all its arguments on to."""
    inner = list(block.children())
    if len(inner) == 1 and _parameters(type(inner[0])) == _parameters(type(block)):
        return innermost(inner[0])
    return type(block)


def bound_arguments(
    block: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """A call's arguments by parameter name."""
    return inspect.signature(_forward(type(block))).bind(block, *args, **kwargs).arguments


def stream_lengths(
    block: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[int, int] | None:
    """Text and image tokens of one call of a block with two streams; None if they came as one."""
    names, bound = return_names(innermost(block), 2), bound_arguments(block, args, kwargs)
    text = next(name for name in names if TEXT.search(name))
    image = next(name for name in names if not TEXT.search(name))
    if not isinstance(bound.get(text), Tensor) or not isinstance(bound.get(image), Tensor):
        return None
    return bound[text].shape[1], bound[image].shape[1]


@functools.cache
def return_names(kind: type[nn.Module], arity: int) -> tuple[str, ...]:
    """Names of the parameters that a block class returns when it returns `arity` tensors.

    A single returned tensor whose name is no parameter continues the first parameter.

    Raises:
        UserError: the source cannot be read, or its `return` statements of this arity do not name
            parameters, or do not agree.
    """
    parameters = _parameters(kind)
    found = {names for names in _returns(_source(kind)) if len(names) == arity}
    known = {names for names in found if all(name in parameters for name in names)}
    if len(known) == 1 and known == found:
        return known.pop()
    if arity == 1 and not known and parameters:
        return (parameters[0],)
    raise UserError(f"its {arity} outputs cannot be matched to inputs by name", where=kind.__name__)


@functools.cache
def joins_text_first(kind: type[nn.Module]) -> bool | None:
    """Whether a block that joins its streams along the tokens puts the text first.

    Read from the first `torch.cat` of a text and an image variable in its forward; None without
    one.
    """
    for node in ast.walk(_source(kind)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        joined = node.args[0] if node.func.attr == "cat" else None
        if not isinstance(joined, ast.List):
            continue
        names = [item.id if isinstance(item, ast.Name) else "" for item in joined.elts]
        text = [bool(TEXT.search(name)) for name in names]
        if len(names) == 2 and all(names) and sum(text) == 1:
            return text[0]
    return None


def _forward(kind: type[nn.Module]) -> Any:
    return inspect.unwrap(kind.forward)


def _parameters(kind: type[nn.Module]) -> list[str]:
    return list(inspect.signature(_forward(kind)).parameters)[1:]


def _source(kind: type[nn.Module]) -> ast.AST:
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(_forward(kind)))).body[0]
    except (OSError, TypeError, SyntaxError) as error:
        raise UserError("the source of forward() cannot be read", where=kind.__name__) from error


def _returns(function: ast.AST) -> Iterator[tuple[str, ...]]:
    for node in ast.iter_child_nodes(function):
        if isinstance(node, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            continue
        if isinstance(node, ast.Return) and node.value is not None:
            values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
            yield tuple(v.id if isinstance(v, ast.Name) else "" for v in values)
        yield from _returns(node)
