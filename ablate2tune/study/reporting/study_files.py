"""study.json, study.csv, costs.json and curves.png, from the cells of a study.

What follows from the study alone is in study.json, so that a study that was killed, or run by any
number of processes, ends with the same file. What depends on the machine is in costs.json.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ablate2tune import files
from ablate2tune.study.experiment import Experiment
from ablate2tune.study.reporting.curves_plot import write_curves
from ablate2tune.study.reporting.next_experiments import next_experiments
from ablate2tune.study.reporting.summary import Row, chance_tests, summarise
from ablate2tune.study.reporting.together import (
    add_best_of_grid,
    interactions,
    size_law,
    surprises,
)
from ablate2tune.study.study_config import StudyConfig

FILE, CSV, COSTS, CURVES = "study.json", "study.csv", "costs.json", "curves.png"
SCHEMA, COSTS_SCHEMA = "ablate2tune/study/1", "ablate2tune/study-costs/1"
LABELS = ("arm", "budget", "axis", "seed", "draw", "status", "key")
"""First columns of study.csv."""


def write_cells(
    folder: Path,
    rows: Sequence[Row],
    untouched: Mapping[str, Any],
    costs: Mapping[str, Mapping[str, Any]],
    finalists: Mapping[str, Any],
) -> None:
    """Keep what the cells gave; `write_report` derives the rest."""
    held = {"untouched": untouched, "cells": list(rows), "finalists": finalists}
    files.write_json(folder / COSTS, {"schema": COSTS_SCHEMA, "cells": costs})
    files.write_json(folder / FILE, {"schema": SCHEMA, **held})


def write_report(
    folder: Path, experiment: Experiment, config: StudyConfig, seed: int, grid_value: Any = None
) -> None:
    """Write settings, tests and what is next into study.json, and the other files.

    Args:
        folder: of the study.
        experiment: says what the figures are.
        config: of the study.
        seed: of the tests.
        grid_value: the recipe's own value of the grid's key.
    """
    held = files.read_json(folder / FILE)
    rows: list[dict[str, Any]] = held["cells"]
    settings = summarise(rows, experiment, config, seed)
    add_best_of_grid(settings, rows, experiment, config, grid_value)
    tests = chance_tests(rows, experiment, config, seed)
    study = {
        "schema": SCHEMA,
        "experiment": config.experiment,
        "figure": experiment.figure,
        "title": experiment.title,
        "seeds": config.seeds,
        "guided": config.guided_arm,
        "chance": config.chance_arm,
        "rankings": config.rankings,
        "confidence": config.confidence,
        "settings": settings,
        "tests": tests,
        "interactions": interactions(settings, rows, experiment, config),
        "law": size_law(rows, experiment, config),
        "surprises": surprises(settings, experiment),
        "next": next_experiments(settings, tests, experiment, config),
        **{key: held[key] for key in ("finalists", "untouched", "cells")},
    }
    files.write_json(folder / FILE, study)
    costs = files.read_json(folder / COSTS)["cells"]
    files.write_text(folder / CSV, _csv(rows, costs, experiment))
    write_curves(study, experiment, folder / CURVES)


def read_study(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The contents of study.json, and those of costs.json by cell."""
    return files.read_json(folder / FILE), files.read_json(folder / COSTS)["cells"]


def _csv(rows: Sequence[Row], costs: Mapping[str, Any], experiment: Experiment) -> str:
    """One line per cell; the parts of the figure as columns of their own."""
    flat = []
    for row in rows:
        line = {name: row[name] for name in LABELS}
        line["axis"] = " ".join(f"{key}={value}" for key, value in row["axis"].items())
        for key, value in row.items():
            if key == experiment.parts:
                line |= {f"{experiment.figure} {part}": number for part, number in value.items()}
            elif key not in line and type(value) in (int, float):
                line[key] = value
        flat.append(line | {"seconds_per_step": costs.get(row["key"], {}).get("seconds_per_step")})
    columns = dict.fromkeys(key for line in flat for key in line)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()
