"""How adapters begin and grow, one file each: LoRA as it is, EVA, AdaLoRA."""
