# SPDX-License-Identifier: Apache-2.0
"""The Blender scene: ground, sun, sky light, camera, coloured objects, render settings.

One stage serves a whole process. Meshes, materials and objects are made once and shown, hidden
and moved afterwards, so memory stays flat over any number of scenes.
"""

from __future__ import annotations

import math
import os
import tempfile

import bpy
from assets import Builder
from assets._surfaces import Surface
from materials import GROUNDS, WORLDS, Materials, ground_material, principled
from mathutils import Matrix
from observe import SENSOR, Camera, Placed
from pictures import stripped
from sky import Sky, map_of

NO_DENOISER = "none"
NOISY_SAMPLES = 4
"""Samples are multiplied by this where there is no denoiser: 8 denoised look like 32 plain ones."""
VIEW_TRANSFORMS = ("Standard", "Filmic", "AgX")
USUAL_TRANSFORM = "Standard"
GROUND_SIZE = 400.0
SUN_ANGLE = math.radians(8)
BOUNCES = 2
PLAIN_SKY = (0.9, 0.95, 1.0)
CORD_LENGTH = 30.0
WINDOW_SIZE, WINDOW_SILL = (1.1, 1.3), 0.95
"""Width and height, and height of the sill (metres)."""


class Stage:
    def __init__(self) -> None:
        bpy.ops.wm.read_factory_settings(use_empty=True)
        self.scene = bpy.context.scene
        self._objects: dict[tuple[str, int], bpy.types.Object] = {}
        self._materials = Materials()
        self._wall: bpy.types.Object | None = None
        self._window: bpy.types.Mesh | None = None
        self._windows: list[bpy.types.Object] = []
        self._cords: list[bpy.types.Object] = []
        self._ground = ground_material()
        self._add_ground()
        sun = bpy.data.lights.new("sun", "SUN")
        sun.angle = SUN_ANGLE
        self._sun = self._link("sun", sun)
        self._camera = self._link("camera", bpy.data.cameras.new("camera"))
        self._camera.data.sensor_width = SENSOR
        self.scene.camera = self._camera
        self._sky = Sky(self.scene, PLAIN_SKY)
        self._best_denoiser = self.denoiser = _render_settings(self.scene)

    def _link(self, name: str, data) -> bpy.types.Object:
        made = bpy.data.objects.new(name, data)
        self.scene.collection.objects.link(made)
        return made

    def _add_ground(self) -> None:
        h = GROUND_SIZE / 2
        mesh = bpy.data.meshes.new("ground")
        mesh.from_pydata([(-h, -h, 0), (h, -h, 0), (h, h, 0), (-h, h, 0)], [], [(0, 1, 2, 3)])
        mesh.materials.append(self._ground)
        self._ground_mesh = mesh
        self._link("ground", mesh)

    def surround(
        self, environment: str, wall: float | None, turn: float = 0.0, look: dict | None = None
    ) -> None:
        """Ground, sky and wall of an environment, after `light`.

        The wall stands at a y coordinate (metres), an environment map is turned (degrees). `look`
        says which ground, wall and sky of a world are taken, and where its windows are (x, metres).
        """
        shown, look = map_of(environment), look or {}
        self._sun.hide_render = shown is not None and not shown["sun"]
        if shown is None:
            world = WORLDS[environment]
            ground, face = (_taken(part, look.get(name, 0)) for part, name in
                            ((world.grounds, "ground"), (world.walls, "wall")))  # fmt: skip
            if world.skies:
                self._sky.show_gradient(*_taken(world.skies, look.get("sky", 0))[:2])
            else:
                self._sky.show_colour(PLAIN_SKY)
        else:
            ground, face = GROUNDS.get(shown["ground"]), None
            self._sky.show_map(shown, turn)
        made = self._ground if ground is None else self._materials.of(ground)
        self._ground_mesh.materials[0] = made
        self._show_wall(wall, face, look.get("windows", ()))

    def _show_wall(self, wall: float | None, face, windows) -> None:
        if self._wall is None:
            h = GROUND_SIZE / 2
            mesh = bpy.data.meshes.new("wall")
            mesh.from_pydata([(-h, 0, 0), (h, 0, 0), (h, 0, h), (-h, 0, h)], [], [(0, 1, 2, 3)])
            mesh.materials.append(None)
            self._wall = self._link("wall", mesh)
        self._wall.hide_render = wall is None
        if wall is not None:
            self._wall.location = (0.0, wall, 0.0)
            self._wall.data.materials[0] = self._materials.of(face, upright=True)
        while len(self._windows) < len(windows):
            self._windows.append(self._link("window", self._window_mesh()))
        for k, window in enumerate(self._windows):
            window.hide_render = wall is None or k >= len(windows)
            if not window.hide_render:
                window.location = (windows[k], wall, WINDOW_SILL)

    def _window_mesh(self) -> bpy.types.Mesh:
        """A pane that shines a little, in a frame with a cross, before the wall (-y)."""
        if self._window is None:
            parts = Builder()
            w, h = WINDOW_SIZE
            parts.slab((-w / 2, -0.02, 0), (w / 2, 0.02, h), "pane", 0.0)
            for x0, x1, z0, z1 in (
                (-w / 2 - 0.07, -w / 2, -0.07, h + 0.07),
                (w / 2, w / 2 + 0.07, -0.07, h + 0.07),
                (-w / 2, w / 2, -0.07, 0),
                (-w / 2, w / 2, h, h + 0.07),
                (-0.03, 0.03, 0, h),
                (-w / 2, w / 2, 0.6 * h, 0.6 * h + 0.04),
            ):
                parts.slab((x0, -0.05, z0), (x1, 0.02, z1), "frame", 0.004)  # fmt: skip
            mesh = bpy.data.meshes.new("window")
            mesh.from_pydata(parts.vertices, [], parts.faces)
            for look in (Surface((0.55, 0.7, 0.9), 0.1, light=0.7), Surface((0.75, 0.73, 0.7))):
                mesh.materials.append(self._materials.of(look))
            index = [int(name == "frame") for name in parts.surface]
            mesh.polygons.foreach_set("material_index", index)
            mesh.update()
            self._window = mesh
        return self._window

    def light(self, spec: dict, ground: dict) -> None:
        """Sun direction in degrees, strengths in Blender's units, ground grey as reflectance."""
        tilt, turn = math.radians(90 - spec["sun_elevation"]), math.radians(spec["sun_azimuth"])
        self._sun.rotation_euler = (tilt, 0.0, turn)
        self._sun.data.energy = spec["sun_strength"]
        self._sky.set_strength(spec["sky_strength"])
        grey = ground["grey"]
        principled(self._ground).inputs["Base Color"].default_value = (grey, grey, grey, 1)

    def place(self, bodies: list[tuple[Placed, str]]) -> None:
        """Show exactly these bodies, each in its colour."""
        for shown in self._objects.values():
            shown.hide_render = True
        for copy, (body, colour) in enumerate(bodies):
            model = body.model
            key = (model.mesh.name, copy)
            if key not in self._objects:
                self._objects[key] = self._link(f"{model.mesh.name}.{copy}", model.mesh)
                for slot in self._objects[key].material_slots:
                    slot.link = "OBJECT"
            shown = self._objects[key]
            shown.location = (body.x, body.y, body.z)
            shown.rotation_euler = (0.0, 0.0, body.yaw)
            shown.scale = (body.scale,) * 3
            for slot, surface in zip(shown.material_slots, model.surfaces, strict=True):
                named = isinstance(surface, str)
                slot.material = self._materials.get(surface, colour) if named else surface
            shown.hide_render = False

    def hang(self, hooks: list[tuple[float, float, float]], radius: float) -> None:
        """Show exactly these cords, from their hooks upwards out of the frame (metres)."""
        while len(self._cords) < len(hooks):
            parts = Builder()
            parts.rod((0, 0, 0), (0, 0, CORD_LENGTH), 1.0, 1.0, "cord", 8)
            mesh = bpy.data.meshes.new("cord")
            mesh.from_pydata(parts.vertices, [], parts.faces)
            mesh.materials.append(self._materials.of(Surface((0.03, 0.03, 0.03), 0.8)))
            self._cords.append(self._link("cord", mesh))
            self._cords[-1].visible_shadow = False
        for k, cord in enumerate(self._cords):
            cord.hide_render = k >= len(hooks)
            if not cord.hide_render:
                cord.location, cord.scale = hooks[k], (radius, radius, 1.0)

    def aim(self, camera: Camera, blur: float = 0.0) -> None:
        """Look through a camera; `blur`: how far a point at infinity spreads, as a fraction of the
        frame, with the focus on what the camera was aimed at."""
        self._camera.data.lens = camera.lens
        focus = self._camera.data.dof
        focus.use_dof = blur > 0
        if blur > 0:
            focus.focus_distance = camera.distance
            wide = camera.distance / camera.zoom
            focus.aperture_fstop = camera.lens / 1000 / (blur * wide)
        self._camera.matrix_world = Matrix(camera_to_world(camera))

    def denoise(self, wanted: bool) -> None:
        """Use the denoiser, if Blender has one, or none."""
        self.denoiser = self._best_denoiser if wanted else NO_DENOISER
        self.scene.cycles.use_denoising = self.denoiser != NO_DENOISER

    def view(self, transform: str = USUAL_TRANSFORM, exposure: float = 0.0) -> None:
        """How radiance becomes a picture: one of `view_transforms`, and stops of exposure."""
        self.scene.view_settings.view_transform = transform
        self.scene.view_settings.exposure = exposure

    def works(self) -> bool:
        """Whether a small frame renders on the device that is set."""
        with tempfile.TemporaryDirectory() as scratch:
            try:
                self.render(8, 1, 0, os.path.join(scratch, "frame.png"))
            except (RuntimeError, OSError):  # Cycles' errors, or no picture was written
                return False
        return True

    def samples(self, asked: int) -> int:
        """Samples per pixel that are taken when some are asked for."""
        return asked if self.denoiser != NO_DENOISER else asked * NOISY_SAMPLES

    def render(self, size: int, samples: int, seed: int, scratch: str) -> bytes:
        """Render the frame by way of the file `scratch`; returns a PNG without dates."""
        render = self.scene.render
        render.resolution_x = render.resolution_y = size
        self.scene.cycles.samples = self.samples(samples)
        self.scene.cycles.seed = seed % 2**31
        render.filepath = scratch
        bpy.ops.render.render(write_still=True)
        try:
            with open(scratch, "rb") as file:
                return stripped(file.read())
        finally:
            os.remove(scratch)


