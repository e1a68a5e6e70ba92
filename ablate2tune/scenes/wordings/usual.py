"""The words of everyday English; "under" says two relations: does the other one float?"""

from ablate2tune.scenes.wording import WORDINGS

WORDINGS.add(
    "usual",
    {
        "left of": ("left of", "to the left of", "on the left of", "on the left side of"),
        "right of": ("right of", "to the right of", "on the right of", "on the right side of"),
        "in front of": ("in front of",),
        "behind": ("behind", "in back of"),
        "on top of": ("on top of", "on", "atop", "upon"),
        "underneath": ("underneath", "under", "beneath", "below"),
        "above": ("above", "over"),
        "below": ("below", "under", "beneath", "underneath"),
        "inside": ("inside", "in", "inside of", "within"),
        "next to": ("next to", "beside", "by", "alongside"),
        "near": ("near", "close to"),
        "far from": ("far from", "far away from"),
        "between": ("between", "in between"),
    },
)
