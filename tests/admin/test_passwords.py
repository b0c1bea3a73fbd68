from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from gateway.admin.passwords import Attempts, fits, hashed, here
from tests.admin.kit import FakeClock, done


class HashTests(SynchronousTestCase):
    def test_fits(self) -> None:
        """A hash fits its password alone, and two hashes of one password differ."""
        first, second = hashed("correct horse", log_n=4), hashed("correct horse", log_n=4)
        self.assertNotEqual(first, second)
        self.assertTrue(fits(first, "correct horse"))
        self.assertFalse(fits(first, "correct hors"))
        self.assertNotIn("correct", first)

    def test_no_hash(self) -> None:
        """What is no hash fits nothing."""
        for stored in ("", "x", "scrypt$4$8$1$$", "plain"):
            self.assertFalse(fits(stored, ""))

    def test_known_answer(self) -> None:
        """The function is scrypt (RFC 7914 section 12)."""
        import base64
        import hashlib

        key = hashlib.scrypt(b"password", salt=b"NaCl", n=16, r=8, p=3, dklen=32)
        text = hashed("password", log_n=4, salt=b"NaCl")
        self.assertEqual(text.rpartition("$")[2], base64.b64encode(key).decode())

    def test_here(self) -> None:
        """Work that is done here is done at once."""
        self.assertEqual(done(Deferred.fromCoroutine(here(lambda: 7))), 7)


class AttemptTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = FakeClock()
        self.attempts = Attempts(self.clock, 3, 60)

    def test_a_name_from_an_address(self) -> None:
        """After so many failures the next attempt waits until the window is over."""
        for _ in range(3):
            self.assertEqual(self.attempts.wait_s("admin", "192.0.2.1"), 0)
            self.attempts.failed("admin", "192.0.2.1")
            self.clock.now += 1
        self.assertEqual(self.attempts.wait_s("admin", "192.0.2.1"), 57)
        self.assertEqual(self.attempts.wait_s("admin", "192.0.2.2"), 0)
        self.clock.now += 57
        self.assertEqual(self.attempts.wait_s("admin", "192.0.2.1"), 0)
        self.attempts.failed("admin", "192.0.2.1")
        self.assertEqual(self.attempts.wait_s("admin", "192.0.2.1"), 0)

    def test_an_address(self) -> None:
        """Many names from one address, and one name from many addresses, are guesses too."""
        for number in range(15):
            self.attempts.failed(f"user{number}", "192.0.2.1")
        self.assertGreater(self.attempts.wait_s("somebody", "192.0.2.1"), 0)
        for number in range(60):
            self.attempts.failed("victim", f"198.51.100.{number}")
        self.assertGreater(self.attempts.wait_s("victim", "203.0.113.1"), 0)

    def test_success(self) -> None:
        """Who gets in has failed nowhere."""
        for _ in range(100):
            self.attempts.failed("admin", "a")
            self.attempts.succeeded("admin", "a")
        self.assertEqual(self.attempts.wait_s("admin", "a"), 0)

    def test_bounded(self) -> None:
        """Guesses of endless names do not fill the memory."""
        self.patch(Attempts, "MAX_KEYS", 10)
        for number in range(100):
            self.attempts.failed(str(number), str(number))
        self.assertEqual(len(self.attempts._failures), 10)
