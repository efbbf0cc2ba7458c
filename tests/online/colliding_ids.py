"""Two ids with one 64-bit hash, made by arithmetic: xxHash64 is no cryptographic hash, so anybody can have such a pair."""

from __future__ import annotations

import itertools
import string
import struct

from features.keys import HASH_SEED, hash64

_P1, _P2, _MODULUS = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 1 << 64
_REST = "." * 24
"""Of each block of 32 bytes, what follows its first word and is the same in both ids."""


def colliding_ids(prefix: str = "id--") -> tuple[str, str]:
    """Two different printable ids of 64 bytes that begin with `prefix`, four characters, and share `hash64`.

    xxHash64 takes each word of a block of 32 bytes into an accumulator. What another first word changes, the first word
    of the next block can undo; that the undoing word is printable takes some thousand tries.
    """
    first, second = prefix + "aaaa", "undo-it-"
    for letters in itertools.product(string.ascii_letters, repeat=4):
        other = prefix + "".join(letters)
        undone = (_word(second) + (_accumulated(first) - _accumulated(other)) * pow(_P2, -1, _MODULUS)) % _MODULUS
        text = struct.pack("<Q", undone).decode("latin-1")
        if other != first and text.isascii() and text.isprintable():
            pair = first + _REST + second + _REST, other + _REST + text + _REST
            assert hash64(pair[0]) == hash64(pair[1])
            return pair
    raise AssertionError(f"no pair begins with {prefix!r}")


def _word(text: str) -> int:
    return int(struct.unpack("<Q", text.encode())[0])


def _accumulated(word: str) -> int:
    """The first accumulator after a first block that begins with `word`."""
    mixed = (HASH_SEED + _P1 + _P2 + _word(word) * _P2) % _MODULUS
    return ((mixed << 31 | mixed >> 33) * _P1) % _MODULUS
