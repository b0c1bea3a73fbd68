"""The tokens of the plugin csrf: base64 of a JSON object that a key signs. Chance and time are arguments."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
from typing import Any

MAX_TOKEN = 2048
"""Longer tokens are not read."""


def _spelt(number: float) -> str:
    """A number as it stands in what is signed: 14 significant digits."""
    return f"{number:.14g}"


def _sign(expires: float, random: float, key: str) -> str:
    text = f"{{expires:{_spelt(expires)},random:{_spelt(random)},key:{key}}}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def make(key: str, now_s: int, random: float) -> str:
    """
    Make a token.

    Args:
        now_s: Unix time in seconds; the member ``expires`` says when the token was made. random: From 0 to 1.
    """
    random = float(_spelt(random))
    document = {"random": random, "expires": now_s, "sign": _sign(now_s, random, key)}
    return base64.b64encode(json.dumps(document, separators=(",", ":")).encode()).decode()


def fault(token: str, key: str, now_s: int, lifetime_s: int) -> str | None:
    """
    What is wrong with a token, in words for the log; None if it is good.

    Args:
        lifetime_s: How old it may be; 0 or less: as old as it likes.
    Source:
        Plugin contract §2, csrf.
    """
    if len(token) > MAX_TOKEN:
        return "the token is too long"
    try:
        document = json.loads(base64.b64decode(token, validate=True))
    except (ValueError, RecursionError):
        return "the token is not base64 of JSON"
    if not isinstance(document, dict):
        return "the token is no object"
    random, expires, sign = _number(document, "random"), _number(document, "expires"), document.get("sign")
    if random is None:
        return "no random in token"
    if expires is None:
        return "no expires in token"
    if lifetime_s > 0 and now_s - expires > lifetime_s:
        return "token has expired"
    if not isinstance(sign, str):
        return "no sign in token"
    if not hmac.compare_digest(sign.encode("utf-8", "replace"), _sign(expires, random, key).encode()):
        return "Invalid signatures"
    return None


def _number(document: dict[str, Any], name: str) -> float | None:
    value = document.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None
