"""
Secrets of Google Cloud's Secret Manager, with a service account's key.

Source: RFC 7523 section 2.1 (a signed JWT for an access token); Secret Manager's AccessSecretVersion.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from gateway.secrets.managers import Asking, FetchFailed, member_of, split_path, text_in

TOKEN_URI = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
ENTRIES_URI = "https://secretmanager.googleapis.com/v1"
SCOPE = ("https://www.googleapis.com/auth/cloud-platform",)
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_LIFE_S = 3600


def _account(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    given = settings.get("auth_config")
    if isinstance(given, Mapping):
        return given
    try:
        document = json.loads(Path(str(settings.get("auth_file"))).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise FetchFailed("auth_file cannot be read, or is not JSON") from None
    if not isinstance(document, Mapping):
        raise FetchFailed("auth_file holds no object")
    return document


def _base64url(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def assertion(account: Mapping[str, Any], token_uri: str, now: int) -> str:
    """
    The signed claim that an access token is asked for with.

    Raises:
        FetchFailed: the account has no key for RS256.
    """
    claims = {
        "iss": account.get("client_email"),
        "aud": token_uri,
        "scope": " ".join(account.get("scope") or SCOPE),
        "iat": now,
        "exp": now + _LIFE_S,
    }
    parts = ({"alg": "RS256", "typ": "JWT"}, claims)
    text = b".".join(_base64url(json.dumps(part).encode("utf-8")) for part in parts)
    try:
        key = serialization.load_pem_private_key(str(account.get("private_key")).encode("utf-8"), None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise FetchFailed("private_key is no RSA key in PEM")
    signature = key.sign(text, padding.PKCS1v15(), hashes.SHA256())
    return (text + b"." + _base64url(signature)).decode("ascii")


async def gcp(settings: Mapping[str, Any], path: str, asking: Asking) -> str:
    """
    The latest version of a secret, or a member of the JSON in it.

    Args:
        settings: ``auth_config`` or ``auth_file``, a service account's; perhaps ``ssl_verify``.
    """
    name, member = split_path(path)
    account = _account(settings)
    verify = settings.get("ssl_verify", True) is not False
    token_uri = str(account.get("token_uri") or TOKEN_URI)
    form = {"grant_type": _GRANT, "assertion": assertion(account, token_uri, int(asking.now()))}
    answer = await asking.call(
        "POST",
        token_uri,
        {"Content-Type": "application/x-www-form-urlencoded"},
        urlencode(form).encode("ascii"),
        verify=verify,
    )
    token = text_in(answer, "access_token")
    place = f"projects/{quote(str(account.get('project_id')), safe='')}/secrets/{quote(name, safe='')}"
    entries = str(account.get("entries_uri") or ENTRIES_URI).rstrip("/")
    url = f"{entries}/{place}/versions/latest:access"
    found = await asking.call("GET", url, {"Authorization": f"Bearer {token}"}, verify=verify)
    payload = found.get("payload") if isinstance(found, Mapping) else None
    try:
        text = base64.b64decode(text_in(payload, "data"), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        raise FetchFailed("the secret is not text in base64") from None
    return member_of(text, member)