def _taken(looks, number: int):
    """One of some looks, by a number of any size; None if there are none."""
    return looks[number % len(looks)] if looks else None


def camera_to_world(camera: Camera) -> list[list[float]]:
    """4 x 4 matrix, Blender's convention: the camera looks along its own -z, y is up."""
    columns = (camera.right, camera.up, -camera.forward, camera.location)
    rows = [[float(c[i]) for c in columns] for i in range(3)]
    return [*rows, [0.0, 0.0, 0.0, 1.0]]


def view_transforms(scene) -> list[str]:
    """The view transforms of this Blender that are set by name alone."""
    held, found = scene.view_settings.view_transform, []
    for name in VIEW_TRANSFORMS:
        try:
            scene.view_settings.view_transform = name
        except TypeError:  # not in this Blender
            continue
        found.append(name)
    scene.view_settings.view_transform = held
    return found


def _render_settings(scene) -> str:
    """Set Cycles, one CPU thread; returns the denoiser in use, or "none"."""
    render, cycles = scene.render, scene.cycles
    render.engine = "CYCLES"
    render.threads_mode, render.threads = "FIXED", 1
    render.resolution_percentage = 100
    render.use_file_extension = False
    render.use_persistent_data = True
    render.use_compositing = render.use_sequencer = False
    render.image_settings.file_format = "PNG"
    render.image_settings.color_mode = "RGB"
    render.image_settings.color_depth = "8"
    scene.view_settings.view_transform = USUAL_TRANSFORM
    cycles.max_bounces = cycles.diffuse_bounces = BOUNCES
    cycles.glossy_bounces = 1
    cycles.caustics_reflective = cycles.caustics_refractive = False
    cycles.use_adaptive_sampling = False
    if hasattr(cycles, "use_light_tree"):
        cycles.use_light_tree = False
    try:
        cycles.denoiser = "OPENIMAGEDENOISE"
    except TypeError:  # Debian's Blender is built without it
        cycles.use_denoising = False
        return NO_DENOISER
    cycles.use_denoising = True
    cycles.denoising_prefilter = "FAST"
    return "OpenImageDenoise"
