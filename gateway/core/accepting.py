"""What a client takes (RFC 9110 section 12.5)."""

from __future__ import annotations

from collections.abc import Iterable


def accepts(lines: Iterable[bytes], coding: bytes) -> bool:
    """
    Whether a content coding is acceptable.

    Args:
        lines: Values of ``Accept-Encoding``; without any, no coding but ``identity`` is asked for.
        coding: In lower case.
    Source:
        RFC 9110 section 12.5.3.
    """
    star = None
    for line in lines:
        for part in line.lower().split(b","):
            name, _, parameters = part.partition(b";")
            name = name.strip()
            if name == coding or name in (b"x-" + coding, b"*"):
                wanted = _weight(parameters) > 0
                if name != b"*":
                    return wanted
                star = wanted
    return bool(star)


def _weight(parameters: bytes) -> float:
    for parameter in parameters.split(b";"):
        name, equals, value = parameter.partition(b"=")
        if equals and name.strip() == b"q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
