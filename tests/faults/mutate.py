"""Odd values and damaged files: valid inputs changed in the ways people, editors and disks change them."""

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 3.5, 10**6, 10**9, 10**18, 10**30, -(2**63), 2**32, 1e-3, 1e308, 1e-320, math.inf,
    -math.inf, math.nan, "", " ", "x", "(", "[", "*", "a" * 300, "none", "null", "-1", "1e3", "20x", "é\u2028", "\x7f",
    "../..", "/", "/dev/null", "/proc/self/mem", "~", ".", "-", "--help", "{}", "a.b.c", [], [[]], {}, [None], [1, 1],
    {"a": 1}, {"name": "lora"}, [-1], ["q_proj"], [0.5, "x"], "q_proj", "all-linear", "!!int x", "2024-01-01",
)  # fmt: skip
YAML_WORDS = (
    "2024-01-01", "!!int x", "!!float x", "!!bool x", "!!timestamp x", "!!binary x", "!!set {a, b}", "!!omap [a: 1]",
    "!!python/name:os.system", "!x 3", ".nan", ".inf", "-.inf", "1e999", "0x1F", "0o17", "017", "1:30", "~", "null",
    "yes", "no", "<<", "=", "*a", "&a 3", "&a [*a]", "{? [1] : 2}", "{1: 2}", "{null: 2}", "{2024-01-01: 1}", "[", "{",
    "'", '"', '"\\ud800"', '"\\0"', "|", ">", "@", "`", "%", "\t", "---", "...", "# x", "9" * 5000,
    "[" * 40 + "]" * 40,
    "[" * 5000, "{a: " * 200, "- " * 3000, "\u0085", "\ufeff", "\x00", "!!str", "!!null x", "!!seq 3", "!!map 3",
)  # fmt: skip
NEAR = (
    "0", "1", "2", "3", "4", "8", "16", "64", "0.5", "1e-3", "1e-2", "1.0", "true", "false", "lora", "qaa", "qpa",
    "full", "base", "q_proj", "[q_proj]", "[q_proj, v_proj]", "all-linear", "embedded", "text", "packed", "padded",
    "cosine", "bfloat16", "sgd", "bf16", "ry_cnot", "ring", "sampled:shots=2x", "shift", "spsa", "{name: lora, r: 2}",
    "[0, 1]",
)  # fmt: skip
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]\n" for k in range(1, 12)
)


def text(rng: random.Random, given: str) -> str:
    """A YAML or JSON text with one to three changes."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        lines = given.split("\n")
        place = rng.randrange(len(lines))
        given = rng.choice(TEXT_CHANGES)(rng, lines, place)
    return given


def _value(rng: random.Random, lines: list[str], place: int) -> str:
    """Another value behind a key."""
    key, colon, _ = lines[place].partition(":")
    kinds = (YAML_WORDS, NEAR, NEAR, [json.dumps(value) for value in ODD])
    word = rng.choice(rng.choice(kinds))
    lines[place] = f"{key}: {word}" if colon else word
    return "\n".join(lines)


def _key(rng: random.Random, lines: list[str], place: int) -> str:
    """Another key."""
    key, _, value = lines[place].partition(":")
    indent = key[: len(key) - len(key.lstrip())]
    lines[place] = (
        f"{indent}{rng.choice(('1', '2024-01-01', 'null', '? x', 'extends', 'like', 'a b', '<<', '[1]'))}:{value}"
    )
    return "\n".join(lines)


def _letters(rng: random.Random, lines: list[str], place: int) -> str:
    """Letters lost, doubled, or replaced."""
    whole = list("\n".join(lines))
    for _ in range(rng.randint(1, 4)):
        if whole:
            at = rng.randrange(len(whole))
            whole[at] = rng.choice(("", whole[at] * 2, rng.choice(":-[]{}#&*!|>'\"%@`,?\t\n\x07\ud7ff 0"), "é"))
    return "".join(whole)


def _line(rng: random.Random, lines: list[str], place: int) -> str:
    """A line lost, doubled or indented."""
    lines[place : place + 1] = rng.choice(([], [lines[place]] * 2, ["  " + lines[place]], [lines[place].lstrip()]))
    return "\n".join(lines)


def _cut(rng: random.Random, lines: list[str], place: int) -> str:
    """The rest lost, as after a full disk."""
    whole = "\n".join(lines)
    return whole[: rng.randrange(len(whole) + 1)]


def _large(rng: random.Random, lines: list[str], place: int) -> str:
    """Something large at the end."""
    more = (BOMB, "x: " + "[" * 20_000, "x: '" + "a" * 2_000_000 + "'", "".join(f"k{i}: {i}\n" for i in range(30_000)))
    return "\n".join(lines) + "\n" + rng.choice(more)


TEXT_CHANGES: tuple[Callable[[random.Random, list[str], int], str], ...] = (
    *(_value,) * 6, _key, *(_letters,) * 2, _line, _cut, _large,
)  # fmt: skip


def tree(rng: random.Random, value: Any) -> Any:
    """JSON data with one value replaced, lost or added at a random place."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        out, key = dict(value), rng.choice(list(value))
        if rng.random() < 0.15:
            del out[key]
        elif rng.random() < 0.05:
            out[rng.choice(("x", "", "name", "version"))] = rng.choice(ODD)
        else:
            out[key] = tree(rng, value[key])
        return out
    if isinstance(value, list) and value and rng.random() < 0.8:
        out_list, at = list(value), rng.randrange(len(value))
        out_list[at : at + 1] = rng.choice(([], [tree(rng, value[at])], [tree(rng, value[at])], [value[at]] * 2))
        return out_list
    return rng.choice(ODD)


def damage(rng: random.Random, path: Path) -> None:
    """A file as a disk, an editor or a person may leave it; JSON is mostly changed and stays JSON."""
    if path.suffix == ".json" and rng.random() < 0.7:
        try:
            body = json.loads(path.read_text("utf-8"))
        except ValueError:  # damaged before
            return
        for _ in range(rng.choice((1, 1, 2))):
            body = tree(rng, body)
        path.write_text(json.dumps(body), "utf-8")
        return
    rng.choice((*(_bytes,) * 5, _bytes, _gone, _folder, _loop, _empty))(rng, path)


def _bytes(rng: random.Random, path: Path) -> None:
    """Bytes replaced, cut or added."""
    body = bytearray(path.read_bytes())
    if rng.random() < 0.4:
        body = body[: rng.randrange(len(body) + 1)]
    for _ in range(rng.choice((1, 1, 3, 30))):
        if body:
            # The heads of binary files decide how the rest is read.
            body[rng.randrange(min(len(body), rng.choice((8, 64, 1 << 30))))] = rng.choice(
                (0, 255, rng.randrange(256))
            )
    path.write_bytes(bytes(body) + rng.choice((b"", b"\xff", b"null", b"\n[", b"\0" * 9, b"[" * 9000)))


def _gone(rng: random.Random, path: Path) -> None:
    path.unlink()


def _folder(rng: random.Random, path: Path) -> None:
    path.unlink()
    path.mkdir()


def _loop(rng: random.Random, path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def _empty(rng: random.Random, path: Path) -> None:
    path.write_bytes(b"")
