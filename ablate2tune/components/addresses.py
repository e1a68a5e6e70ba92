"""The grammar of selections: globs and ranges over component addresses.

A pattern is read level by level: stack, block index, sub-layer, projection. `*` and `?` stay
within a level, `**` crosses levels, `[qkv]` is a set of characters, `{0..2}` and `{attn,ff}` are
written out (`{0..2,5}` as well), and each of the written-out patterns must match something.
`[heads=*]` at the end stands for every head of each attention that the rest matches.
"""

import re
from collections.abc import Iterator

from ablate2tune.components.catalogue import Catalogue, Component, heads_of
from ablate2tune.errors import UserError

TOKENS = re.compile(r"\*\*|\*|\?|\[[^\]=]+\]|\.|[^*?.\[]+|\[")
BRACES = re.compile(r"\{([^{}]*)\}")
EVERY_HEAD = "[heads=*]"
INNER_DOT = "/"
"""Stands for a dot inside a level, as in the projections `to_out.0` and `net.0.proj`."""


def select(catalogue: Catalogue, pattern: str) -> list[Component]:
    """Components whose address matches a pattern, in model order.

    >>> select(catalogue, "transformer_blocks.{0..2}.attn.to_*")  # doctest: +SKIP
    [to_q, to_k, to_v and to_out.0 of the first three double blocks]
    >>> select(catalogue, "transformer_blocks.*")  # doctest: +SKIP
    [the blocks alone, not their sub-layers]
    >>> select(catalogue, "transformer_blocks.0.attn[heads=*]")  # doctest: +SKIP
    [transformer_blocks.0.attn[heads=0], transformer_blocks.0.attn[heads=1], ...]

    Raises:
        UserError: the pattern, or one alternative of its braces, matches nothing, or its braces
            are malformed; the message holds near matches. Or heads are wanted of something that
            has none.
    """
    if pattern.endswith(EVERY_HEAD):
        attentions = select(catalogue, pattern.removesuffix(EVERY_HEAD))
        return [head for attention in attentions for head in heads_of(attention)]
    chosen: set[str] = set()
    for alternative in _written_out(pattern):
        matches = re.compile(_regex(alternative)).fullmatch
        found = {component.address for component in catalogue if matches(_levels(component))}
        if not found:
            where = pattern if alternative == pattern else f"{pattern} ({alternative})"
            raise UserError("matches no component", where=where, mend=catalogue.near(alternative))
        chosen |= found
    return [component for component in catalogue if component.address in chosen]


def _levels(component: Component) -> str:
    return ".".join(level.replace(".", INNER_DOT) for level in component.path)


def _written_out(pattern: str) -> Iterator[str]:
    braces = BRACES.search(pattern)
    if braces is None:
        if "{" in pattern or "}" in pattern:
            raise UserError("unbalanced braces", where=pattern, mend="write {0..2} or {attn,ff}")
        yield pattern
        return
    for choice in _choices(braces.group(1), pattern):
        yield from _written_out(pattern[: braces.start()] + choice + pattern[braces.end() :])


def _choices(inner: str, pattern: str) -> Iterator[str]:
    for part in inner.split(","):
        first, dots, last = part.partition("..")
        if not dots:
            yield part
        elif first.isdecimal() and last.isdecimal() and int(first) <= int(last):
            yield from map(str, range(int(first), int(last) + 1))
        else:
            raise UserError(
                f"{{{part}}} is not a range", where=pattern, mend="write {0..2}: both ends count"
            )


def _regex(pattern: str) -> str:
    translated = {"**": ".*", "*": "[^.]*", "?": "[^.]", ".": "[./]"}
    parts = []
    for token in TOKENS.findall(pattern):
        if token in translated:
            parts.append(translated[token])
        elif token.startswith("[") and token.endswith("]"):
            parts.append(f"[{re.escape(token[1:-1]).replace(chr(92) + '-', '-')}]")
        else:
            parts.append(re.escape(token))
    return "".join(parts)
