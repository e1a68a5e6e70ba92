"""The model's own pictures as margin examples: sampled, verified by a judge, compared.

Rendered pictures may lie outside a model's domain; its own lie inside it. What a diffusion
classifier measures on either can differ (Jeong et al. 2025, arXiv:2505.17955), so both are
reported, with their agreement.
"""
