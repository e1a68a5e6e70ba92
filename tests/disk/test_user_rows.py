"""JSON-lines files of the user's own: every row counts, every fault is told by its line."""

import pytest

from ablate2tune.disk.user_rows import read_user_rows
from ablate2tune.errors import UserError


def rows_of(tmp_path, data: str | bytes):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return read_user_rows(path)


def test_the_last_row_needs_no_newline(tmp_path):
    """The fault: it was dropped."""
    assert [row.values for row in rows_of(tmp_path, '{"a": 1}\n{"a": 2}')] == [{"a": 1}, {"a": 2}]


def test_blank_lines_and_a_byte_order_mark_are_no_rows(tmp_path):
    found = rows_of(tmp_path, '\ufeff{"a": 1}\r\n\r\n  \n{"a": "é"}\n\n')
    assert [row.values for row in found] == [{"a": 1}, {"a": "é"}]
    assert [row.where.rpartition(":")[2] for row in found] == ["1", "4"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ('{"a": 1}\n{"a": 2', r"rows.jsonl:2: is not a JSON line \(.*one JSON object a line"),
        ("[1]\n", "rows.jsonl:1: is a JSON array, not an object"),
        ('"a"\n', "rows.jsonl:1: is a JSON text, not an object"),
        ('{"a": 1, "a": 2}\n', r"rows.jsonl:1: .*'a' is given twice"),
        ('{"a": 1, "b": 2}\n\n{"b": 2, "a": 1}\n', "rows.jsonl:3: says the same as line 1"),
        (b'{"a": "\xe9"}\n', r"rows.jsonl: is not UTF-8 text \(byte 7\)"),
    ],
)
def test_faults_by_their_line(tmp_path, data, message: str):
    with pytest.raises(UserError, match=message) as raised:
        rows_of(tmp_path, data)
    assert "\n" not in str(raised.value)
    assert "delete the file" not in str(raised.value)


def test_no_file(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_user_rows(tmp_path / "rows.jsonl")


def test_texts_and_paths(tmp_path):
    row, *_ = rows_of(
        tmp_path,
        '{"text": "a", "none": " ", "number": 3, "out": "../x", "in": "b/c", "nul": "a\\u0000b"}',
    )
    assert row.text("text", "") == "a"
    assert row.path("in", tmp_path, "") == tmp_path / "b" / "c"
    for key, message in (
        ("none", "'none' is empty"), ("number", "'number' is no text"),
        ("absent", "'absent' is missing"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=f"rows.jsonl:1: {message}"):
            row.text(key, "")
    with pytest.raises(UserError, match=r"rows.jsonl:1: nul is 'a\\x00b'; write a name"):
        row.path("nul", tmp_path, "write a name")
    with pytest.raises(UserError, match=r"rows.jsonl:1: out '../x' leads out of the folder"):
        row.path("out", tmp_path, "")
