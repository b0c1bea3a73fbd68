"""Tests for gateway.factories."""

from __future__ import annotations

from typing import Any

from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from gateway.factories import AuthFactory, Factory, NestingFactory
from gateway.interfaces import ICredentialFactory, INestingFactory, IPluginFactory
from gateway.registry import PluginRegistry

PARTS: dict[str, Any] = {
    "name": "n",
    "priority": 1,
    "schema": {"type": "object"},
    "make": lambda config, services: config,
}


class FactoryTests(SynchronousTestCase):
    def test_plain(self) -> None:
        """A plugin made of its parts is one that the gateway takes."""
        made = Factory(**PARTS)
        self.assertTrue(verifyObject(IPluginFactory, made))
        self.assertTrue(IPlugin.providedBy(made))
        self.assertEqual(PluginRegistry([(made, "here")]).check("n", {}), [])
        self.assertEqual(made.kind, "general")

    def test_auth(self) -> None:
        """So is one that has credentials."""
        made = AuthFactory(
            **PARTS, key_field="k", credential_schema={"type": "object"}, credential=lambda config: None
        )
        self.assertTrue(verifyObject(ICredentialFactory, made))
        registry = PluginRegistry([(made, "here")])
        self.assertTrue(registry.is_auth("n"))
        self.assertEqual(registry.check("n", {}, credential=True), [])

    def test_nesting(self) -> None:
        """And one in whose settings others stand."""
        made = NestingFactory(**PARTS, nested=lambda config: [("n", {})] if config else [])
        self.assertTrue(verifyObject(INestingFactory, made))
        self.assertEqual(PluginRegistry([(made, "here")]).check("n", {"a": 1}), [])
