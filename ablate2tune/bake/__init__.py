"""Writing an ablation into a checkpoint, so that it holds without this package."""
