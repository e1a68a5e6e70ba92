# SPDX-License-Identifier: Apache-2.0
"""Blender materials of the assets' surfaces, made once per process."""

from __future__ import annotations

import math

import bpy
from assets import surface
from assets._surfaces import Surface
from assets.worlds import worlds
from meshes import USER_FOLDERS

GREY = (0.2, 0.2, 0.2)


WORLDS = worlds(USER_FOLDERS)
GROUNDS = {
    "backdrop": WORLDS["studio"].walls[0],
    "floorboards": WORLDS["room"].grounds[0],
    "grass": WORLDS["lawn"].grounds[0],
    "asphalt": WORLDS["street"].grounds[0],
}
"""Grounds that environment maps name."""


class Materials:
    """Materials by surface and object colour."""

    def __init__(self) -> None:
        self._made: dict[tuple, bpy.types.Material] = {}

    def get(self, name: str, colour: str) -> bpy.types.Material:
        """The material of a surface on an object of a colour.

        Raises:
            KeyError: there is no such surface or colour.
        """
        key = (name, colour if name.startswith("body") else "")
        if key not in self._made:
            self._made[key] = _material("-".join(key), surface(name, colour))
        return self._made[key]

    def of(self, look: Surface, upright: bool = False) -> bpy.types.Material:
        """The material of a surface that has no colour of an object's; `upright`: of a wall."""
        key = (look, upright)
        if key not in self._made:
            self._made[key] = _material("surroundings", look, upright)
        return self._made[key]


def ground_material() -> bpy.types.Material:
    return _material("ground", Surface(GREY))


def principled(material) -> bpy.types.Node:
    return next(n for n in material.node_tree.nodes if n.type == "BSDF_PRINCIPLED")


def _material(name: str, look: Surface, upright: bool = False) -> bpy.types.Material:
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
    if look.pattern in ("brick", "checker"):
        _laid(material.node_tree, look, shader, upright)
    elif look.pattern:
        _pattern(material.node_tree, look, shader)
    if look.wear:
        _worn(material.node_tree, look, shader)
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
    factor = _factor(texture)
    tree.links.new(factor, ramp.inputs[0])
    tree.links.new(ramp.outputs["Color"], shader.inputs["Base Color"])
    if look.bump:
        _raised(tree, look, factor, shader)


def _factor(node):
    """The output that is called "Fac" before Blender 5, "Factor" from then on."""
    return next(o for o in node.outputs if o.name in ("Fac", "Factor"))


def _raised(tree, look: Surface, height, shader) -> None:
    bump = tree.nodes.new("ShaderNodeBump")
    bump.inputs["Strength"].default_value = look.bump
    bump.inputs["Distance"].default_value = 0.2 / look.scale
    tree.links.new(height, bump.inputs["Height"])
    tree.links.new(bump.outputs["Normal"], shader.inputs["Normal"])


def _laid(tree, look: Surface, shader, upright: bool) -> None:
    """Bricks, boards, flags or squares; walls are laid upright."""
    texture = tree.nodes.new(f"ShaderNodeTex{look.pattern.title()}")
    texture.inputs["Scale"].default_value = look.scale
    for name, rgb in (("Color1", look.rgb), ("Color2", look.second)):
        texture.inputs[name].default_value = (*rgb, 1)
    if look.pattern == "brick":
        texture.inputs["Mortar"].default_value = (*(0.5 * c for c in look.second), 1)
        texture.inputs["Mortar Size"].default_value = 0.012
        texture.inputs["Bias"].default_value = 0.0
    turn, place = tree.nodes.new("ShaderNodeMapping"), tree.nodes.new("ShaderNodeTexCoord")
    turn.inputs["Rotation"].default_value = (math.radians(90) if upright else 0.0, 0.0, 0.0)
    # A shift, so that no joint runs through the middle of what stands at the origin.
    turn.inputs["Location"].default_value = (0.137, 0.071, 0.043)
    tree.links.new(place.outputs["Object"], turn.inputs["Vector"])
    tree.links.new(turn.outputs["Vector"], texture.inputs["Vector"])
    tree.links.new(texture.outputs["Color"], shader.inputs["Base Color"])
    if look.bump:
        _raised(tree, look, _factor(texture), shader)


def _worn(tree, look: Surface, shader) -> None:
    """Patches of half a metre in which the colour is darker."""
    noise, ramp = tree.nodes.new("ShaderNodeTexNoise"), tree.nodes.new("ShaderNodeValToRGB")
    noise.inputs["Scale"].default_value, noise.inputs["Detail"].default_value = 1.7, 6.0
    for stop, shade, place in zip(ramp.color_ramp.elements, (1 - look.wear, 1.0), (0.35, 0.6),
                                  strict=True):  # fmt: skip
        stop.color, stop.position = (shade, shade, shade, 1), place
    mix = tree.nodes.new("ShaderNodeMix")
    mix.data_type, mix.blend_type = "RGBA", "MULTIPLY"
    mix.inputs[0].default_value = 1.0
    base = shader.inputs["Base Color"]
    if base.links:
        tree.links.new(base.links[0].from_socket, mix.inputs[6])
    else:
        mix.inputs[6].default_value = base.default_value
    place = tree.nodes.new("ShaderNodeTexCoord")
    tree.links.new(place.outputs["Object"], noise.inputs["Vector"])
    tree.links.new(_factor(noise), ramp.inputs[0])
    tree.links.new(ramp.outputs["Color"], mix.inputs[7])
    tree.links.new(mix.outputs[2], base)
