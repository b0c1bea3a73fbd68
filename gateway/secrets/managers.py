"""
Fetching one secret from the manager that keeps it.

Source: data-plane contract §18; each manager's public API.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import quote

from attrs import frozen

from gateway.interfaces import HttpAnswer, HttpCallFailed, HttpCalls

MAX_BYTES = 1 << 20
"""Of an answer of a manager."""


class FetchFailed(Exception):
    """A secret is not to be had. The text says why, and holds nothing of a secret."""


class ManagerSilent(FetchFailed):
    """A manager does not answer: no other of its secrets is to be had now, either."""


@frozen
class Asking:
    """
    What a fetch needs besides the manager's settings.

    Attributes:
        http: Makes calls. now: Unix seconds. timeout_s: How long one call may take.
    """

    http: HttpCalls
    now: Callable[[], float]
    timeout_s: float

    async def call(
        self,
        method: str,
        url: str,
        fields: Mapping[str, str],
        content: bytes | None = None,
        *,
        verify: bool = True,
    ) -> Any:
        """
        One call.

        Returns:
            The JSON value that was answered.
        Raises:
            FetchFailed: something else came, or another status than 200. ManagerSilent: nothing came.
        """
        pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields.items()]
        try:
            answer: HttpAnswer = await self.http.request(
                method,
                url,
                fields=pairs,
                content=content,
                timeout_s=self.timeout_s,
                verify=verify,
                max_bytes=MAX_BYTES,
            )
        except HttpCallFailed as error:
            raise ManagerSilent(str(error)) from None
        if answer.status != 200:
            raise FetchFailed(f"the manager answered {answer.status}")
        try:
            return json.loads(answer.content)
        except (ValueError, RecursionError):
            # Not chained: the original error quotes the text.
            raise FetchFailed("the manager's answer is not JSON") from None


Fetch = Callable[[Mapping[str, Any], str, Asking], Awaitable[str]]
"""From a manager's settings and what follows its id in a reference to the secret. Raises FetchFailed."""


def split_path(path: str) -> tuple[str, str | None]:
    """
    The name of a secret and of the member in it: the last segment, None if there is but one.

    Raises:
        FetchFailed: it would lead out of the place where the manager keeps secrets.
    """
    if any(segment in ("", ".", "..") for segment in path.split("/")):
        raise FetchFailed("the reference has an empty segment, or one of dots")
    name, slash, member = path.rpartition("/")
    return (name, member) if slash else (path, None)


def member_of(text: str, member: str | None) -> str:
    """
    A secret's text, or what one member of the JSON object in it says.

    Raises:
        FetchFailed: it has no such member, or that is no text.
    """
    if member is None:
        return text
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise FetchFailed("the secret is not JSON") from None
    return text_in(document, member)


def text_in(document: Any, member: str) -> str:
    """A member that must be there and be text. Raises FetchFailed."""
    value = document.get(member) if isinstance(document, Mapping) else None
    if not isinstance(value, str) or not value:
        raise FetchFailed(f'the secret has no text in its member "{member}"')
    return value


async def vault(settings: Mapping[str, Any], path: str, asking: Asking) -> str:
    """
    A member of a secret in HashiCorp Vault's key-value engine: version 1, or 2 with a prefix in ``/data``.

    Args:
        settings: ``uri``, ``prefix``, ``token``, perhaps ``namespace``.
    """
    name, member = split_path(path)
    if member is None:
        raise FetchFailed("the reference names no secret, or no member of it")
    fields = {"X-Vault-Token": str(settings["token"])}
    if settings.get("namespace"):
        fields["X-Vault-Namespace"] = str(settings["namespace"])
    prefix = str(settings["prefix"]).strip("/")
    url = f"{str(settings['uri']).rstrip('/')}/v1/{prefix}/{quote(name)}"
    answer = await asking.call("GET", url, fields)
    data = answer.get("data") if isinstance(answer, Mapping) else None
    if isinstance(data, Mapping) and isinstance(data.get("data"), Mapping) and "metadata" in data:
        data = data["data"]
    return text_in(data, member)
