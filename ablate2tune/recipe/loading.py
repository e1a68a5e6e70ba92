"""Recipes from YAML, with overrides from the command line, checked once."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import yaml
from pydantic import Field, ValidationError

from ablate2tune.compare.compare_config import CompareConfig
from ablate2tune.errors import UserError, did_you_mean, reason
from ablate2tune.localize.localize_config import LocalizeConfig
from ablate2tune.models.model_config import ModelConfig
from ablate2tune.scenes.scenes_config import ScenesConfig
from ablate2tune.settings import Settings
from ablate2tune.small_gpt.gpt_config import GptConfig
from ablate2tune.study.study_config import StudyConfig
from ablate2tune.train.train_config import TrainConfig

T = TypeVar("T", bound=Settings)
FORM = re.compile(r"constrained-\w+|int|float|str|bool|none|\w[\w-]*\[.*\]")
"""How an error's location names the forms that a value may take, which are no keys."""


class _UniqueKeys(yaml.SafeLoader):
    """Safe YAML in which a key that comes twice is an error; plain YAML drops the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping, after a look at its keys."""
        seen: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if key.value == "<<" or not isinstance(key.value, str):
                continue
            if key.value in seen:
                first = seen[key.value]
                raise UserError(
                    f"key {key.value!r} comes twice, in lines {first} and {line}",
                    where=str(node.start_mark.name),
                    mend="join the two",
                )
            seen[key.value] = line
        return super().construct_mapping(node, deep)


class Recipe(Settings):
    """A whole run: one model, one capability, one data set, one adapter."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """Names `runs/NAME` and `data/NAME`."""
    seed: Annotated[int, Field(ge=0)] = 0
    runs: Path = Path("runs")
    """Folder that holds run directories."""
    data: Path = Path("data")
    """Folder that holds rendered data sets."""
    model: ModelConfig
    scenes: ScenesConfig = ScenesConfig()
    localize: LocalizeConfig = Field(default_factory=LocalizeConfig)  # asks for extensions
    train: TrainConfig = TrainConfig()
    compare: CompareConfig = CompareConfig()
    study: StudyConfig = StudyConfig()
    gpt: GptConfig = GptConfig()

    @property
    def run_folder(self) -> Path:
        """`runs/NAME`."""
        return self.runs / self.name

    @property
    def means_folder(self) -> Path:
        """Calibrated means that runs share; no run's name begins with a dot."""
        return self.runs / ".means"

    @property
    def data_folder(self) -> Path:
        """The rendered data set's folder."""
        return self.scenes.folder or self.data / self.name


def load_settings(kind: type[T], path: Path, overrides: list[str]) -> T:
    """Read a YAML file, apply `key.sub=value` overrides (values in YAML) and validate.

    Raises:
        UserError: the file is missing or not YAML, a key is unknown, a value impossible.
    """
    try:
        with open(path, encoding="utf-8") as file:  # its name stands in errors
            values = yaml.load(file, _UniqueKeys)
    except FileNotFoundError as error:
        near = sorted(str(p) for p in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        raise UserError(
            "no such recipe", where=str(path), mend=did_you_mean(str(path), near)
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the recipe ({error})", where=str(path)) from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that does not exist
        raise UserError(f"not valid YAML: {reason(error)}", where=str(path)) from error
    if not isinstance(values, dict):
        raise UserError("a recipe is a YAML mapping of keys to values", where=str(path))
    for override in overrides:
        _apply_override(values, override)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise _first_line(error, kind, path) from error


def load_recipe(path: Path, overrides: list[str] | None = None) -> Recipe:
    """Read a recipe (see `load_settings`)."""
    return load_settings(Recipe, path, overrides or [])


def from_options(kind: type[T], values: Mapping[str, Any]) -> T:
    """Settings from a command's options, by the names that they have there.

    Raises:
        UserError: a value is impossible.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        option = f"--{problem['loc'][0]}".replace("_", "-") + f" {problem['input']}"
        message = problem["msg"].removeprefix("Value error, ")
        raise UserError(f"{message[0].lower()}{message[1:]}", where=option) from error


def overridden(settings: T, values: Mapping[str, Any], where: str) -> T:
    """The same settings with other values of some keys, validated as if they had been written.

    Args:
        settings: a recipe, for instance.
        values: by dotted key ("train.rank").
        where: what sets them, for messages.

    Raises:
        UserError: a key is unknown, or a value impossible.
    """
    written = settings.model_dump(mode="json", exclude_unset=True)
    for key, value in values.items():
        _set(written, key, value, where)
    try:
        return type(settings).model_validate(written)
    except ValidationError as error:
        raise _first_line(error, type(settings), where) from error


def _apply_override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise UserError(
            f"{override!r} is not KEY=VALUE", where="command line", mend="write train.steps=200"
        )
    try:
        value = yaml.load(text, _UniqueKeys)
    except UserError as error:
        raise UserError(error.what, where=f"command line, {key}", mend=error.mend) from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that does not exist
        raise UserError(f"{text!r} is not a YAML value", where=f"command line, {key}") from error
    _set(values, key, value, f"command line, {key}")


def _set(values: dict[str, Any], key: str, value: Any, where: str) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        if values.get(parent) is None:
            values[parent] = {}
        child = values[parent]
        if not isinstance(child, dict):
            raise UserError(f"{parent!r} holds a value, not keys", where=where)
        values = child
    values[last] = value


def _first_line(error: ValidationError, kind: type[Settings], path: Path | str) -> UserError:
    problem, *others = error.errors()
    *above, last = (str(part) for part in problem["loc"] or ("",))
    is_form = problem["type"] != "extra_forbidden" and FORM.fullmatch(last) and bool(above)
    location = [part for part in above if not FORM.fullmatch(part)] + [last] * (not is_form)
    key = ".".join(location)
    if problem["type"] == "extra_forbidden":
        section = _section_at(kind, location[:-1])
        if section and (now := section.gone.get(location[-1])):
            return UserError(f"the key {key} is gone: {now}", where=str(path), mend="leave it out")
        known = list(section.model_fields) if section else []
        return UserError(
            f"unknown key {key!r}", where=str(path), mend=did_you_mean(location[-1], known)
        )
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "missing":
        return UserError(f"{key} is missing", where=str(path), mend=f"add {key}: ...")
    value = problem["input"]
    if location[-1:] == ["[key]"]:
        key = ".".join(location[:-2])
        return UserError(
            f"{value!r} is no name here: {message[0].lower()}{message[1:]}", where=f"{path}, {key}"
        )
    shown = "" if isinstance(value, dict) else f" = {value!r}"
    if is_form:  # one of several that the value may have
        forms = [other["msg"] for other in others if other["loc"][:-1] == problem["loc"][:-1]]
        message = " or ".join(dict.fromkeys([message, *forms]))
    return UserError(f"{key}{shown}: {message[0].lower()}{message[1:]}", where=str(path))


def _section_at(kind: type[Settings], location: list[str]) -> type[Settings] | None:
    for part in location:
        field = kind.model_fields.get(part)
        below = next(_settings_in(field.annotation), None) if field else None
        if below is None:
            return None
        kind = below
    return kind


def _settings_in(annotation: Any) -> Iterator[type[Settings]]:
    """The settings among the forms that an annotation allows."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        yield annotation
    for form in get_args(annotation):
        yield from _settings_in(form)
