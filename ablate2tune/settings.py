"""What all settings share: frozen, unknown keys refused; and the types of their values."""

from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, ClassVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from ablate2tune.disk.identity import identity

Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Sigma = Annotated[float, Field(gt=0, le=1)]


class Mark(Enum):
    """What a key is for, said in its annotation: `Annotated[Positive, Mark.STEERS]`.

    An unmarked key decides the stage's results: with another value the stage starts anew.
    """

    PRESENTS = "how results are shown: with another value they are shown anew"
    STEERS = "how the work is done, not what comes out: may change at any time"
    CONTENT = "a file, a folder or a hub name: its content decides the results, not its place"


def _word_of(value: Any) -> Any:
    return ("off", "on")[value] if isinstance(value, bool) else value


YamlWord = BeforeValidator(_word_of)
"""For values among which are `on` and `off`, which YAML reads as true and false."""


class Settings(BaseModel):
    """Base of all settings: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    gone: ClassVar[dict[str, str]] = {}
    """Keys that there are no more, with what holds now; a recipe that has one is told so."""
    later: ClassVar[frozenset[str]] = frozenset()
    """Keys that came later: where they are None, results of before are those of now."""

    @field_validator("*", mode="before")
    @classmethod
    def _as_written(cls, value: Any, info: ValidationInfo) -> Any:
        """No `true` for a number; whatever names a file is not empty, and may begin with `~`.

        An empty path would be the current folder.
        """
        field = cls.model_fields[str(info.field_name)]
        kinds = set(_kinds(field.annotation))
        listed = value if isinstance(value, list) else [value]
        if kinds & {int, float} and bool not in kinds and any(isinstance(v, bool) for v in listed):
            raise ValueError("a number is needed, not true or false")
        named = Path in kinds or Mark.CONTENT in field.metadata
        if named and value == "":
            raise ValueError("is empty; name a file or a folder (. is this one)")
        if named and isinstance(value, str | Path) and str(value).startswith("~"):
            return str(Path(value).expanduser())
        return value

    def decisive(self) -> dict[str, Any]:
        """The values that decide results, JSON-able: without those that steer or present.

        Raises:
            UserError: a file that counts by its content cannot be read.
        """
        values = self.model_dump(mode="json")
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            marked = Mark.PRESENTS in field.metadata or Mark.STEERS in field.metadata
            if marked or (value is None and name in self.later):
                del values[name]
            elif isinstance(value, Settings):
                values[name] = value.decisive()
            elif isinstance(value, dict):
                below = {k: v.decisive() for k, v in value.items() if isinstance(v, Settings)}
                values[name] = {**values[name], **below}
            elif Mark.CONTENT in field.metadata and isinstance(value, str | Path):
                values[name] = identity(value)
        return values

    def presenting(self) -> dict[str, Any]:
        """The values that say how results are shown, JSON-able."""
        values = self.model_dump(mode="json")
        found: dict[str, Any] = {}
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if Mark.PRESENTS in field.metadata:
                found[name] = values[name]
            elif isinstance(value, Settings) and (below := value.presenting()):
                found[name] = below
        return found


def _kinds(annotation: Any) -> Iterator[type]:
    """The types among the forms that an annotation allows."""
    if isinstance(annotation, type):
        yield annotation
    for form in get_args(annotation):
        yield from _kinds(form)
