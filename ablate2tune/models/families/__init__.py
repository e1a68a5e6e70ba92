"""Families of text-to-image pipelines of diffusers 0.42, one file each (FLUX.2 and Stable Diffusion
keep their variants together)."""
