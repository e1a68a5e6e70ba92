"""Judges, one file each: what an image shows. Image in, detections out."""

from ablate2tune.compare.judges.judge_interface import (
    JUDGED_AT_ONCE,
    JUDGES,
    AnyJudge,
    Judge,
    JudgeConfig,
    check_judge,
    check_label,
    load_judge,
    read_settings,
)

__all__ = [
    "JUDGED_AT_ONCE",
    "JUDGES",
    "AnyJudge",
    "Judge",
    "JudgeConfig",
    "check_judge",
    "check_label",
    "load_judge",
    "read_settings",
]
