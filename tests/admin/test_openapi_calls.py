from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.admin.openapi_calls import CALLS, Operation
from gateway.model.schema import Checker


class CallTests(SynchronousTestCase):
    def test_no_call_twice(self) -> None:
        """Each call is described once, with schemas that are such."""
        keys = [(call.method, call.path) for call in CALLS]
        self.assertEqual(len(keys), len(set(keys)))
        for call in CALLS:
            for schema in (call.body, call.answer, *call.query.values()):
                if schema is not None:
                    Checker(schema)

    def test_path_parameters(self) -> None:
        """The parameters of a path are told in their order."""
        self.assertEqual(list(Operation("get", "/a/{b}/c/{d_e}", "x").in_path), ["b", "d_e"])
        self.assertEqual(list(Operation("get", "/a", "x").in_path), [])
