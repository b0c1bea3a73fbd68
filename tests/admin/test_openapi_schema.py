from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.admin.openapi_schema import converted


class ConvertedTests(SynchronousTestCase):
    def test_converted(self) -> None:
        """Draft 7 and our own keywords become those of OpenAPI 3.1."""
        self.assertEqual(
            converted({"dependencies": {"a": ["b"], "c": {"required": ["d"]}}, "x-default": 1}),
            {"dependentRequired": {"a": ["b"]}, "dependentSchemas": {"c": {"required": ["d"]}}},
        )
        self.assertEqual(
            converted({"type": "array", "x-or": {"type": "object"}}),
            {"anyOf": [{"type": "array"}, {"type": "object"}]},
        )
        self.assertEqual(
            converted({"properties": {"x-or": {"default": {"x-default": 1}}}}),
            {"properties": {"x-or": {"default": {"x-default": 1}}}},
        )
