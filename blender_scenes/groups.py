# SPDX-License-Identifier: Apache-2.0
"""Contrast groups: both twins are checked in the camera's view, then rendered and written."""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import asdict, replace

import observe
import relations
from pictures import depth_png, mask_png, write_whole
from stage import Stage, camera_to_world

SCHEMA = "ablate2tune/scene/1"


def placed(objects: dict, places: dict) -> dict[str, observe.Placed]:
    """Both bodies of a twin, keyed as in the spec; one that rests on the other is let down."""
    bodies = {
        key: observe.Placed(o["kind"], o["scale"], math.radians(o["yaw"]), p["x"], p["y"], 0.0)
        for key, o, p in ((key, objects[key], places[key]) for key in objects)
    }
    for key, place in places.items():
        if place["on"]:
            above = replace(bodies[key], z=observe.FAR / 2)
            gap = observe.over(above, bodies[place["on"]]).gap
            bodies[key] = replace(above, z=above.z - gap) if gap is not None else bodies[key]
    return bodies


def sidecar(
    group: dict, twin: dict, bodies: dict, camera, seen, job: dict, made: dict, samples: int
) -> dict:
    subject, other = twin["subject"], twin["object"]
    size = group["size"]
    focal = camera.zoom * size
    views = {subject: seen.pair.first, other: seen.pair.second}
    hidden = {subject: seen.pair.second_hides, other: seen.pair.first_hides}
    return {
        "schema": SCHEMA,
        "scene_id": twin["record"]["scene_id"],
        "record": twin["record"],
        "objects": {
            role: {
                **asdict(bodies[key]),
                "colour": group["objects"][key]["colour"],
                "hidden_fraction": hidden[key],
                **asdict(views[key]),
            }
            for role, key in (("subject", subject), ("object", other))
        },
        "relation_asserted": twin["relation"],
        "relations_true": relations.relations_true(seen.pair),
        "slack": {r: relations.slacks(r, seen.pair) for r in relations.RELATIONS},
        "camera": {
            **group["camera"],
            "intrinsics": [[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]],
            "camera_to_world": camera_to_world(camera),
        },
        "light": group["light"],
        "ground": group["ground"],
        "size": size,
        "samples": samples,
        "depth_unit": "millimetre along the optical axis; 0 = no surface",
        "mask_values": {"background": 0, "subject": 1, "object": 2},
        "attempt": group["attempt"],
        "rejections": job["rejections"],
        "render_seed": group["render_seed"],
        "made_with": made,
    }


def render_group(job: dict, stage: Stage, made: dict) -> dict:
    """Check both twins of a group, then render and write them."""
    group = job["group"]
    twins = group["twins"]
    sets = [placed(group["objects"], twin["places"]) for twin in twins]
    points = [p for bodies in sets for body in bodies.values() for p in body.points()]
    camera = observe.framed(points, group["camera"])
    views = []
    for twin, bodies in zip(twins, sets, strict=True):
        first, second = bodies[twin["subject"]], bodies[twin["object"]]
        seen = observe.observe(first, second, camera, group["size"])
        reason = relations.rejection(twin["relation"], seen.pair, group["min_area"])
        if reason:
            return {"status": "rejected", "reason": reason}
        views.append(seen)
    stage.light(group["light"], group["ground"])
    stage.aim(camera)
    for twin, bodies, seen in zip(twins, sets, views, strict=True):
        stage.place([(body, group["objects"][key]["colour"]) for key, body in bodies.items()])
        scene_id = twin["record"]["scene_id"]
        scratch = os.path.join(job["folder"], "images", f"{scene_id}.{os.getpid()}.frame.tmp")
        image = stage.render(group["size"], group["samples"], group["render_seed"], scratch)
        pictures = {
            "images": image,
            "masks": mask_png(seen.instances, group["size"]),
            "depth": depth_png(seen.depth, group["size"]),
        }
        samples = stage.samples(group["samples"])
        note = sidecar(group, twin, bodies, camera, seen, job, made, samples)
        note["sha256"] = {kind: hashlib.sha256(data).hexdigest() for kind, data in pictures.items()}
        for kind, data in pictures.items():
            write_whole(os.path.join(job["folder"], kind, f"{scene_id}.png"), data)
        # The sidecar comes last: a scene that has one is whole.
        text = json.dumps(note, indent=2, sort_keys=True) + "\n"
        write_whole(os.path.join(job["folder"], "sidecars", f"{scene_id}.json"), text.encode())
    return {"status": "accepted"}
