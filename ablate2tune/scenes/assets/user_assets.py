"""Models and environment maps of the user's own: a file and a note with its licence beside it.

A folder named in `scenes.assets` may hold `NAME.glb` or `NAME.hdr` or `NAME.exr`, each with
`NAME.yaml` (see `ModelNote` and `MapNote`). All are checked before any Blender is started.
"""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from ablate2tune.errors import UserError, did_you_mean, reason
from ablate2tune.scenes.assets.environment_maps import ENDINGS, check_environment_map
from ablate2tune.scenes.assets.glb import read_glb
from ablate2tune.settings import Settings

MODEL = ".glb"
WRONG_UNIT = 10.0
"""A model that measures this many times what its note says was exported in another unit."""
FLAT = 0.001
"""Least extent of a model (metres)."""
FACING = {"-y": 0.0, "+y": 180.0, "+x": -90.0, "-x": 90.0}
"""Turn about the vertical (degrees) that brings a front to -y."""
HOW = "see docs/scenes.md"


class Note(Settings):
    """What every note says."""

    licence: Annotated[str, Field(min_length=1)]
    """As its author words it, e.g. "CC-BY-4.0"; it is copied into the data set."""
    author: str = ""
    source: str = ""
    """Where it comes from."""

    @field_validator("licence")
    @classmethod
    def _said(cls, licence: str) -> str:
        if not licence.strip():
            raise ValueError("say which it is")
        return licence.strip()


class ModelNote(Note):
    """`NAME.yaml` beside `NAME.glb`."""

    size: Annotated[float, Field(ge=0.01, le=100)]
    """The largest of width, depth and height in life (metres)."""
    colours: Annotated[list[str], Field(min_length=1)]
    """Colour words: one that says what it looks like, or those it is painted in."""
    painted: str | None = None
    """The material that takes the scene's colour; a model without materials takes it all over."""
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*([ -][a-z0-9]+)*$")] | None = None
    """The noun in captions; the file's name by default, with spaces for underscores."""
    wording: str = "{colour} {name}"
    """How a caption says it with its colour."""
    unit: Annotated[float, Field(gt=0)] = 1.0
    """Metres per unit of the file; GLB files are in metres."""
    front: Literal["-y", "+y", "-x", "+x"] | None = None
    """Where its front faces, if it has one, as Blender shows it (z up). Most models face -y."""
    one_sided: bool = False
    """Its front cannot be told from behind."""
    solid_top: bool = False
    """Things can stand on it."""
    holds: bool = False
    """Things fit into it."""
    shelters: Annotated[float, Field(ge=0)] = 0.0
    """Free height below it (metres)."""
    floats: bool = False
    """It may hang in the air."""

    @model_validator(mode="after")
    def _check(self) -> "ModelNote":
        if "{name}" not in self.wording or "{colour}" not in self.wording:
            raise ValueError("wording needs {colour} and {name}")
        return self


class MapNote(Note):
    """`NAME.yaml` beside `NAME.hdr` or `NAME.exr`."""

    strength: Annotated[float, Field(gt=0)] = 1.0
    """Brightness; at 1 the map lights the ground as brightly as the other environments do."""
    ground: Literal["backdrop", "floorboards", "grass", "asphalt"] | None = None
    """Surface of the ground; a plain grey by default."""
    sun: bool = False
    """Adds the scene's own sun, for maps without one (overcast skies, studios)."""


class Model(NamedTuple):
    """A checked model."""

    name: str
    path: Path
    note: ModelNote
    extents: tuple[float, float, float]
    """Width, depth and height at natural size (metres), its front at -y."""

    def job(self) -> dict[str, Any]:
        """What Blender needs to bring it in."""
        return {
            "path": str(self.path),
            "turn": FACING[self.note.front or "-y"],
            "extents": list(self.extents),
            "painted": self.note.painted,
        }


class Map(NamedTuple):
    """A checked environment map."""

    name: str
    path: Path
    note: MapNote

    def job(self) -> dict[str, Any]:
        """What Blender needs to show it."""
        told = self.note.model_dump(include={"strength", "ground", "sun"})
        return {"path": str(self.path), **told}


class UserAssets(NamedTuple):
    """What a folder holds, by name."""

    models: dict[str, Model]
    maps: dict[str, Map]


