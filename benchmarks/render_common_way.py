"""Runs in Blender for benchmarks/render.py: the pictures of a data set, timed.

Either by Cycles alone, with cached meshes; or the common way: for each picture the stage is made
anew with its meshes, the picture rendered, and then a mask pass of one sample in flat colours.
"""

import json
import os
import sys
import time

with open(os.environ["A2T_BENCHMARK_JOB"], encoding="utf-8") as _file:
    JOB = json.load(_file)
sys.path.insert(0, JOB["scripts"])

import bpy
import meshes
from mathutils import Matrix, Vector
from observe import Camera, Placed
from stage import Stage


def camera_of(note: dict) -> Camera:
    """The camera that a sidecar describes."""
    rows = Matrix(note["camera"]["camera_to_world"])
    right, up, back, place = (Vector(column[:3]) for column in rows.transposed())
    return Camera(place, right, up, -back, note["camera"]["lens"])


def bodies_of(note: dict) -> list:
    """The bodies of a sidecar and their colours."""
    fields = ("kind", "scale", "yaw", "x", "y", "z", "variant", "pose")
    return [(Placed(**{f: o[f] for f in fields}), o["colour"]) for o in note["objects"].values()]


def show(stage: Stage, note: dict) -> None:
    """Set the stage as the sidecar says."""
    stage.light(note["light"], note["ground"])
    stage.surround("plain", None)
    stage.aim(camera_of(note))
    stage.place(bodies_of(note))


def render(stage: Stage, note: dict, scratch: str) -> float:
    """Seconds for one picture."""
    asked = note["samples"] // (1 if stage.denoiser != "none" else 4)
    began = time.perf_counter()
    stage.render(note["size"], asked, note["render_seed"], scratch)
    return time.perf_counter() - began


def afresh(note: dict, scratch: str) -> None:
    """Build everything again, render the picture, then a mask pass."""
    meshes._built.clear()
    stage = Stage()
    show(stage, note)
    render(stage, note, scratch)
    flat = bpy.data.materials.new("flat")
    stage.scene.view_layers[0].material_override = flat
    stage.scene.cycles.use_denoising = False
    stage.scene.cycles.max_bounces = 0
    stage.denoiser = "mask pass"
    stage.render(note["size"], 1, 0, scratch)


def main() -> None:
    """Replay every sidecar and write the seconds."""
    notes = []
    for path in JOB["sidecars"]:
        with open(path, encoding="utf-8") as file:
            notes.append(json.load(file))
    scratch = JOB["answer"] + ".frame.tmp"
    if JOB["afresh"]:
        began = time.perf_counter()
        for note in notes:
            afresh(note, scratch)
        seconds = time.perf_counter() - began
    else:
        stage = Stage()
        show(stage, notes[0])
        render(stage, notes[0], scratch)  # Cycles' own start is not counted
        seconds = 0.0
        for note in notes:
            show(stage, note)
            seconds += render(stage, note, scratch)
    with open(JOB["answer"], "w", encoding="utf-8") as file:
        json.dump(seconds, file)


main()
