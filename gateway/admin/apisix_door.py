"""Who may make a call in the apisix dialect: the static keys of gw.ini (Admin API contract §4.1)."""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie

from attrs import evolve, frozen

from gateway.admin.apisix import Apisix, segments
from gateway.admin.calls import Answer, Call
from gateway.admin.static_keys import StaticKeys
from gateway.model.user import VIEWER

_CROSS_SITE = ("cross-site", "same-site")


def _cookie(call: Call) -> str | None:
    # A page of another site can make a browser send the cookie, but not the header.
    if call.headers("sec-fetch-site") in _CROSS_SITE:
        return None
    cookies: SimpleCookie = SimpleCookie()
    try:
        cookies.load((call.headers("cookie") or "")[:8192])
    except CookieError:
        return None
    found = cookies.get("x_api_key")
    return None if found is None else found.value


def key_of(call: Call) -> str | None:
    """The key of a call: the query's ``api_key``, else the field, else the cookie; None without any."""
    return call.query.one("api_key") or call.headers("x-api-key") or _cookie(call)


@frozen
class ApisixDoor:
    """What stands before ``Apisix``."""

    renderer: Apisix
    keys: StaticKeys

    async def answer(self, call: Call, method: str) -> Answer:
        """
        Answer a call from anybody.

        Args:
            method: As it was sent; *call* has GET for HEAD.
        """
        if method == "OPTIONS":
            return self.renderer.preflight()
        if method == "HEAD" and not segments(call.path):
            return Answer(200, None)
        key = key_of(call)
        if key is None:
            return self.renderer.unauthorized("missing apikey")
        principal = self.keys.principal(key.encode("utf-8", "replace"))
        if principal is None:
            return self.renderer.unauthorized("wrong apikey")
        if VIEWER in principal.roles and method not in ("GET", "HEAD"):
            return self.renderer.unauthorized("invalid method for role viewer")
        return await self.renderer.answer(evolve(call, principal=principal))
