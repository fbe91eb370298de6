"""Ways to break one thing in a store: bits, bytes, stretches of a file, whole files."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path


def flip_bit(data: bytearray, chance: random.Random) -> None:
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def flip_byte(data: bytearray, chance: random.Random) -> None:
    data[chance.randrange(len(data))] ^= chance.randrange(1, 256)


def cut_tail(data: bytearray, chance: random.Random) -> None:
    del data[chance.choice((0, len(data) - 1, chance.randrange(len(data)), chance.randrange(len(data)))) :]


def stretch(data: bytearray, chance: random.Random) -> tuple[int, int]:
    """A random range of a random order of length, at least one byte."""
    length = min(len(data), 1 << chance.randrange(14))
    start = chance.randrange(len(data) - length + 1)
    return start, start + length


def swap(data: bytearray, chance: random.Random) -> None:
    a, b = stretch(data, chance)
    c = chance.randrange(len(data) - (b - a) + 1)
    one, other = data[a:b], data[c : c + b - a]
    data[a:b] = other
    data[c : c + b - a] = one


def delete_bytes(data: bytearray, chance: random.Random) -> None:
    a, b = stretch(data, chance)
    del data[a:b]


def zero(data: bytearray, chance: random.Random) -> None:
    a, b = stretch(data, chance)
    data[a:b] = bytes(b - a)


DELETE_FILE, SWAP_FILES = "delete file", "swap files"
MUTATIONS: dict[str, Callable[[bytearray, random.Random], None]] = {
    "flip bit": flip_bit,
    "flip byte": flip_byte,
    "cut tail": cut_tail,
    "swap": swap,
    "delete bytes": delete_bytes,
    "zero": zero,
}


def mutate(store: Path, file: Path, kind: str, chance: random.Random) -> None:
    """Break a file of a store; what happens to be the same afterwards is broken again."""
    before = file.read_bytes()
    if kind == DELETE_FILE:
        file.unlink()
        return
    if kind == SWAP_FILES:
        others = {path: path.read_bytes() for path in files_of(store)}
        other = chance.choice([path for path, data in others.items() if data != before])
        file.write_bytes(others[other])
        other.write_bytes(before)
        return
    data = bytearray(before)
    while data == before:
        data = bytearray(before)
        MUTATIONS[kind](data, chance)
    file.write_bytes(data)


def files_of(store: Path) -> list[Path]:
    return sorted(path for path in store.rglob("*") if path.is_file())
