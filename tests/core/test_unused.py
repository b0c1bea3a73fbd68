from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.unused import unused


class UnusedTests(SynchronousTestCase):
    def test_members(self) -> None:
        """Each member that is not used is named, wherever its upstream stands."""
        discovered = {"service_name": "s", "discovery_type": "consul"}
        for kind, document, members in (
            ("service", {"type": "stream", "upstream": discovered}, ["type"]),
            ("service", {"upstream": discovered}, ["upstream.service_name"]),
            ("service_upstream", discovered, ["service_name"]),
            ("upstream", {"scheme": "grpc"}, ["scheme"]),
            ("route", {"upstream": 1}, []),
            ("service", {"upstream": {"nodes": [], "scheme": "https"}}, []),
            ("consumer", discovered, []),
        ):
            told = [text.partition(":")[0] for text in unused(kind, document)]  # type: ignore[arg-type]
            self.assertEqual(told, members, (kind, document))
