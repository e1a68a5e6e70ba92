"""What all settings share: frozen, unknown keys refused; and the types of their values."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Sigma = Annotated[float, Field(gt=0, le=1)]
FOLDER, MAPPING = "<folder>", "<mapping>"
"""Tags of the forms that a value may take; in an error's location they are no keys."""


def _word_of(value: Any) -> Any:
    return ("off", "on")[value] if isinstance(value, bool) else value


YamlWord = BeforeValidator(_word_of)
"""For values among which are `on` and `off`, which YAML reads as true and false."""


class Settings(BaseModel):
    """Base of all settings: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")
