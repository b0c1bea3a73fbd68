"""
Secrets of AWS Secrets Manager, and the signature that its calls carry.

Source: AWS Signature Version 4; Secrets Manager's GetSecretValue.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from gateway.secrets.managers import Asking, FetchFailed, member_of, split_path

DEFAULT_REGION = "us-east-1"
_SERVICE = "secretsmanager"


def signed(
    method: str,
    url: str,
    fields: Mapping[str, str],
    content: bytes,
    *,
    key_id: str,
    secret: str,
    region: str,
    service: str,
    now: float,
) -> dict[str, str]:
    """
    The fields of a request with its signature.

    Args:
        url: Its query must be in the canonical form and order already.
        fields: What is signed besides ``Host`` and ``X-Amz-Date``.
        now: Unix seconds.
    """
    parts = urlsplit(url)
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    all_fields = {**fields, "Host": parts.netloc, "X-Amz-Date": stamp}
    canonical = {name.lower(): " ".join(value.split()) for name, value in all_fields.items()}
    names = ";".join(sorted(canonical))
    lines = "".join(f"{name}:{canonical[name]}\n" for name in sorted(canonical))
    request = "\n".join(
        [method, parts.path or "/", parts.query, lines, names, hashlib.sha256(content).hexdigest()]
    )
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    to_sign = "\n".join(
        ["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(request.encode("utf-8")).hexdigest()]
    )
    key = ("AWS4" + secret).encode("utf-8")
    for part in (stamp[:8], region, service, "aws4_request"):
        key = hmac.digest(key, part.encode("utf-8"), "sha256")
    signature = hmac.digest(key, to_sign.encode("utf-8"), "sha256").hex()
    credential = f"AWS4-HMAC-SHA256 Credential={key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {**all_fields, "Authorization": credential}


async def aws(settings: Mapping[str, Any], path: str, asking: Asking) -> str:
    """
    A secret's text, or a member of the JSON in it.

    Args:
        settings: ``access_key_id``, ``secret_access_key``, perhaps ``session_token``, ``region``,
            ``endpoint_url``.
    """
    name, member = split_path(path)
    region = str(settings.get("region") or DEFAULT_REGION)
    endpoint = settings.get("endpoint_url") or f"https://{_SERVICE}.{region}.amazonaws.com"
    url = str(endpoint).rstrip("/") + "/"
    content = json.dumps({"SecretId": name}).encode("utf-8")
    fields = {
        "Content-Type": "application/x-amz-json-1.1",
        "X-Amz-Target": f"{_SERVICE}.GetSecretValue",
    }
    if settings.get("session_token"):
        fields["X-Amz-Security-Token"] = str(settings["session_token"])
    fields = signed(
        "POST",
        url,
        fields,
        content,
        key_id=str(settings["access_key_id"]),
        secret=str(settings["secret_access_key"]),
        region=region,
        service=_SERVICE,
        now=asking.now(),
    )
    del fields["Host"]  # the client sends it
    answer = await asking.call("POST", url, fields, content)
    text = answer.get("SecretString") if isinstance(answer, Mapping) else None
    if not isinstance(text, str) or not text:
        raise FetchFailed("the manager's answer has no SecretString")
    return member_of(text, member)
