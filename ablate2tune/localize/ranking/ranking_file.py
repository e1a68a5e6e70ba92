"""`ranking.json` and what is said of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate2tune import files
from ablate2tune.localize.measuring.racing import TOP
from ablate2tune.localize.ranking.ordering import doubts

SCHEMA = "ablate2tune/ranking/2"
RANKED = "ranked"
NO_SKILL = "no skill to localize"


@dataclass(frozen=True)
class Ranking:
    """What `localize` found: the contents of its files."""

    data: dict[str, Any]
    """ranking.json."""
    notes: tuple[str, ...] = ()
    """What the probe and the follow-ups say, one line each."""
    information: dict[str, Any] | None = None
    """information.json, where the probe contrasts captions."""

    @property
    def verdict(self) -> str:
        """ "ranked" or "no skill to localize"."""
        return self.data["verdict"]

    @property
    def has_skill(self) -> bool:
        """Whether there was a skill to localize."""
        return self.verdict == RANKED

    def messages(self) -> list[str]:
        """What to tell the user beside the table, one line each."""
        lines = [self.information["message"]] if self.information else []
        if not self.has_skill:
            figure = self.data["figure"]
            found = self.data["baseline"][figure]
            title = next(f["title"] for f in self.data["figures"] if f["name"] == figure)
            lines.append(
                f"no skill to localize: the model's {title} is {found['value']:.2e} "
                f"[{found['low']:.2e}, {found['high']:.2e}] over {found['n']} examples, "
                "which is not above zero; nothing was ablated"
            )
        elif "control" not in self.data["baseline"] and self.data["probe"] == "margin":
            lines.append(
                "there are no control foils, so specificity is unmeasured: what a component serves "
                "beside the target is not told"
            )
        elif self.data["ranked_by"] != self.data["rank_by"]:
            lines.append(
                "the model's control cannot be told from zero, so specificity is not defined and "
                "components are ranked by their impact"
            )
        for address, reason in self.data["left_out"].items():
            lines.append(f"left out: {address} ({reason})")
        lines += [*self.notes, *_decided(self.data.get("decided"))]
        chosen = [entry["address"] for entry in self.data.get("set", [])]
        ranked = [row for row in self.data["components"] if row["level"] == "sublayer"]
        ranked = sorted(ranked, key=lambda row: row["rank_in_level"])
        first = (chosen or [row["address"] for row in ranked])[:TOP]
        warnings = [
            *self.data["trust"]["warnings"],
            *doubts(self.data, first),
        ]
        return lines + [f"warning: {line}" for line in warnings]

    def write(self, folder: Path) -> None:
        """Write ranking.json."""
        files.write_json(folder / "ranking.json", self.data)


def _decided(choice: dict[str, Any] | None) -> list[str]:
    """How much of the choice is settled, in one line."""
    if choice is None:
        return []
    first = f"the first {choice['components']}, which hold the {choice['modules']} modules to tune"
    sure = f"at {100 * choice['confidence']:.0f} %"
    if not choice["open"]:
        return [f"{first}, are told from the rest {sure}"]
    settled = len(choice["in"])
    return [
        f"{first}: {settled} {'is' if settled == 1 else 'are'} settled {sure}; open between "
        f"{', '.join(choice['open'])}"
    ]
