"""Who may make a call in the apisix dialect: the static keys of gw.ini (Admin API contract §4.1)."""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie

from attrs import evolve, frozen

from gateway.admin.apisix import Apisix, segments
from gateway.admin.calls import Answer, Call
from gateway.admin.static_keys import StaticKeys
from gateway.model.user import VIEWER


def _cookie(call: Call) -> str | None:
    cookies: SimpleCookie = SimpleCookie()
    try:
        cookies.load((call.headers("cookie") or "")[:8192])
    except CookieError:
        return None
    found = cookies.get("x_api_key")
    return None if found is None else found.value


def key_of(call: Call, foreign: bool) -> str | None:
    """
    The key of a call: the query's ``api_key``, else the field, else the cookie; None without any.

    Args:
        foreign: Whether a page of another site made a browser send it: that can send the cookie along.
    """
    key = call.query.one("api_key") or call.headers("x-api-key")
    return key or (None if foreign else _cookie(call))


@frozen
class ApisixDoor:
    """What stands before ``Apisix``."""

    renderer: Apisix
    keys: StaticKeys

    async def answer(self, call: Call, method: str, *, foreign: bool = False) -> Answer:
        """
        Answer a call from anybody.

        Args:
            method: As it was sent; *call* has GET for HEAD. foreign: See ``key_of``.
        """
        if method == "OPTIONS":
            return self.renderer.preflight()
        if method == "HEAD" and not segments(call.path):
            return Answer(200, None)
        if self.keys.anonymous is not None:
            return await self.renderer.answer(evolve(call, principal=self.keys.anonymous))
        key = key_of(call, foreign)
        if key is None:
            return self.renderer.unauthorized("missing apikey")
        principal = self.keys.principal(key.encode("utf-8", "replace"))
        if principal is None:
            return self.renderer.unauthorized("wrong apikey")
        if VIEWER in principal.roles and method not in ("GET", "HEAD"):
            return self.renderer.unauthorized("invalid method for role viewer")
        return await self.renderer.answer(evolve(call, principal=principal))
