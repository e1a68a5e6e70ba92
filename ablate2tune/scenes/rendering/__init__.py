"""Driving Blender: workers on this machine or on a Ray cluster, resuming, previews."""
