# SPDX-License-Identifier: Apache-2.0
"""Blender materials of the assets' surfaces, made once per process."""

from __future__ import annotations

from dataclasses import dataclass

import bpy
from assets import surface
from assets._surfaces import Surface

GREY = (0.2, 0.2, 0.2)


@dataclass(frozen=True)
class Environment:
    """Surfaces of the ground (None: the scene's own grey) and of the wall, colour of the sky."""

    ground: str | None
    wall: str | None
    sky: tuple[float, float, float] = (0.9, 0.95, 1.0)


ENVIRONMENTS = {
    "plain": Environment(None, None),
    "studio": Environment(None, "backdrop"),
    "room": Environment("floorboards", "wallpaper"),
    "lawn": Environment("grass", None, (0.45, 0.68, 1.0)),
    "street": Environment("asphalt", "facade", (0.7, 0.82, 1.0)),
}
GROUNDS = {
    "backdrop": Surface((0.32, 0.33, 0.36), 0.9),
    "floorboards": Surface(
        (0.24, 0.12, 0.055), 0.5, pattern="wave", second=(0.32, 0.17, 0.08), scale=1.2
    ),
    "wallpaper": Surface((0.52, 0.48, 0.40), 0.9),
    "grass": Surface(
        (0.05, 0.16, 0.02), 0.95, pattern="noise", second=(0.12, 0.26, 0.05), scale=5.0
    ),
    "asphalt": Surface(
        (0.09, 0.09, 0.095), 0.9, pattern="noise", second=(0.14, 0.14, 0.14), scale=9.0
    ),
    "facade": Surface(
        (0.40, 0.27, 0.21), 0.9, pattern="noise", second=(0.33, 0.21, 0.16), scale=3.0
    ),
}


class Materials:
    """Materials by surface and object colour."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, str], bpy.types.Material] = {}

    def get(self, name: str, colour: str) -> bpy.types.Material:
        """The material of a surface on an object of a colour.

        Raises:
            KeyError: there is no such surface or colour.
        """
        key = (name, colour if name.startswith("body") else "")
        if key not in self._made:
            self._made[key] = _material("-".join(key), surface(name, colour))
        return self._made[key]

    def ground(self, name: str | None) -> bpy.types.Material | None:
        """The material of a ground or wall; None for none.

        Raises:
            KeyError: there is no such ground.
        """
        if name is None:
            return None
        key = ("ground", name)
        if key not in self._made:
            self._made[key] = _material(name, GROUNDS[name])
        return self._made[key]


def ground_material() -> bpy.types.Material:
    return _material("ground", Surface(GREY))


def principled(material) -> bpy.types.Node:
    return next(n for n in material.node_tree.nodes if n.type == "BSDF_PRINCIPLED")


def _material(name: str, look: Surface) -> bpy.types.Material:
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    shader = principled(material)
    shader.inputs["Base Color"].default_value = (*look.rgb, 1)
    shader.inputs["Roughness"].default_value = look.roughness
    if look.metal:
        shader.inputs["Metallic"].default_value = look.metal
    if look.light:
        emission = shader.inputs.get("Emission Color") or shader.inputs["Emission"]
        emission.default_value = (*look.rgb, 1)
        shader.inputs["Emission Strength"].default_value = look.light
    if look.pattern:
        _pattern(material.node_tree, look, shader)
    return material


def _pattern(tree, look: Surface, shader) -> None:
    """Mix the second colour in along the object's own coordinates."""
    texture = tree.nodes.new(f"ShaderNodeTex{look.pattern.title()}")
    texture.inputs["Scale"].default_value = look.scale
    texture.inputs["Detail"].default_value = 3.0
    if look.pattern == "wave":
        texture.bands_direction = "Y"
        texture.inputs["Distortion"].default_value = 6.0
    ramp = tree.nodes.new("ShaderNodeValToRGB")
    for stop, rgb, place in zip(ramp.color_ramp.elements, (look.rgb, look.second), (0.35, 0.65),
                                strict=True):  # fmt: skip
        stop.color, stop.position = (*rgb, 1), place
    place = tree.nodes.new("ShaderNodeTexCoord")
    tree.links.new(place.outputs["Object"], texture.inputs["Vector"])
    # The factor is called "Fac" before Blender 5, "Factor" from then on.
    factor = next(o for o in texture.outputs if o.name in ("Fac", "Factor"))
    tree.links.new(factor, ramp.inputs[0])
    tree.links.new(ramp.outputs["Color"], shader.inputs["Base Color"])
