"""LoRA (Hu et al. 2021, arXiv:2106.09685)."""

from ablate2tune.train.methods.adapter_method import METHODS, AdapterMethod

METHODS.add("lora", AdapterMethod)
