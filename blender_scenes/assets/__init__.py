# SPDX-License-Identifier: Apache-2.0
"""The objects, one file each: meshes from code, typed parameters, words.

To add one, put a file into this folder, or into a folder of your own named in `scenes.assets`
(which may hold worlds as well, see `worlds`):

    from dataclasses import dataclass
    from . import Asset, Builder

    @dataclass(frozen=True)
    class Post:
        height: float                       # metres

    def build(b: Builder, post: Post, pose: str) -> None:
        b.slab((-0.05, -0.05, 0.0), (0.05, 0.05, post.height))

    ASSET = Asset("post", build, {"low": Post(0.6), "high": Post(1.4)})

Objects stand on z = 0 at their natural size in metres, centred on x = y = 0; their front, if they
have one, faces -y. Nothing in this package needs Blender, so the sampler can read it too.
"""

from __future__ import annotations

import importlib.util
import math
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

from ._shapes import BODY, Builder
from ._surfaces import COLOURS, surface

__all__ = [
    "BODY",
    "COLOURS",
    "PLAIN",
    "Asset",
    "Builder",
    "catalogue",
    "draft",
    "second_colour",
    "surface",
]

PLAIN = "plain"
"""The variant of the simple, unit-sized object in one colour that nine kinds have."""
PAINTS = ("red", "green", "blue", "yellow", "purple", "orange", "white", "black")
HERE = os.path.dirname(os.path.abspath(__file__))


@dataclass(frozen=True)
class Asset:
    """A kind of object.

    `name` is its noun, `build(builder, parameters, pose)` its mesh, `variants` its parameters by
    variant, `colours` the colours it may have, `wording` how a colour is said ("{colour} {name}"),
    `has_front` whether its front faces -y, `one_sided` whether that front shows from ahead only,
    `faceless` the variants whose front and back look alike, `holds` the variants that things fit
    into, `solid_top` whether things can stand on it, `grounded` whether it is never put onto low
    things of its own accord (furniture, cars, people), `shelters` the free height (metres) below a
    variant, `floats` whether it may hang in the air, `flies` in which poses it needs no ground,
    `plain` the mesh of the variant "plain", if there is one. `synonyms` are other nouns for it,
    each with the variants that it fits (none: every one), `places` where it belongs ("indoors",
    "outdoors"), `seconds` the variants that show a second colour: its word, or "body/mark" for the
    surface of that name. `file` is where it was read from.
    """

    name: str
    build: Callable[[Builder, Any, str], None]
    variants: Mapping[str, Any]
    poses: tuple[str, ...] = ("standing",)
    colours: tuple[str, ...] = PAINTS
    wording: str = "{colour} {name}"
    has_front: bool = False
    one_sided: bool = False
    faceless: tuple[str, ...] = ()
    holds: tuple[str, ...] = ()
    solid_top: bool = False
    grounded: bool = False
    shelters: Mapping[str, float] = field(default_factory=dict)
    floats: bool = False
    flies: tuple[str, ...] = ()
    plain: Callable[[Builder], None] | None = None
    synonyms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    places: tuple[str, ...] = ("indoors", "outdoors")
    seconds: Mapping[str, str] = field(default_factory=dict)
    file: str = ""


def second_colour(asset: Asset, colour: str, variant: str) -> str:
    """The word for the other colour that a variant shows in a colour, "" if it shows none."""
    second = asset.seconds.get(variant, "")
    if second == "body/mark":
        second = "white" if surface(second, colour).rgb[0] > 0.5 else "black"
    return "" if second == colour else second


class AssetError(ValueError):
    """An asset's own code fails; the message names its file."""


def draft(asset: Asset, variant: str, pose: str) -> Builder:
    """The asset's shapes before Blender has fused its skins, standing centred on the origin.

    Raises:
        KeyError: the asset has no such variant.
        AssetError: it cannot be built, or makes no shape.
    """
    builder = Builder()
    plain = variant == PLAIN and asset.plain is not None
    parameters = None if plain else asset.variants[variant]
    try:
        if plain:
            asset.plain(builder)
        else:
            asset.build(builder, parameters, pose)
        if not (builder.vertices or builder.skins):
            raise ValueError("it makes no shape")
        if not plain:
            builder.settle()
        points = [builder.vertices, *(skin.vertices for skin in builder.skins)]
        if not all(math.isfinite(x) for part in points for vertex in part for x in vertex):
            raise ValueError("a vertex is no number")
    except Exception as error:
        made = f"variant {variant!r} in pose {pose!r}"
        reason = f"{type(error).__name__}: {error}"
        where = f"{asset.file}{_line(error, asset.file)}"
        raise AssetError(f"{where}: {made} cannot be built ({reason})") from error
    return builder


def catalogue(folders: tuple[str, ...] = ()) -> dict[str, Asset]:
    """Every asset by name: this package's, then those of further folders of asset files.

    Raises:
        ValueError: a file has no ASSET (nor a WORLD), cannot be run, or names an asset that exists
            already.
    """
    assets: dict[str, Asset] = {}
    for path, module in modules((HERE, *folders)):
        made = getattr(module, "ASSET", None)
        if made is None and hasattr(module, "WORLD"):
            continue
        if not isinstance(made, Asset):
            raise ValueError(f"{path}: it defines no ASSET and no WORLD")
        if made.name in assets:
            raise ValueError(f"{path}: there is already an asset named {made.name!r}")
        assets[made.name] = replace(made, file=path)
    return assets


def modules(folders: tuple[str, ...]) -> Iterator[tuple[str, ModuleType]]:
    """The files of some folders, run once each: path and module.

    Raises:
        ValueError: one cannot be run.
    """
    for folder in folders:
        for file in sorted(os.listdir(folder)):
            stem, ending = os.path.splitext(file)
            if ending == ".py" and not stem.startswith("_"):
                path = os.path.join(folder, file)
                yield path, _load(stem, path)


def _line(error: BaseException, path: str) -> str:
    """ ":12" where an error came by line 12 of a file, by the last such line; else nothing."""
    if isinstance(error, SyntaxError) and error.filename == path:
        return f":{error.lineno}"
    lines = [n for frame, n in traceback.walk_tb(error.__traceback__)
             if frame.f_code.co_filename == path]  # fmt: skip
    return f":{lines[-1]}" if lines else ""


def _load(stem: str, path: str) -> ModuleType:
    own = os.path.dirname(path) == HERE
    name = f"{__name__}.{stem}" if own else f"{__name__}._user_{abs(hash(path))}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            del sys.modules[name]
            where = f"{path}{_line(error, path)}"
            raise ValueError(f"{where}: {type(error).__name__}: {error}") from error
    return sys.modules[name]
