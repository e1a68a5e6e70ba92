# SPDX-License-Identifier: Apache-2.0
"""The sky: one colour, or an environment map of the user's own."""

from __future__ import annotations

import math
from array import array

import bpy
from unable import UnableError

USUAL_STRENGTH = 0.6
"""Middle of the strengths of the sky that scenes are drawn with."""
USUAL_LIGHT = 1.0
"""Radiance of a white ground under the usual sun and sky (Blender's units), about."""

_maps: dict[str, dict] = {}


def register(maps: dict[str, dict]) -> None:
    """Make environment maps known by name: `path`, `strength`, `ground` and `sun`."""
    _maps.update(maps)


def map_of(environment: str) -> dict | None:
    """The environment map of that name, if there is one."""
    return _maps.get(environment)


class Sky:
    """The world's background."""

    def __init__(self, scene, rgb: tuple[float, float, float]):
        self._world = bpy.data.worlds.new("sky")
        scene.world = self._world
        self._world.use_nodes = True
        tree = self._world.node_tree
        self._background = next(n for n in tree.nodes if n.type == "BACKGROUND")
        self._picture = self._turn = self._ramp = None
        self._light: dict[str, float] = {}
        self._strength = 0.0
        self.show_colour(rgb)

    def show_colour(self, rgb: tuple[float, float, float]) -> None:
        """One colour everywhere."""
        for link in list(self._background.inputs["Color"].links):
            self._world.node_tree.links.remove(link)
        self._background.inputs["Color"].default_value = (*rgb, 1.0)
        # Without its importance map a plain sky is rendered as well, and sooner.
        self._world.cycles.sampling_method = "NONE"
        self._background.inputs["Strength"].default_value = self._strength

    def show_gradient(self, horizon, zenith) -> None:
        """From one colour at the horizon to another overhead."""
        tree = self._world.node_tree
        if self._ramp is None:
            place, parts = (tree.nodes.new(f"ShaderNode{n}") for n in ("TexCoord", "SeparateXYZ"))
            self._ramp = tree.nodes.new("ShaderNodeValToRGB")
            tree.links.new(place.outputs["Generated"], parts.inputs[0])
            tree.links.new(parts.outputs["Z"], self._ramp.inputs[0])
        for stop, rgb, at in zip(self._ramp.color_ramp.elements, (horizon, zenith), (0.0, 0.6),
                                 strict=True):  # fmt: skip
            stop.color, stop.position = (*rgb, 1.0), at
        tree.links.new(self._ramp.outputs["Color"], self._background.inputs["Color"])
        self._world.cycles.sampling_method = "NONE"
        self._background.inputs["Strength"].default_value = self._strength

    def set_strength(self, strength: float) -> None:
        """Brightness of the colour; a map's is in proportion to it."""
        self._strength = strength

    def show_map(self, spec: dict, turn: float) -> None:
        """An environment map, turned about the vertical (degrees).

        Raises:
            UnableError: Blender cannot read the picture.
        """
        tree = self._world.node_tree
        if self._picture is None:
            self._picture = tree.nodes.new("ShaderNodeTexEnvironment")
            self._turn = tree.nodes.new("ShaderNodeMapping")
            place = tree.nodes.new("ShaderNodeTexCoord")
            tree.links.new(place.outputs["Generated"], self._turn.inputs["Vector"])
            tree.links.new(self._turn.outputs["Vector"], self._picture.inputs["Vector"])
        image = self._loaded(spec["path"])
        self._picture.image = image
        self._turn.inputs["Rotation"].default_value = (0.0, 0.0, math.radians(turn))
        tree.links.new(self._picture.outputs["Color"], self._background.inputs["Color"])
        self._world.cycles.sampling_method = "AUTOMATIC"
        brightness = self._strength / USUAL_STRENGTH * spec["strength"]
        light = USUAL_LIGHT / self._light[spec["path"]]
        self._background.inputs["Strength"].default_value = brightness * light

    def _loaded(self, path: str) -> bpy.types.Image:
        try:
            image = bpy.data.images.load(path, check_existing=True)
        except RuntimeError as error:
            raise UnableError("Blender cannot open it", path, "export it again") from error
        if path not in self._light:
            if not image.size[0] or not len(image.pixels):
                raise UnableError("Blender cannot read the picture", path, "export it again")
            self._light[path] = upward_light(image)
            if self._light[path] <= 0:
                raise UnableError("its upper half is black", path, "use another map")
        return image


def upward_light(image) -> float:
    """Mean radiance of the upper half of a panorama, as a level ground receives it."""
    width, height = image.size
    pixels = array("f", bytes(4 * width * height * image.channels))
    image.pixels.foreach_get(pixels)
    step, light, weight = image.channels, 0.0, 0.0
    for row in range(height // 2, height):  # from the horizon up: the first row is the lowest
        elevation = math.pi * ((row + 0.5) / height - 0.5)
        share = math.sin(elevation) * math.cos(elevation)
        line = pixels[row * width * step : (row + 1) * width * step]
        mean = sum(part * sum(line[k::step]) for k, part in enumerate((0.2126, 0.7152, 0.0722)))
        light += share * mean / width
        weight += share
    return light / weight
