"""What the terminal shows is what was said."""

from rich.table import Table

from ablate2tune.progress import Terminal


def test_paths_are_not_folded_off_a_terminal(capsys):
    path = "/a/b" + "/folder" * 40
    Terminal().say(f"grid: {path}")
    assert capsys.readouterr().out == f"grid: {path}\n"


def test_brackets_are_not_markup(capsys):
    cells = Table("component")
    cells.add_row("attn[heads=3]")
    terminal = Terminal()
    terminal.say("for it: pip install 'ablate2tune[fid]'")
    terminal.say(cells)
    out = capsys.readouterr().out
    assert "'ablate2tune[fid]'" in out
    assert "attn[heads=3]" in out
