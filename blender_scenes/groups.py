# SPDX-License-Identifier: Apache-2.0
"""Contrast groups: both twins are checked in the camera's view, then rendered and written.

A twin names its objects by key: `subject`, `object` and, for "between", `third`; every other object
of the group is a bystander.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import asdict, replace

import observe
import own_frame
import relations
from pictures import FARTHEST, depth_png, mask_png, write_whole
from seen_in_line import before
from stage import USUAL_TRANSFORM, Stage, camera_to_world

SCHEMA = "ablate2tune/scene/1"
ROLES = ("subject", "object", "third")
LATER = ("view_transform", "sky_turn", "environment", "look", "exposure", "blur")
"""Keys of a group that only some data sets have; they are kept in the sidecar as they are."""
STAND = "stand"
"""Key of what one of two things in depth stands on; it may hide what is behind."""
ROUNDS, PULL = 40, 0.4
"""Of `observe.framed`, for cameras that may be near."""
CORD = 0.005
"""Radius of the cord that holds what hangs, as a fraction of the frame."""
HOOK = 0.002
"""What lies this close (metres) below the highest point of a thing counts as its highest part."""
IN_DEPTH = ("in front of", "behind")
LEAST_BEFORE = 0.33
"""Of `seen_in_line.before`: where a stand hides most, the tip that is seen aside tells nothing."""
REACH = 0.97
"""Of the depth that a map can hold: half of a thing's pixels may be farther than its median."""
BYSTANDER_HIDES = 0.05
"""Fraction of an object that another bystander may hide."""


def placed(objects: dict, places: dict) -> dict[str, observe.Placed]:
    """The bodies of a twin, keyed as in the spec; one that rests on another is let down.

    A place's `lift` is the free height (metres) below a body, its `growth` a factor of its scale.
    """
    bodies = {
        key: observe.Placed(
            o["kind"], o["scale"] * p.get("growth", 1.0), math.radians(o["yaw"]),
            p["x"], p["y"], p.get("lift", 0.0),
            o.get("variant", "plain"), o.get("pose", "standing"),
        )
        for key, o, p in ((key, objects[key], places[key]) for key in objects)
    }  # fmt: skip
    for key, place in places.items():
        if place["on"]:
            above = replace(bodies[key], z=observe.FAR / 2)
            gap = observe.over(above, bodies[place["on"]]).gap
            lift = place.get("lift", 0.0)
            bodies[key] = replace(above, z=above.z - gap + lift) if gap is not None else bodies[key]
    return bodies


def cameras(group: dict, sets: list[dict[str, observe.Placed]]) -> list[observe.Camera]:
    """Each twin's camera: one for both, or each about its own twin, or each its own altogether."""
    if "camera" not in group:
        return [own_camera(twin["camera"], bodies)
                for twin, bodies in zip(group["twins"], sets, strict=True)]  # fmt: skip
    spec = group["camera"]
    named = {twin[role] for twin in group["twins"] for role in ROLES if role in twin}
    if spec.get("each"):
        named |= {twin["places"][key]["on"] for twin in group["twins"] for key in named}
    points = [[p for key in bodies if key in named for p in bodies[key].points()]
              for bodies in sets]  # fmt: skip
    if spec.get("each"):
        far = max(observe.framed(own, spec).distance for own in points)
        return [observe.framed(own, spec, far) for own in points]
    return [observe.framed([p for own in points for p in own], spec)] * len(sets)


def own_camera(spec: dict, bodies: dict[str, observe.Placed]) -> observe.Camera:
    """A camera of one twin's own; with a focus, points far from that body do not count."""
    focus = spec.get("focus")
    if focus is None:
        points = [p for body in bodies.values() for p in body.points()]
        return observe.framed(points, spec, rounds=ROUNDS, pull=PULL)
    c, s = (f(math.radians(spec["azimuth"])) for f in (math.cos, math.sin))
    about = bodies[focus["on"]].points()
    across = [c * x + s * y for x, y, _ in about]
    margin = focus["margin"]
    left, right = min(across) - margin, max(across) + margin
    low = min(z for *_, z in about) - margin
    high = max(z for *_, z in about) + focus.get("up", margin)
    points = []
    for x, y, z in (p for body in bodies.values() for p in body.points()):
        aside, along = c * x + s * y, c * y - s * x
        aside, z = min(max(aside, left), right), min(max(z, low), high)
        points.append((c * aside - s * along, s * aside + c * along, z))
    return observe.framed(points, spec, rounds=ROUNDS, pull=PULL)


