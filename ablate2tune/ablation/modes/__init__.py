"""The ablation modes, one file each; a new one is one more file here or in another package.

Two names are ours, to keep apart what Diffusion-Transformer-Ablations calls "mean" and "input"
from the mean over a data set: `channel-mean` and `input`.
"""
