"""Ids for requests, in the forms that people ask for. Chance and time are arguments."""

from __future__ import annotations

import math
from uuid import UUID

NANOID_LENGTH = 21
NANOID_ALPHABET = "_-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
KSUID_EPOCH_S = 1_400_000_000
KSUID_BYTES = 16
"""Random bytes of a KSUID."""
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def uuid4(random: bytes) -> str:
    """A UUID of version 4 from 16 random bytes (RFC 9562 section 5.4)."""
    return str(UUID(bytes=random[:16], version=4))


def uuid7(now_s: float, random: bytes) -> str:
    """A UUID of version 7 from Unix time in seconds and 10 random bytes (RFC 9562 section 5.7)."""
    milliseconds = int(now_s * 1000) & ((1 << 48) - 1)
    number = int.from_bytes(milliseconds.to_bytes(6, "big") + random[:10], "big")
    number = number & ~(0xF << 76) | 7 << 76
    number = number & ~(0x3 << 62) | 0x2 << 62
    return str(UUID(int=number))


def ksuid(now_s: float, random: bytes) -> str:
    """A KSUID, 27 characters that sort by time: of Unix time in seconds and ``KSUID_BYTES`` random bytes."""
    seconds = max(0, int(now_s) - KSUID_EPOCH_S) & 0xFFFFFFFF
    number = int.from_bytes(seconds.to_bytes(4, "big") + random[:KSUID_BYTES], "big")
    return from_alphabet(number, 27, _BASE62)[::-1]


def random_bytes_for(length: int, alphabet: str) -> int:
    """How many random bytes make ``from_alphabet`` choose evenly: eight more than the digits need."""
    return math.ceil(length * math.log2(max(2, len(alphabet))) / 8) + 8


def from_alphabet(number: int, length: int, alphabet: str) -> str:
    """*number*'s last *length* digits, least first, in the digits of *alphabet*."""
    base = len(alphabet)
    digits = []
    for _ in range(length):
        number, digit = divmod(number, base)
        digits.append(alphabet[digit])
    return "".join(digits)
