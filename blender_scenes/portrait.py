# SPDX-License-Identifier: Apache-2.0
"""A picture of one object, for contact sheets."""

from __future__ import annotations

import math
import os

import observe
from pictures import write_whole
from stage import Stage

CAMERA = {"azimuth": 0.0, "elevation": 18.0, "lens": 75.0, "fill": 0.86, "offset": [0.0, 0.0]}
LIGHT = {"sun_elevation": 50.0, "sun_azimuth": -40.0, "sun_strength": 2.2, "sky_strength": 0.6}


def render_portrait(job: dict, stage: Stage, made: dict) -> dict:
    """Render `{"kind", "variant", "pose", "colour", "yaw" (degrees), "size", "samples"}`."""
    spec = job["portrait"]
    yaw = math.radians(spec["yaw"])
    body = observe.Placed(spec["kind"], 1.0, yaw, 0.0, 0.0, 0.0, spec["variant"], spec["pose"])
    stage.light(LIGHT, {"grey": 0.3})
    stage.surround("plain", None)
    stage.aim(observe.framed(body.points(), CAMERA))
    stage.place([(body, spec["colour"])])
    scratch = f"{job['path']}.{os.getpid()}.tmp"
    write_whole(job["path"], stage.render(spec["size"], spec["samples"], 0, scratch))
    return {"status": "accepted"}
