# SPDX-License-Identifier: Apache-2.0
"""Blender materials of the assets' surfaces, made once per process."""

from __future__ import annotations

import bpy
from assets import surface
from assets._surfaces import Surface

GREY = (0.2, 0.2, 0.2)


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
