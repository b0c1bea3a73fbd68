"""Access tokens of the Admin API: made, shown once, kept as hashes, checked, revoked."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any

from gateway.admin.access import digest
from gateway.admin.calls import Answer, Call
from gateway.admin.enterprise import Enterprise
from gateway.admin.enterprise_views import DIALECT, view
from gateway.admin.kinds import TOKEN
from gateway.admin.listing import Listing
from gateway.admin.refusals import NotAllowed, NotFound
from gateway.admin.resources import Place, Resources
from gateway.control.state import State
from gateway.model.record import Change, Record
from gateway.model.schema import Document

PREFIX = "a7ee-"
BOOTSTRAP_ID = "bootstrap"
_REVOKED = ("", "revoked_token", BOOTSTRAP_ID)
"""Remembers the hash of a first token that was revoked: the next start must not bring it back."""
_PLACE = Place("", TOKEN)
_PRIVATE = {"Cache-Control": "no-store"}


def new_token() -> str:
    """A token with 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def bootstrap_change(token: str) -> Change:
    """The change that stores the token a gateway starts with; it does not expire."""
    value = {"name": BOOTSTRAP_ID, "hash": digest(token.encode()), "expires_at": 0}
    return Change("", TOKEN.name, BOOTSTRAP_ID, value)


def bootstrap_changes(state: State, token: str) -> list[Change]:
    """
    What a start has to store so that *token* opens the Admin API: nothing if it is there, as people may have
    changed it, or if it was revoked. Another token than the revoked one counts again.
    """
    change = bootstrap_change(token)
    assert change.value is not None
    known, revoked = state.get(*change.key), state.get(*_REVOKED)
    if any(r is not None and r.value["hash"] == change.value["hash"] for r in (known, revoked)):
        return []
    return [change] if revoked is None else [change, Change(*_REVOKED, None)]


class Tokens:
    """Answers ``/api/tokens``."""

    def __init__(
        self, resources: Resources, renderer: Enterprise, make: Callable[[], str] = new_token
    ) -> None:
        self._resources = resources
        self._renderer = renderer
        self._make = make

    async def collection(self, call: Call) -> Answer:
        """``/api/tokens``: list them, or make one; only then is the token itself told."""
        if call.method == "GET":
            page = Listing.parse(call.query, TOKEN).of(self._resources.all(_PLACE))
            return Answer(200, {"list": [self._view(r) for r in page.records], "total": page.total}, _PRIVATE)
        if call.method != "POST":
            raise NotAllowed(("GET", "HEAD", "POST"))
        token = self._make()

        owner = call.principal.user

        def finish(value: Document, before: Record | None) -> Document:
            whose = {} if owner is None else {"user_id": owner}
            return {**value, **whose, "hash": digest(token.encode())}

        stored = await self._resources.create(_PLACE, call.document(), call.caller, DIALECT, finish)
        value = self._view(stored.record)
        body = {"value": {"id": value["id"], "name": value["name"], "token": token, **value}}
        return Answer(200, body, {**_PRIVATE, "X-Gateway-Revision": str(stored.revision)})

    async def item(self, call: Call, id: str) -> Answer:
        """``/api/tokens/{id}``: look at one, rename it, change its expiry, or revoke it at once."""
        match call.method:
            case "GET":
                return Answer(200, {"value": self._view(self._resources.get(_PLACE, id))}, _PRIVATE)
            case "PUT":
                document = call.document()

                def finish(value: Document, before: Record | None) -> Document:
                    kept = {} if before is None else before.value
                    # A rename must not make a token live for ever.
                    if "expires_at" not in document:
                        value = {**value, "expires_at": kept.get("expires_at", 0)}
                    return {**value, **{n: kept[n] for n in ("user_id", "hash") if n in kept}}

                stored = await self._resources.put(_PLACE, id, document, call.caller, DIALECT, finish)
                headers = {**_PRIVATE, "X-Gateway-Revision": str(stored.revision)}
                return Answer(200, {"value": self._view(stored.record)}, headers)
            case "DELETE":
                return self._renderer.deleted(await self._revoke(call, id))
        raise NotAllowed(("GET", "HEAD", "PUT", "DELETE"))

    async def _revoke(self, call: Call, id: str) -> int:
        def plan(state: State) -> Sequence[Change]:
            record = state.get("", TOKEN.name, id)
            if record is None:
                raise NotFound()
            call.caller.preconditions.check(record)
            removal = Change(*record.key, None)
            if id != BOOTSTRAP_ID:
                return [removal]
            return [removal, Change(*_REVOKED, {"hash": record.value["hash"]})]

        return (await self._resources.write(plan, call.caller)).state.revision

    def _view(self, record: Record) -> dict[str, Any]:
        shown = view(self._resources.state, TOKEN, record)
        del shown["hash"]
        return shown