class Twin:
    """One twin as the camera sees it."""

    def __init__(self, spec: dict, bodies: dict, camera: observe.Camera, group: dict):
        self.spec = spec
        self.objects = group["objects"]
        self.roles = {role: spec[role] for role in ROLES if role in spec}
        named = list(self.roles.values())
        self.keys = [*named, *(key for key in bodies if key not in named)]
        self.bodies = bodies
        order = [bodies[key] for key in self.keys]
        self.camera = camera
        in_life = group.get("in_life", False)
        self.seen = observe.observe(order, camera, group["size"], group.get("wall"), in_life)
        self.pair = self.seen.pair(0, 1)

    @property
    def focus(self) -> dict | None:
        """What the frame is about, if it may cut off the others."""
        return self.spec.get("camera", {}).get("focus")

    def slack(self, relation: str) -> dict[str, float]:
        """Signed slack of every threshold of a relation of the subject."""
        if relation != "between":
            return relations.slacks(relation, self.pair)
        return relations.between_slacks(self.pair, self.seen.pair(0, 2))

    def own_slack(self, relation: str, i: int, j: int) -> dict[str, float]:
        """Slacks of `named object i RELATION named object j` by the front of j."""
        first, second = (self.bodies[self.keys[k]] for k in (i, j))
        extents = [own_frame.own_extents(b.points(), second.yaw) for b in (first, second)]
        views = self.seen.views[i], self.seen.views[j]
        return own_frame.own_slacks(relation, *extents, views)

    def own_slacks(self, i: int, j: int) -> dict[str, dict[str, float]]:
        """By relation, where object j has a front that the set speaks of; else empty."""
        if not self.objects[self.keys[j]].get("has_front"):
            return {}
        return {relation: self.own_slack(relation, i, j) for relation in own_frame.RELATIONS}

    def rejection(self, min_area: float) -> str | None:
        """Why the picture would not show its relation clearly; None if it does."""
        relation, views = self.spec["relation"], self.seen.views
        if max(view.depth for view in views[: len(self.roles)]) > REACH * FARTHEST:
            return "farther away than depth maps reach"
        if self.spec.get("frame") == "object":
            # Its foil, the opposite side, is a whole object away.
            slack = self.own_slack(relation, 0, 1)
            why = relations.unclear(relation, views[:2], slack, min_area)
        elif relation == "between":
            named = len(self.roles)
            why = relations.unclear(relation, views[:named], self.slack(relation), min_area)
        else:
            contrast, focus = self.spec.get("contrast"), self.focus
            cut = tuple(bool(focus) and key != focus["on"] for key in self.keys[:2])
            why = relations.rejection(relation, self.pair, min_area, contrast, cut)
        if not why and self.seen.in_life and relation in IN_DEPTH:
            front, rear = (1, 2) if relation == IN_DEPTH[0] else (2, 1)
            if before(self.seen.instances, front, rear) < LEAST_BEFORE:
                why = f"{relation}: what is seen is not in one line of sight"
        if why:
            return why
        for key, row in zip(self.keys, self.seen.hides, strict=True):
            aside = key not in self.roles.values() and key != STAND
            if aside and max(row[: len(self.roles)]) > BYSTANDER_HIDES:
                return "a bystander hides an object"
        return None

    def every_relation(self) -> list[dict[str, str]]:
        """All relations that hold between any two named objects, asked for or not."""
        named = list(self.roles)
        pairs = [(i, j) for i in range(len(named)) for j in range(len(named)) if i != j]
        by_camera = [
            {"subject": named[i], "relation": relation, "object": named[j]}
            for i, j in pairs
            for relation in relations.relations_true(self.seen.pair(i, j), relations.ALL)
        ]
        by_front = [
            {"subject": named[i], "relation": relation, "object": named[j], "frame": "object"}
            for i, j in pairs
            for relation, slack in self.own_slacks(i, j).items()
            if min(slack.values()) >= 0
        ]
        return by_camera + by_front


def _front(made: dict, body: observe.Placed) -> dict:
    """Where an object faces, as a unit vector on the ground, in sets that speak of fronts."""
    return {"front": own_frame.front(body.yaw)} if made.get("has_front") else {}


