"""Requests that mean two things: refused by both servers, however the network cuts them."""

from __future__ import annotations

from tests.hostile import request_contract as contract
from tests.hostile.smuggling import CHUNKS, NEXT, REFUSED
from tests.proxy.test_lean import Lean
from tests.proxy.test_site import TwistedWeb


class LeanRequestTests(Lean, contract.RefusalContract):
    """The lean server."""

    def test_every_cut(self) -> None:
        """The same for every way in which a request comes in two pieces."""
        self.check_every_cut(REFUSED, 0)

    def test_every_cut_of_chunks(self) -> None:
        """And for content that breaks its framing."""
        self.check_every_cut(CHUNKS, 1)


class TwistedWebRequestTests(TwistedWeb, contract.RefusalContract):
    """twisted.web's."""

    def test_every_cut_of_chunks(self) -> None:
        """Content that breaks its framing may come in any two pieces."""
        self.check_every_cut(CHUNKS, 1)


class TableTests(Lean):
    """The table itself."""

    def test_names(self) -> None:
        """Each case has a name of its own."""
        names = [case.name for case in (*REFUSED, *CHUNKS)]
        self.assertEqual(len(names), len(set(names)))

    def test_the_hidden_request(self) -> None:
        """What the cases hide is a request that would be served if it stood alone."""
        self.send(NEXT)
        self.assertEqual(len(self.dispatcher.sent), 1)
