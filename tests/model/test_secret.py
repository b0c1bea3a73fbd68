from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.model.secret import MANAGERS
from tests.model.shapes import faults


class SecretTests(SynchronousTestCase):
    def test_managers(self) -> None:
        """Each manager has settings of its own (contract §5.6)."""
        vault = {"uri": "http://127.0.0.1:8200", "prefix": "kv/gw", "token": "t"}
        self.assertEqual(faults(MANAGERS["vault"], vault), [])
        self.assertEqual(
            faults(MANAGERS["vault"], {"uri": "x"}), [("/prefix", "required"), ("/token", "required")]
        )
        aws = {"access_key_id": "a", "secret_access_key": "b"}
        self.assertEqual(faults(MANAGERS["aws"], aws), [])
        self.assertEqual(faults(MANAGERS["aws"], {**aws, "tokn": ""}), [("/tokn", "additionalProperties")])
        self.assertEqual(faults(MANAGERS["gcp"], {"auth_file": "/x"}), [])
        self.assertEqual(faults(MANAGERS["gcp"], {}), [("", "oneOf")])
        self.assertEqual(faults(MANAGERS["kubernetes"], {"anything": 1}), [])
