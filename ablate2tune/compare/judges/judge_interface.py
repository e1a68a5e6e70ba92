"""What a judge is, and how one is chosen: one file each, which registers its class."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from pydantic import SerializeAsAny, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from ablate2tune.compare.relation_reading import Detection
from ablate2tune.errors import UserError, did_you_mean
from ablate2tune.registry import Registry
from ablate2tune.settings import Settings

if TYPE_CHECKING:
    import torch

FOLDER_KIND, MAPPING_KIND = "trained", "zero-shot"
"""The kinds that a folder's name, and a mapping without `kind`, stand for."""
JUDGED_AT_ONCE = 64
"""Images per forward pass of a judge; fixed, so that verdicts do not depend on resumption."""


class JudgeConfig(Settings):
    """A judge's settings; each kind adds its own."""

    kind: Any
    """Name of a registered judge; each kind narrows it to its own."""


class Judge(Protocol):
    """Finds coloured objects and their depth in images; relations are read by geometry.

    Verdicts, calibration and scores do not depend on how it finds objects.
    """

    settings_type: ClassVar[type[JudgeConfig]]
    """What `compare.judge` holds for this kind."""

    def __init__(
        self, settings: Any, labels: Sequence[str], device: "torch.device | str" = "cpu"
    ) -> None:
        """Load it; `labels` is what it will be asked for, for one that knows no own ones."""
        ...

    @staticmethod
    def check(settings: Any, labels: Sequence[str]) -> None:
        """Refuse, without loading weights, what it will be asked for and cannot know (`labels`),
        and settings whose files are missing or of another kind."""
        ...

    @property
    def labels(self) -> Sequence[str]:
        """The labels it can find ("red ball", ...)."""
        ...

    def describe(self) -> dict[str, Any]:
        """What it is and where it came from, for the result files."""
        ...

    def detect(self, images: np.ndarray, batch_size: int = JUDGED_AT_ONCE) -> list[list[Detection]]:
        """Objects per image, largest first; images are uint8 (n, height, width, 3)."""
        ...


JUDGES: Registry[type[Judge]] = Registry("judge", "ablate2tune.compare.judges")
AnyJudge = SerializeAsAny[JudgeConfig] | None
"""`compare.judge`, or none."""


def read_settings(value: Any) -> JudgeConfig | None:
    """A judge's settings as a recipe states them: a folder, a mapping, or nothing.

    Raises:
        ValueError: they are none of these, or no settings of a registered kind.
    """
    if value is None or isinstance(value, JudgeConfig):
        return value
    if isinstance(value, str | Path):
        value = {"kind": FOLDER_KIND, "folder": value}
    if not isinstance(value, dict):
        raise ValueError("a folder's path or a mapping of settings is needed")
    kind = value.get("kind", MAPPING_KIND)
    try:
        settings_type = JUDGES[kind].settings_type
    except UserError as error:
        raise ValueError(str(error)) from error
    try:
        return settings_type.model_validate({"kind": kind, **value})
    except ValidationError as error:
        raise _with_near_keys(error, settings_type) from error


def load_judge(
    judge: JudgeConfig | Path | None,
    device: "torch.device | str" = "cpu",
    labels: Sequence[str] = (),
) -> Judge:
    """Load a judge from its settings or its folder.

    `labels` is what a zero-shot one looks for ("red ball", ...); a trained one knows its own.

    Raises:
        UserError: none is set; a folder or a model is missing, damaged or of another kind; or it
            is given no labels and needs them.
    """
    settings = read_settings(judge)
    if settings is None:
        raise UserError(
            "no judge is set",
            where="compare.judge",
            mend="set it to a judge's folder or to the settings of one (docs/judges.md)",
        )
    return JUDGES[settings.kind](settings, labels, device)


def check_judge(judge: JudgeConfig | Path | None, labels: Sequence[str] = ()) -> None:
    """What can be said of a recipe's judge without its weights; None passes.

    Raises:
        UserError: a folder or a model is missing or of another kind, or does not know a label.
    """
    settings = read_settings(judge)
    if settings is not None:
        JUDGES[settings.kind].check(settings, labels)


def check_label(known: Collection[str], label: str) -> None:
    """Refuse an object that will be asked for and is none that a judge can find."""
    if label not in known:
        raise UserError(
            f"the judge does not know {label!r}",
            where="compare.judge",
            mend="take that kind or colour out of scenes, or set a judge that knows it",
        )


def _with_near_keys(error: ValidationError, settings: type[Settings]) -> ValidationError:
    """The same error, in which an unknown key is named with those that are near."""
    lines = []
    for line in error.errors():
        kind: Any = line["type"]
        if kind == "extra_forbidden":
            key = str(line["loc"][-1])
            near = did_you_mean(key, settings.model_fields)
            kind = PydanticCustomError("unknown_key", "unknown key; {near}", {"near": near})
        elif kind == "value_error":
            kind = PydanticCustomError("value_error", "{said}", {"said": line["msg"]})
        lines.append(
            InitErrorDetails(
                type=kind, loc=line["loc"], input=line["input"], ctx=line.get("ctx", {})
            )
        )
    return ValidationError.from_exception_data(error.title, lines)
