"""The card of a data set that shows files of the user's own, with their licences."""

from pathlib import Path

from ablate2tune.files import write_text

FILE = "README.md"


def write_card(folder: Path, files: dict[str, dict[str, str]]) -> Path | None:
    """Write the card into a data set's folder; none where there is nothing to say.

    Args:
        folder: the data set's folder.
        files: licence, author and source by file name.
    """
    if not files:
        return None
    rows = [
        f"| {' | '.join(_cell(text) for text in (name, *(note[k] for k in KEYS)))} |"
        for name, note in sorted(files.items())
    ]
    path = folder / FILE
    write_text(
        path,
        "\n".join([
            f"# {folder.name}",
            "",
            "Scenes rendered by ablate2tune. They show these files, which others may have made:",
            "",
            "| file | licence | author | source |",
            "|---|---|---|---|",
            *rows,
            "",
        ]),
    )  # fmt: skip
    return path


KEYS = ("licence", "author", "source")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|") or "-"