def sidecar(group: dict, twin: Twin, job: dict, made: dict, samples: int) -> dict:
    """Everything known about a scene."""
    spec, seen, size, camera = twin.spec, twin.seen, group["size"], twin.camera
    focal = camera.zoom * size
    asked = [r for r in relations.ALL if r != "between" or "third" in twin.roles]
    labels = [
        *twin.roles,
        *(f"bystander {k}" for k in range(1, len(seen.views) - len(twin.roles) + 1)),
    ]
    return {
        "schema": SCHEMA,
        "scene_id": spec["record"]["scene_id"],
        "record": spec["record"],
        "captions": spec.get("captions", {}),
        "objects": {
            label: {
                **asdict(twin.bodies[key]),
                "colour": group["objects"][key]["colour"],
                **_front(group["objects"][key], twin.bodies[key]),
                "hidden_fraction": 1 - seen.views[i].visible,
                "hidden_by": {
                    other: seen.hides[j][i]
                    for j, other in enumerate(labels)
                    if j != i and seen.hides[j][i] > 0
                },
                **asdict(seen.views[i]),
            }
            for i, (label, key) in enumerate(zip(labels, twin.keys, strict=True))
        },
        "relation_asserted": spec["relation"],
        "relations_true": relations.relations_true(twin.pair),
        "relations_all": twin.every_relation(),
        "slack": {r: twin.slack(r) for r in asked},
        **({"slack_own": twin.own_slacks(0, 1)} if "frame" in spec else {}),
        "camera": {
            **spec.get("camera", group.get("camera", {})),
            "intrinsics": [[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]],
            "camera_to_world": camera_to_world(camera),
        },
        "light": group["light"],
        "ground": group["ground"],
        **{key: group[key] for key in LATER if key in group},
        "size": size,
        "samples": samples,
        "depth_unit": "millimetre along the optical axis; 0 = no surface",
        "mask_values": {"background": 0, **{label: i for i, label in enumerate(labels, start=1)}},
        "attempt": group["attempt"],
        "rejections": job["rejections"],
        "render_seed": group["render_seed"],
        "made_with": made,
    }


def render_group(job: dict, stage: Stage, made: dict) -> dict:
    """Check both twins of a group, then render and write them."""
    group = job["group"]
    sets = [placed(group["objects"], twin["places"]) for twin in group["twins"]]
    twins = []
    for spec, bodies, camera in zip(group["twins"], sets, cameras(group, sets), strict=True):
        twin = Twin(spec, bodies, camera, group)
        reason = twin.rejection(group["min_area"])
        if reason:
            return {"status": "rejected", "reason": reason}
        twins.append(twin)
    stage.denoise(group.get("denoise", True))
    made = {**made, "denoiser": stage.denoiser}
    stage.light(group["light"], group["ground"])
    stage.surround(
        group.get("environment", "plain"), group.get("wall"), group.get("sky_turn", 0.0),
        group.get("look"),
    )  # fmt: skip
    stage.view(group.get("view_transform", USUAL_TRANSFORM), group.get("exposure", 0.0))
    for twin in twins:
        stage.aim(twin.camera, group.get("blur", 0.0))
        stage.place([(b, group["objects"][key]["colour"]) for key, b in twin.bodies.items()])
        hooks = [_hook(twin.bodies[key]) for key in twin.spec.get("hung", ())]
        stage.hang(hooks, CORD * twin.camera.distance / twin.camera.zoom)
        _write(job, group, twin, stage, made)
    return {"status": "accepted"}


def _hook(body: observe.Placed) -> tuple[float, float, float]:
    """The middle of a body's highest part, where a cord holds it."""
    points = body.points()
    top = max(z for *_, z in points)
    held = [p for p in points if p[2] > top - HOOK * body.scale]
    x, y = (sum(p[k] for p in held) / len(held) for k in (0, 1))
    return x, y, top


def _write(job: dict, group: dict, twin: Twin, stage: Stage, made: dict) -> None:
    """Render one twin and write its four files, the sidecar last: it marks a whole scene."""
    scene_id = twin.spec["record"]["scene_id"]
    scratch = os.path.join(job["folder"], "images", f"{scene_id}.{os.getpid()}.frame.tmp")
    image = stage.render(group["size"], group["samples"], group["render_seed"], scratch)
    pictures = {
        "images": image,
        "masks": mask_png(twin.seen.instances, group["size"]),
        "depth": depth_png(twin.seen.depth, group["size"]),
    }
    note = sidecar(group, twin, job, made, stage.samples(group["samples"]))
    note["sha256"] = {kind: hashlib.sha256(data).hexdigest() for kind, data in pictures.items()}
    for kind, data in pictures.items():
        write_whole(os.path.join(job["folder"], kind, f"{scene_id}.png"), data)
    text = json.dumps(note, indent=2, sort_keys=True) + "\n"
    write_whole(os.path.join(job["folder"], "sidecars", f"{scene_id}.json"), text.encode())
