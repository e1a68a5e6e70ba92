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
FILE}`. The first answer, before any job, is `{"status": "ready"}`.
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
from groups import render_group  # noqa: E402
from portrait import render_portrait  # noqa: E402
from stage import Stage  # noqa: E402

JOBS = {"group": render_group, "portrait": render_portrait}


def scripts_hash() -> str:
    """SHA-256 over the scripts here and in `assets`: which code made an image."""
    digest = hashlib.sha256()
    for folder in (HERE, os.path.join(HERE, "assets")):
        for name in sorted(n for n in os.listdir(folder) if n.endswith(".py")):
            with open(os.path.join(folder, name), "rb") as file:
                digest.update(file.read())
    return digest.hexdigest()


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
    made = {
        "blender": bpy.app.version_string,
        "device": "CPU",
        "denoiser": stage.denoiser,
        "scripts_sha256": scripts_hash(),
    }
    answer({"status": "ready", **made})
    for line in sys.stdin:
        try:
            job = json.loads(line)
            (kind,) = JOBS.keys() & job.keys()
            answer(JOBS[kind](job, stage, made))
        except OSError as error:
            answer({"status": "unwritable", "reason": error.strerror or str(error)})
        except Exception as error:
            traceback.print_exc()
            answer({"status": "failed", "reason": f"{type(error).__name__}: {error}"})


main()
