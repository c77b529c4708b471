"""Readers: odd bytes are read or refused with file, line and column; nothing else ever comes out."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qpeft.data.load import load_texts
from qpeft.data.readers import READERS, read_file
from qpeft.errors import DataError
from qpeft.records.spec import DataSpec

ROWS = [{"text": f"bell {i}"} for i in range(4)]
BODIES = {
    ".txt": "bell 0\nbell 1\n",
    ".jsonl": "".join(json.dumps(row) + "\n" for row in ROWS),
    ".json": json.dumps(ROWS),
    ".csv": "text,id\nbell 0,0\nbell 1,1\n",
    ".tsv": "text\tid\nbell 0\t0\nbell 1\t1\n",
}


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("suffix", BODIES)
def test_a_byte_order_mark_is_no_text(tmp_path: Path, suffix: str) -> None:
    plain = read_file(written(tmp_path, f"a{suffix}", BODIES[suffix]))
    assert read_file(written(tmp_path, f"b{suffix}", b"\xef\xbb\xbf" + BODIES[suffix].encode())) == plain
    with pytest.raises(DataError, match=r"must be UTF-8 text; byte 0 \(line 1\) is not \(it looks like UTF-16\)"):
        read_file(written(tmp_path, f"c{suffix}", BODIES[suffix].encode("utf-16")))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("d.jsonl", '{"text": "a"}\nnull\n', "line 2 of d.jsonl must be an object or a string; got null"),
        ("d.json", '["a", null]', "record 2 of d.json must be an object or a string; got null"),
        ("d.jsonl", '{"text": "a"}\n{"text" "b"}\n', "line 2 of d.jsonl .* column 9"),
        ("d.jsonl", '"a"\n{"n": ' + "1" * 10000 + "}", "line 2 of d.jsonl .* more than 4,300 digits"),
        ("d.json", '["a",\n{"n": ' + "1" * 10000 + "}]", "a number at line 2 has more than 4,300 digits"),
        ("d.jsonl", '"a"\n' + "[" * 100000, "line 2 of d.jsonl .* nested too deeply"),
        ("d.jsonl", '{"text": "a", "text": "b"}', "line 1 of d.jsonl .* 'text' stands twice"),
        ("d.json", '{"data": ["a"], "test": ["b"]}', "holds data, test"),
        ("d.csv", "text,id\na,1\nb,2,3\n", "line 3 of d.csv must have 2 cells, as its heading has; it has 3"),
        ("d.csv", "text,id\na\n", "line 2 of d.csv must have 2 cells, as its heading has; it has 1"),
        ("d.csv", "text,text\na,b\n", "text stands twice"),
        ("d.txt", b"fine\nfine\n\xff\n", r"byte 10 \(line 3\)"),
    ],
)
def test_faults_name_their_place(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_file(written(tmp_path, name, content))


def test_long_cells_and_unnamed_columns(tmp_path: Path) -> None:
    path = written(tmp_path, "d.csv", f',text\n0,"{"a" * 200_000}"\n')
    assert read_file(path) == [{"(column 1)": "0", "text": "a" * 200_000}]


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").mkdir()
    (tmp_path / "e.jsonl").symlink_to(tmp_path / "e.jsonl")
    for name in ("d.jsonl", "e.jsonl"):
        with pytest.raises(DataError, match=f"{name} must be a file that can be read"):
            read_file(tmp_path / name)
        with pytest.raises(DataError):
            load_texts(DataSpec(name=str(tmp_path / name)))
    for name in ("a" * 5000, "a\0b", "~nobody-of-this-name/x"):
        with pytest.raises(DataError):
            load_texts(DataSpec(name=name + ".txt"))


def parquet(path: Path, columns: dict[str, Any]) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.table(columns), path)
    return path


def test_parquet_values(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    holds = {"output": [{"ok": True, "n": None}] * 40, "instruction": [f"give {i}" for i in range(40)]}
    texts = load_texts(DataSpec(name=str(parquet(tmp_path / "d.parquet", holds))))
    assert texts.train[0].segments[1] == ('{"ok": true, "n": null}', True)
    broken = pyarrow.Array.from_buffers(
        pyarrow.string(), 2, [None, pyarrow.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0"), pyarrow.py_buffer(b"a\xff")]
    )
    with pytest.raises(DataError, match=r"row 2, column 'text' of e.parquet cannot be read; UnicodeDecodeError"):
        read_file(parquet(tmp_path / "e.parquet", {"text": broken}))


def test_damaged_parquet_is_read_or_refused(tmp_path: Path) -> None:
    whole = parquet(tmp_path / "d.parquet", {"text": [f"bell {i}" for i in range(300)]}).read_bytes()
    chance = random.Random(5)
    refused = 0
    for _ in range(120):
        damaged = bytearray(whole)
        for _ in range(chance.choice([1, 3, 20])):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        damaged = damaged[: chance.choice([len(damaged), chance.randrange(len(damaged))])]
        try:
            read_file(written(tmp_path, "e.parquet", bytes(damaged)))
        except DataError:
            refused += 1
    assert refused > 60


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(suffix=st.sampled_from(sorted(READERS)), content=st.binary(max_size=200), place=st.integers(0, 60))
def test_any_bytes_are_read_or_refused(tmp_path: Path, suffix: str, content: bytes, place: int) -> None:
    body = BODIES.get(suffix, "").encode()
    for data in (content, body[:place] + content + body[place:]):
        try:
            load_texts(DataSpec(name=str(written(tmp_path, f"d{suffix}", data))))
        except DataError:
            continue
