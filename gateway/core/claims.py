"""Whether a token's time has come and not passed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from email.utils import formatdate
from math import inf
from typing import Any

from gateway.core.jose import Refusal, excerpt

TIME_CLAIMS = ("exp", "nbf")
_ABSENT = object()


def times_of(claims: Mapping[str, Any]) -> dict[str, Any]:
    """The part of *claims* that ``check_times`` reads."""
    return {name: claims[name] for name in TIME_CLAIMS if name in claims}


def period_of(times: Mapping[str, Any]) -> tuple[float, float] | None:
    """
    From when to when a token is valid, leeway aside: where ``check_times`` would ask for no claim.

    Args:
        times: What ``times_of`` says of it.
    Returns:
        The first moment at which it is valid, and the first at which it is not any longer, in Unix seconds;
        infinite where it says nothing. None if a claim is no number.
    """
    if any(type(value) is not int and type(value) is not float for value in times.values()):
        return None
    return times.get("nbf", -inf), times.get("exp", inf)


def _date(value: float) -> str:
    try:
        return formatdate(value, usegmt=True)
    except (ValueError, OverflowError, OSError):
        return excerpt(str(value))


def check_times(
    claims: Mapping[str, Any], required: Sequence[str], now: float, grace_s: float
) -> Refusal | None:
    """
    Check ``exp`` and ``nbf``.

    Args:
        claims: The payload, or what ``times_of`` says of it.
        required: Of ``TIME_CLAIMS``: those that must be there and are the only ones checked. Empty:
            both are checked where they are present.
        now: Unix time in seconds.
        grace_s: Seconds of leeway for either; finite and at least 0.
    Returns:
        None if the token is valid now: ``exp > now - grace_s`` and ``nbf <= now + grace_s``. Else a
        refusal: ``jwt_claim_missing``, ``jwt_claim_invalid``, ``jwt_expired``, ``jwt_not_yet_valid``.
    Source:
        RFC 7519 sections 4.1.4 and 4.1.5; jwt-auth contract §5.3.
    """
    for name in required or TIME_CLAIMS:
        value = claims.get(name, _ABSENT)
        if value is _ABSENT:
            if required:
                return Refusal("jwt_claim_missing", f"claim {name} is missing")
        elif type(value) is not int and type(value) is not float:
            return Refusal("jwt_claim_invalid", f"claim {name} is not a number")
        elif name == "exp":
            if not value > now - grace_s:
                return Refusal("jwt_expired", f"'exp' claim expired at {_date(value)}")
        elif not value <= now + grace_s:
            return Refusal("jwt_not_yet_valid", f"'nbf' claim not valid until {_date(value)}")
    return None
