"""Scenes: captioned images of two objects whose spatial relation is known by construction."""
