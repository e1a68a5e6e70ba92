"""Hand-picked placements for FLUX.1 (19 double and 38 single blocks)."""

from ablate2tune.train.placements.placement import PRESETS, Placement

_ATTENTION = "attn.{to_q,to_k,to_v,to_out.0,add_q_proj,add_k_proj,add_v_proj,to_add_out}"

PRESETS.add(
    "flux-7-20",
    Placement(
        ("single_transformer_blocks.{7,20}.proj_out",),
        "ai-toolkit's README and SimpleTuner's `tiny`: single blocks 7 and 20, by a forum's report",
    ),
)
PRESETS.add(
    "compass",
    Placement(
        (
            f"transformer_blocks.{{0..18}}.{_ATTENTION}",
            "single_transformer_blocks.{1..4}.{attn.to_q,attn.to_k,attn.to_v,proj_out}",
        ),
        "CoMPaSS (ICCV 2025): qkv and projections of all double blocks and single blocks 1 to 4",
    ),
)
PRESETS.add(
    "stable-flow",
    Placement(
        ("transformer_blocks.{0,1,17,18}", "single_transformer_blocks.{6,9,34,35,37}"),
        "Stable Flow (CVPR 2025): the blocks that its code lists as vital",
    ),
)
