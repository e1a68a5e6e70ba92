"""Features of a sparse autoencoder, each taken out alone: which of them the target rests on."""

from typing import Any

import torch
from torch import Tensor

from ablate2tune.ablation import recorded
from ablate2tune.ablation.support.sparse_features import SparseFeatures, load_features
from ablate2tune.errors import UserError
from ablate2tune.localize.findings.finding import FINDINGS, Finding, Kind, Ranked
from ablate2tune.localize.findings.joint.own_conditions import draw_own, find_own
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.localize.text.language_probe import LanguageProbe

SCHEMA = "ablate2tune/features/1"
WHERE = "localize.features"


def _find(ranked: Ranked) -> Finding:
    config, probe = ranked.config.features, ranked.sweep.probe
    assert isinstance(probe, LanguageProbe) and config.file is not None, "it is wanted"
    block = ranked.sweep.catalogue[config.block]
    if block.level != "block":
        raise UserError("features are of a block's output", where=f"{WHERE}.block = {config.block}")
    width = int(probe.lm.model.config.get_text_config().hidden_size)  # type: ignore[union-attr]
    features = load_features(config.file, width)
    probe.engine.features[config.block] = features
    mean = mean_activations(probe, config.block, features)
    chosen = config.chosen or mean.topk(min(config.count, len(mean))).indices.tolist()
    if max(chosen) >= len(features):
        raise UserError(
            f"it has {len(features)} features, from 0 on", where=f"{WHERE}.chosen: {max(chosen)}"
        )
    conditions = {
        f"{number}": Condition((f"{config.block}[features={number}]",), "feature")
        for number in chosen
    }
    found = find_own(ranked.follow_up, conditions)
    rows: list[dict[str, Any]] = [
        {"feature": int(row["name"]), "mean_activation": float(mean[int(row["name"])]), **row}
        for row in found.data["conditions"]
    ]
    rows.sort(key=lambda row: -(row["target"]["value"] if row["target"] else 0.0))
    data = {**found.data, "schema": SCHEMA, "block": config.block, "conditions": rows}
    data["figure"] = f"target lost without a feature of {config.block}"
    best = rows[0]
    told = "told" if best["p"] < 1 - ranked.config.confidence else "not told"
    return Finding(
        "features", data, draw_own,
        f"features: of {len(rows)}, number {best['feature']} matters most ({told} from zero)",
    )  # fmt: skip


@torch.no_grad()
def mean_activations(probe: LanguageProbe[Any], block: str, features: SparseFeatures) -> Tensor:
    """How strongly each feature is on, mean over tokens: (features,).

    Over the calibration texts where there are any, else over a few measured rows.
    """
    batches = probe.calibration_batches() or [probe.example_rows()]
    every, total, count = torch.arange(len(features)), torch.zeros(len(features)), 0
    seen: list[Tensor] = []
    for batch in batches:
        with recorded(probe.lm.model, [block], lambda _key, x: seen.append(x[0]), states=True):
            probe.lm.logits(batch.ids)
        stream = seen.pop()[batch.real.to(probe.lm.device)]
        total += features.activations(stream, every).sum(0).cpu()
        count += len(stream)
    return total / count


FINDINGS.add(
    "features",
    Kind(lambda ranked: ranked.config.features.file is not None, _find, takes="features"),
)
