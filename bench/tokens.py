"""Throw-away tokens for the guarded route."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time

USERNAME = "bench"
KEY = "bench-key"
SECRET = "a-throw-away-secret-of-32-bytes!"


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def mint(number: int = 0) -> str:
    """An HS256 token valid for a day; each *number* gives another one."""
    header = _text(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
    claims = {"key": KEY, "exp": int(time.time()) + 86400, "jti": str(number)}
    signed = f"{header}.{_text(json.dumps(claims).encode())}"
    return f"{signed}.{_text(hmac.new(SECRET.encode(), signed.encode(), hashlib.sha256).digest())}"
