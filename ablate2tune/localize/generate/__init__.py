"""Probe `generate`: sample with a component ablated, judge the pictures, compare distributions.

The slow and literal way to rank components, and the one that published per-layer tables took
(FID and CLIP score per layer of PixArt-alpha, Moslem-Sh21/Diffusion-Transformer-Ablations).
"""