@lru_cache
def user_assets(folder: Path | None) -> UserAssets:
    """The models and environment maps of a folder, all checked; none without a folder.

    Raises:
        UserError: a file has no note or a note no file, a note lacks what it needs, a file lies
            outside the folder, is damaged, empty or in another unit than its note says.
    """
    models: dict[str, Model] = {}
    maps: dict[str, Map] = {}
    if folder is None:
        return UserAssets(models, maps)
    files = sorted(f for f in folder.iterdir() if f.suffix.lower() in (MODEL, *ENDINGS))
    for file in files:
        if not file.resolve().is_relative_to(folder.resolve()):
            raise UserError(
                "lies outside the folder of assets", where=str(file), mend="copy it into the folder"
            )
        if file.suffix.lower() == MODEL:
            model = _model(file)
            if model.name in models:
                taken = models[model.name].path
                raise UserError(f"{taken} has the name {model.name!r} too", where=str(file))
            models[model.name] = model
        else:
            if file.stem in maps:
                raise UserError(f"{maps[file.stem].path} has the same name", where=str(file))
            check_environment_map(file)
            maps[file.stem] = Map(file.stem, file.resolve(), _note(file, MapNote))
    known = {file.stem for file in files}
    for note in sorted(folder.glob("*.yaml")):
        if note.stem not in known:
            endings = ", ".join(f"{note.stem}{ending}" for ending in (MODEL, *ENDINGS))
            raise UserError("a note without its file", where=str(note), mend=f"add {endings}")
    return UserAssets(models, maps)


def file_notes(models: list[Model], maps: list[Map]) -> dict[str, dict[str, str]]:
    """Licence, author, source and SHA-256 of files, by file name: what a data set says of them."""
    return {
        made.path.name: {
            **made.note.model_dump(include={"licence", "author", "source"}),
            "sha256": hashlib.sha256(made.path.read_bytes()).hexdigest(),
        }
        for made in (*models, *maps)
    }


def _model(file: Path) -> Model:
    note = _note(file, ModelNote)
    glb = read_glb(file)
    name = note.name or file.stem.lower().replace("_", " ")
    where = str(file.with_suffix(".yaml"))
    if note.painted is not None and note.painted not in glb.materials:
        raise UserError(
            f"painted: no material {note.painted!r} in {file.name}",
            where=where,
            mend=did_you_mean(note.painted, filter(None, glb.materials)),
        )
    if len(note.colours) > 1 and note.painted is None and glb.materials:
        raise UserError(
            f"colours: {file.name} has materials of its own, so it has one colour",
            where=where,
            mend="name one colour, or the material that takes them in `painted`",
        )
    longest = max(glb.extents) * note.unit
    times = longest / note.size
    if not 1 / WRONG_UNIT < times < WRONG_UNIT:
        odd = f"{times:.3g} times too large" if times > 1 else f"{1 / times:.3g} times too small"
        raise UserError(
            f"measures {longest:.3g} m, and its note says {note.size:g} m: {odd}",
            where=str(file),
            mend=f"set `unit` (metres per unit of the file) or mend `size` in {Path(where).name}",
        )
    x, y, z = (max(FLAT, e * note.size / max(glb.extents)) for e in glb.extents)
    if note.front in ("+x", "-x"):
        x, y = y, x
    return Model(name, file.resolve(), note, (x, y, z))


N = TypeVar("N", bound=Note)


def _note(file: Path, kind: type[N]) -> N:
    path = file.with_suffix(".yaml")
    try:
        held = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(
            f"has no note: {path.name} is missing", where=str(file), mend=f"write one; {HOW}"
        ) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"not a note ({reason(error)})", where=str(path), mend=HOW) from error
    if not isinstance(held, dict):
        raise UserError("a note is a mapping of keys to values", where=str(path), mend=HOW)
    try:
        return kind.model_validate(held)
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            mend = did_you_mean(key, kind.model_fields)
            raise UserError(f"unknown key {key!r}", where=str(path), mend=mend) from error
        if problem["type"] == "missing":
            raise UserError(f"{key} is missing", where=str(path), mend=f"add {key}: ...") from error
        message = problem["msg"].removeprefix("Value error, ")
        said = f"{key}: {message}" if key else message
        raise UserError(said, where=str(path), mend=HOW) from error
