# SPDX-License-Identifier: Apache-2.0
"""Renders inside Blender: one JSON job per line in, one JSON answer per line out.

Started as `python worker.py` where `import bpy` works, or as
`blender --background --factory-startup --python-exit-code 3 --python worker.py`.

A job has one of the keys of `JOBS`. A contrast group is `{"group": SPEC, "folder": PATH,
"rejections": [...]}`; the folder holds `images`, `masks`, `depth` and `sidecars`. The answer is
`{"status": "accepted"}` once every file of the group is written,
`{"status": "rejected", "reason": ...}` if a twin does not show its relation,
`{"status": "unwritable", "reason": ...}` if the folder is full or read-only, or
`{"status": "failed", "reason": ...}`. A portrait of one object is `{"portrait": SPEC, "path":
FILE}`. Either may bring `models` and `maps`, files of the user's own by name (see `imports` and
`sky`). The first answer, before any job, is `{"status": "ready"}`, or `{"status": "unable",
"reason": ..., "where": ..., "mend": ...}` where this Blender lacks what the settings ask for; a
job whose files it cannot use is answered so too. The settings are JSON in the environment variable
ABLATE2TUNE_WORKER: `device` (auto, cpu or gpu), `slot` (number of this process among several) and
`view_transforms` (those that jobs will name).
Answers carry a prefix, since Blender prints on the same stream.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import signal
import sys
import traceback

ANSWER = "@@a2t "
HERE = os.path.dirname(os.path.abspath(__file__))
if HERE not in sys.path:  # Blender's --python does not add it
    sys.path.insert(0, HERE)

import bpy  # noqa: E402
import devices  # noqa: E402
import imports  # noqa: E402
import sky  # noqa: E402
from assets import AssetError  # noqa: E402
from groups import render_group  # noqa: E402
from portrait import render_portrait  # noqa: E402
from stage import USUAL_TRANSFORM, Stage, view_transforms  # noqa: E402
from unable import UnableError  # noqa: E402

JOBS = {"group": render_group, "portrait": render_portrait}


def scripts_hash() -> str:
    """SHA-256 over the scripts here, of assets and of worlds: which code made an image."""
    digest = hashlib.sha256()
    assets = os.path.join(HERE, "assets")
    for folder in (HERE, assets, os.path.join(assets, "worlds")):
        for name in sorted(n for n in os.listdir(folder) if n.endswith(".py")):
            with open(os.path.join(folder, name), "rb") as file:
                digest.update(file.read())
    return digest.hexdigest()


SETTINGS = {"device": "cpu", "slot": 0, "view_transforms": [USUAL_TRANSFORM]}


def prepared(stage: Stage, settings: dict) -> str:
    """Apply the settings; returns the device in use.

    Raises:
        UnableError: there is no GPU although one is asked for, or no such view transform.
    """
    there = view_transforms(stage.scene)
    for name in settings["view_transforms"]:
        if name not in there:
            raise UnableError(
                f"Blender {bpy.app.version_string} has no view transform {name!r}",
                "scenes.view_transforms",
                f"it has {', '.join(there)}",
            )
    try:
        return devices.choose(
            settings["device"],
            bpy.context.preferences.addons["cycles"].preferences,
            stage.scene.cycles,
            stage.works,
            settings["slot"],
        )
    except devices.NoGpuError as error:
        raise UnableError(str(error), "scenes.device = gpu", "set auto or cpu") from error


def end_with_parent() -> None:
    """Linux: end at once when the parent is killed, so that nothing is written after it.

    Elsewhere the process ends after the job in hand, when its input does.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def main() -> None:
    end_with_parent()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # Blender's own chatter goes to the log

    def answer(row: dict) -> None:
        answers.write(ANSWER + json.dumps(row) + "\n")
        answers.flush()

    stage = Stage()
    settings = {**SETTINGS, **json.loads(os.environ.get("ABLATE2TUNE_WORKER", "{}"))}
    try:
        device = prepared(stage, settings)
    except UnableError as error:
        answer(error.row)
        return
    made = {
        "blender": bpy.app.version_string,
        "device": device,
        "denoiser": stage.denoiser,
        "scripts_sha256": scripts_hash(),
    }
    answer({"status": "ready", **made})
    for line in sys.stdin:
        try:
            job = json.loads(line)
            (kind,) = JOBS.keys() & job.keys()
            imports.register(job.get("models", {}))
            sky.register(job.get("maps", {}))
            answer(JOBS[kind](job, stage, made))
        except UnableError as error:
            answer(error.row)
        except AssetError as error:
            answer(UnableError(str(error), "scenes.assets", "mend that file").row)
        except OSError as error:
            answer({"status": "unwritable", "reason": error.strerror or str(error)})
        except Exception as error:
            traceback.print_exc()
            answer({"status": "failed", "reason": f"{type(error).__name__}: {error}"})


main()
