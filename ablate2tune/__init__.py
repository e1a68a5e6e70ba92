"""Find which parts of a model carry a capability, then tune only those.

The package never imports Blender: scenes are rendered by a separate process (`blender_scenes/`).
"""

__version__ = "0.1.0"
