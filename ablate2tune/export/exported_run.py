"""What a finished run says of its adapter: its recipe, modules, where they came from, scores."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ablate2tune.errors import UserError, reason
from ablate2tune.files import read_json
from ablate2tune.models import is_language_model
from ablate2tune.recipe import Recipe
from ablate2tune.run_dir import RunDir

ARM = "after"
"""The arm of a comparison that the run's own adapter is."""


@dataclass(frozen=True)
class ExportedRun:
    """A run whose training ended well."""

    folder: Path
    recipe: Recipe
    targets: Mapping[str, Any]
    """`train/targets.json`."""
    inputs: Mapping[str, Any]
    """What the training depended on: hashes of the model, the data and the ranking."""
    scores: Mapping[str, Any] | None
    """`compare/scores.json`, if a comparison ended after the training."""

    @property
    def adapter(self) -> Path:
        """The folder of the adapter."""
        return self.folder / "train" / "adapter"

    @property
    def grid(self) -> Path | None:
        """The pictures of the comparison."""
        path = self.folder / "compare" / "grid.png"
        return path if self.scores and path.is_file() else None

    @property
    def modules(self) -> list[str]:
        """What was adapted."""
        return list(self.targets["injected"])

    @property
    def acts_above(self) -> float:
        """The noise level below which the adapter is off while sampling; 0: there is none.

        It is training's: another stage may have run with another recipe since.
        """
        return self.inputs.get("train", {}).get("acts_above") or 0.0

    @property
    def rank(self) -> int:
        """The largest rank of a module."""
        return max(self.targets["ranks"].values())

    def facts(self) -> dict[str, str]:
        """What the header of a weights' file says."""
        held: dict[str, Any] = {
            "base_model": self.recipe.model.path,
            "base_model_hash": self.inputs["model"].get("path"),
            "targets": self.modules,
            "acts_above": self.acts_above or None,
            "ranking_hash": self.inputs.get("ranking"),
            "data_hash": self.inputs.get("data"),
            "scores": _short(self.scores),
        }
        told = {
            f"ablate2tune.{key}": value if isinstance(value, str) else json.dumps(value)
            for key, value in held.items()
            if value is not None
        }
        size = f"{self.recipe.model.width}x{self.recipe.model.height}"
        standard = {"sai_model_spec": "1.0.0", "title": self.recipe.name, "resolution": size}
        return told | {f"modelspec.{key}": value for key, value in standard.items()}


def read_run(folder: Path) -> ExportedRun:
    """A run's folder, `runs/NAME`.

    Raises:
        UserError: it is none, its training has not ended, or a file of it is not as it was written.
    """
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        raise UserError(
            "not a run: it has no manifest.json", where=str(folder), mend="name runs/NAME"
        )
    told = read_json(manifest)
    try:
        recipe = Recipe.model_validate(told["recipe"])
    except (ValidationError, KeyError, TypeError) as error:
        raise UserError(
            f"its recipe cannot be read, perhaps of another version ({reason(error)})",
            where=str(manifest),
            mend="train it again with this one",
        ) from error
    run = RunDir(folder, told["recipe"])
    record, later = run.record("train"), run.record("compare")
    if is_language_model(recipe.model.path):
        raise UserError(
            "its model is a language model, whose adapters PEFT loads as they are",
            where=str(folder / "train" / "adapter"),
        )
    if "end" not in record:
        raise UserError("its training has not ended", where=str(folder), mend="`ablate2tune train`")
    broken = [f"{name} {what}" for name, what in run.broken("train").items() if "adapter/" in name]
    if broken:
        raise UserError(broken[0], where=str(folder / "train"), mend="train it again")
    scores = folder / "compare" / "scores.json"
    fresh = later.get("end", "") >= record["end"] and scores.is_file()
    return ExportedRun(
        folder,
        recipe,
        _targets(folder / "train" / "targets.json"),
        record["inputs"],
        read_json(scores) if fresh else None,
    )


def _targets(path: Path) -> dict[str, Any]:
    """The modules that were adapted, and their ranks."""
    told = read_json(path)
    known = isinstance(told, dict) and isinstance(told.get("ranks"), dict)
    if not known or not told["ranks"] or set(told["ranks"]) != set(told.get("injected", ())):
        raise UserError(
            "does not say which modules were adapted", where=str(path), mend="train it again"
        )
    return told


def _short(scores: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Before, after and the difference of each figure, without what was drawn by relation."""
    if scores is None or ARM not in scores["arms"]:
        return None
    arms = {scores["reference"]: scores["arms"][scores["reference"]], ARM: scores["arms"][ARM]}
    arms["difference"] = scores["difference"][ARM]
    below = ("per_relation", "drawn")
    return {arm: {k: v for k, v in of.items() if k not in below} for arm, of in arms.items()}
