"""Lists as they are sent."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import readBody

from gateway.admin.listed import AT_ONCE, Listed
from tests.admin.kit import GUIDE, Gateway


class ListedTests(SynchronousTestCase):
    def test_text(self) -> None:
        """The parts are one JSON text, whatever their number; the total stands first or last."""
        for count in (0, 1, AT_ONCE, AT_ONCE + 1, 3 * AT_ONCE):
            for first in (False, True):
                listed = Listed(range(count), lambda n: {"n": n, "é": "]"}, count + 7, total_first=first)
                text = b"".join(listed.parts())
                wanted: dict[str, Any] = {"list": [{"n": n, "é": "]"} for n in range(count)]}
                wanted = {"total": count + 7, **wanted} if first else {**wanted, "total": count + 7}
                self.assertEqual(
                    text.decode(), json.dumps(wanted, ensure_ascii=False, separators=(",", ":")) + "\n"
                )

    def test_others_have_turns(self) -> None:
        """A long list lets others have turns, and shows what was there when it was asked for."""
        clock = Clock()
        gateway = Gateway(call_later=clock.callLater)
        gateway.seed()
        service, route = GUIDE[0][0], GUIDE[1][1]
        for number in range(AT_ONCE + 1):
            gateway.call("PUT", f"/apisix/admin/routes/r{number}", {**route, "paths": [f"/{number}"]})
        revision = gateway.control.state.revision
        answer = gateway.start("GET", "/apisix/admin/routes")
        gateway.agent.flush()
        self.assertNoResult(answer)
        self.assertEqual(gateway.call("DELETE", service).status, 200)
        while clock.getDelayedCalls():
            clock.advance(0)
        gateway.agent.flush()
        response = self.successResultOf(answer)
        self.assertEqual(response.headers.getRawHeaders("X-Gateway-Revision"), [str(revision)])
        text = self.successResultOf(readBody(response))
        self.assertEqual(json.loads(text)["total"], AT_ONCE + 2)
