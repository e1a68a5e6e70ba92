"""Objects as layouts see them: extents, height maps, and what fits under, on and into what."""
