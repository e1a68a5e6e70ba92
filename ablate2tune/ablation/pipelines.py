"""Ablation across a pipeline: denoiser and text encoders under one set of addresses."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from torch import nn

from ablate2tune.ablation.edits import Ablation
from ablate2tune.ablation.interventions import ablated
from ablate2tune.ablation.support.support import Support
from ablate2tune.components.configs import split_prefix


@contextmanager
def ablated_parts(
    parts: Mapping[str, nn.Module],
    ablations: Sequence[Ablation],
    supports: Mapping[str, Support] | None = None,
) -> Iterator[dict[str, int]]:
    """Ablate parts of a pipeline by prefixed addresses, `text_encoder_2:encoder.block.3`.

    An address without a prefix is of the denoiser. `parts` are modules by name, such as a
    pipeline's `components` (what is no module is left out); `supports` are by the same names.
    Yields how often each address fired when the context was left.

    Raises:
        UserError: no such part, and as for `ablated`.
    """
    modules = {name: part for name, part in parts.items() if isinstance(part, nn.Module)}
    chosen: dict[str, list[Ablation]] = {}
    full: dict[tuple[str, str], str] = {}
    for ablation in ablations:
        name, address = split_prefix(ablation.address, modules)
        chosen.setdefault(name, []).append(replace(ablation, address=address))
        full[name, address] = ablation.address
    fired: dict[str, int] = {}
    with ExitStack() as stack:
        inner = {
            name: stack.enter_context(
                ablated(modules[name], those, support=(supports or {}).get(name))
            )
            for name, those in chosen.items()
        }
        yield fired
        for name, firings in inner.items():
            fired |= {full[name, address]: count for address, count in firings.items()}
