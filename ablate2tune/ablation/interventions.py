"""The ablation engine: context managers on native hooks.

>>> with ablated(model, [Ablation("transformer_blocks.3", "skip")]):  # doctest: +SKIP
...     loss = run(model)
>>> with ablated_rows(model, [[], [first], [first, second]]):  # doctest: +SKIP
...     losses = run(model, three_copies_of_the_batch)
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from ablate2tune.ablation.modes import MODES, Mode
from ablate2tune.ablation.regions import Call, replaced
from ablate2tune.ablation.sites import Site, sites_of
from ablate2tune.ablation.streams import bound_arguments, stream_lengths
from ablate2tune.components import Catalogue, discover
from ablate2tune.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from ablate2tune.ablation.calibration import Means

__all__ = ["MODES", "Ablation", "Mode", "Support", "ablated", "ablated_rows", "hooked"]
Hook = Callable[[nn.Module, tuple[Any, ...], dict[str, Any], Any], Any]


@dataclass(frozen=True)
class Ablation:
    """One component, or a part of it, and what becomes of it."""

    address: str
    """Dotted module path of a component, with a slice, stream or tokens if only a part is meant."""
    mode: Mode
    """skip, for blocks: the block returns its inputs. All others: see `ablation.modes`."""


@dataclass(frozen=True)
class Support:
    """What some modes and addresses need beside the model."""

    means: "Means | None" = None
    """For mode mean."""
    directions: Mapping[str, Tensor] = field(default_factory=dict)
    """For mode project_out: (channels,) by the address that is ablated."""
    partners: Tensor | None = None
    """For mode resample: whose activations each row gets, (batch,); by default the row before."""
    donated: Mapping[str, Sequence[Tensor]] = field(default_factory=dict)
    """For mode resample: activations of other examples by site, as `recorded` hands them out, one
    row per row of the batch. Where a site has them, `partners` do not count."""
    patched: Mapping[str, Sequence[Tensor]] = field(default_factory=dict)
    """For modes patch and trace: activations of the same examples under another caption by site,
    as `recorded` hands them out (`states` for trace), one row per row of the batch."""
    tokens: Mapping[str, Tensor] = field(default_factory=dict)
    """For `@tokens=NAME`: which text positions the name means, bool, (batch, text tokens)."""


@contextmanager
def ablated(
    model: nn.Module,
    ablations: Sequence[Ablation],
    means: "Means | None" = None,
    support: Support | None = None,
) -> Iterator[dict[str, int]]:
    """Ablate several components at once; on exit the model is as before, bit for bit.

    Contexts nest. Where two touch one component, the inner one decides.

    Args:
        model: the model.
        ablations: what to ablate, each address once.
        means: calibrated means, for mode mean.
        support: what the other modes need; its means count if `means` is not given.

    Yields:
        How often each address fired so far.

    Raises:
        UserError: an address is no component or comes twice, a mode does not fit it or lacks what
            it needs, or on leaving, a hook never fired, so that the ablation did nothing.
    """
    with ablated_rows(model, [ablations], means, support) as firings:
        yield firings


@contextmanager
def ablated_rows(
    model: nn.Module,
    conditions: Sequence[Sequence[Ablation]],
    means: "Means | None" = None,
    support: Support | None = None,
    catalogue: Catalogue | None = None,
) -> Iterator[dict[str, int]]:
    """Ablate differently in each part of the batch: n conditions, n equal runs of rows.

    One forward over n copies of a batch then measures n conditions; an empty condition is the
    baseline. The result agrees with that of single conditions up to rounding. Partners, token
    masks and means are those of one copy.

    Args:
        model: the model.
        conditions: what to ablate in each run of rows, in their order.
        means: as for `ablated`.
        support: as for `ablated`.
        catalogue: the model's, where it is known; found anew by default.

    Yields:
        How often each address fired so far.

    Raises:
        UserError: as for `ablated`, or a batch is not a multiple of the number of conditions.
    """
    support = support or Support()
    if means is not None:
        support = replace(support, means=means)
    catalogue = catalogue or discover(model)
    edits: list[tuple[str, Site, Edit]] = []
    for place, condition in enumerate(conditions):
        seen: set[str] = set()
        for ablation in condition:
            if ablation.address in seen:
                raise UserError(
                    "the address comes twice", where=ablation.address, mend="name it once"
                )
            seen.add(ablation.address)
            sites = sites_of(model, catalogue, ablation.address)
            check_mode(catalogue, ablation, support)
            edits += [
                (ablation.address, site, Edit(site, ablation, support, place, len(conditions)))
                for site in sites
            ]
    with _lengths_of_streams(model, edits), _registered(model, edits) as firings:
        yield firings


def check_mode(catalogue: Catalogue, ablation: Ablation, support: Support) -> None:
    """Refuse a mode that does not exist, does not fit the component or lacks what it needs.

    Raises:
        UserError: always the reason.
    """
    address, mode = ablation.address, ablation.mode
    component = catalogue[address.partition("@")[0].partition("[")[0]]
    if mode not in MODES:
        raise UserError(f"no such mode {mode!r}", where=address, mend=did_you_mean(mode, MODES))
    if component.obstacle and component.level == "block":
        raise UserError(f"it cannot be ablated: {component.obstacle}", where=address)
    if "[" in address and mode in ("skip", "input"):
        raise UserError(f"mode {mode!r} does not fit a part of a tensor", where=address)
    if mode in ("skip", "zero", "input") and (mode == "skip") != (component.level == "block"):
        raise UserError(
            f"mode {mode!r} does not fit a {component.level}",
            where=address,
            mend="blocks are skipped, sub-layers and projections take zero or mean",
        )
    if mode == "trace" and component.level != "block":
        raise UserError(
            f"mode 'trace' does not fit a {component.level}",
            where=address,
            mend="trace blocks, patch sub-layers and heads",
        )
    if mode == "mean" and support.means is None:
        raise UserError(
            "mode 'mean' needs calibrated means", where=address, mend="call collect_means"
        )
    if mode == "project_out" and address not in support.directions:
        raise UserError(
            "mode 'project_out' needs a direction", where=address, mend="call learn_directions"
        )


class Edit:
    """One ablation at one site, in one run of the batch's rows."""

    def __init__(self, site: Site, ablation: Ablation, support: Support, place: int, runs: int):
        """Take what the edit needs; `place` is which of the `runs` of rows it acts on."""
        self.site, self.ablation, self.support = site, ablation, support
        self.place, self.runs = place, runs
        self.lengths: tuple[int, int] | None = None
        """Text and image tokens in the last call of the block, where the site needs them."""

    def __call__(self, module: nn.Module, args: tuple, kwargs: dict[str, Any], value: Any) -> Any:
        """What the site holds instead of `value`; None if its region is not in this call."""
        call = Call(module, args, kwargs, value)
        return replaced(
            call,
            self.site,
            self.ablation.mode,
            self.ablation.address,
            self.support,
            self.lengths,
            self.place,
            self.runs,
        )


