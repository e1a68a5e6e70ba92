"""What a run teaches and what judges it, one file for each kind of example: pictures, texts."""