@contextmanager
def _registered(
    model: nn.Module, edits: Sequence[tuple[str, Site, Edit]]
) -> Iterator[dict[str, int]]:
    """Register edits, count their firings by address, and take them off again."""
    firings = {address: 0 for address, _, _ in edits}
    counts: dict[tuple[str, str, int], int] = {
        (address, site.key, edit.place): 0 for address, site, edit in edits
    }

    def counted(address: str, site: Site, edit: Edit) -> Hook:
        key = (address, site.key, edit.place)

        def hook(module: nn.Module, args: tuple, kwargs: dict[str, Any], value: Any) -> Any:
            result = edit(module, args, kwargs, value)
            if result is not None:
                counts[key] += 1
                firings[address] = min(n for (name, *_), n in counts.items() if name == address)
            return result

        return hook

    with ExitStack() as stack:
        for address, site, edit in edits:
            handle = _register(model, site.address, site.side, counted(address, site, edit))
            stack.callback(handle.remove)
        yield firings
        _refuse_silence(firings)


@contextmanager
def _lengths_of_streams(
    model: nn.Module, edits: Sequence[tuple[str, Site, Edit]]
) -> Iterator[None]:
    """Tell the edits that need it how many text and image tokens their block was called with."""
    with ExitStack() as stack:
        for _, site, edit in edits:
            if site.block is None:
                continue
            block = model.get_submodule(site.block)

            def note(module: nn.Module, args: tuple, kwargs: dict[str, Any], edit: Edit = edit):
                edit.lengths = stream_lengths(module, bound_arguments(module, args, kwargs))

            stack.callback(block.register_forward_pre_hook(note, with_kwargs=True).remove)
        yield


@contextmanager
def hooked(
    model: nn.Module, hooks: Iterable[tuple[str, Hook]], side: str = "output"
) -> Iterator[dict[str, int]]:
    """Register hooks by module path, count their firings, and take them off again.

    Args:
        model: the model.
        hooks: module path and hook(module, args, kwargs, value); what it returns, if anything,
            takes the value's place.
        side: whether the value is the module's output or its first input.

    Raises:
        UserError: an address comes twice, or on leaving, a hook never fired.
    """
    firings: dict[str, int] = {}

    def counted(address: str, hook: Hook) -> Hook:
        def count(module: nn.Module, args: tuple, kwargs: dict[str, Any], value: Any) -> Any:
            firings[address] += 1
            return hook(module, args, kwargs, value)

        return count

    with ExitStack() as stack:
        for address, hook in hooks:
            if address in firings:
                raise UserError("the address comes twice", where=address, mend="name it once")
            firings[address] = 0
            stack.callback(_register(model, address, side, counted(address, hook)).remove)
        yield firings
        _refuse_silence(firings)


def _refuse_silence(firings: Mapping[str, int]) -> None:
    for address, count in firings.items():
        if count == 0:
            raise UserError(
                "its hook never fired, so ablating it did nothing",
                where=address,
                mend="unfuse projections, do not compile the model, or leave the address out",
            )


def _register(model: nn.Module, address: str, side: str, hook: Hook) -> Any:
    module = model.get_submodule(address)
    if side == "output":
        return module.register_forward_hook(hook, with_kwargs=True)

    def before(module: nn.Module, args: tuple, kwargs: dict[str, Any]):
        name = None if args else next(iter(kwargs))
        value = hook(module, args, kwargs, args[0] if name is None else kwargs[name])
        if value is None:
            return None
        return ((value, *args[1:]), kwargs) if name is None else (args, kwargs | {name: value})

    return module.register_forward_pre_hook(before, with_kwargs=True)
