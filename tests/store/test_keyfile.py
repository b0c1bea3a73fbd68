"""The key file is made once, is nobody else's to read, and is checked before it is used."""

from __future__ import annotations

import base64
import os
import stat
import threading

from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import StoreUnavailable
from gateway.store.keyfile import load_or_create, new_key_line, parse_keys


class KeyFileTests(SynchronousTestCase):
    def path(self) -> str:
        return os.path.abspath(os.path.join(self.mktemp(), "secret.key"))

    def written(self, content: bytes, mode: int = 0o600) -> str:
        path = self.path()
        os.makedirs(os.path.dirname(path))
        with open(path, "wb") as file:
            file.write(content)
        os.chmod(path, mode)
        return path

    def test_made_once(self) -> None:
        """The first start makes a key, later ones find it; nothing else is left in the directory."""
        path = self.path()
        keys = load_or_create(path)
        self.assertEqual([len(key) for key in keys], [32])
        self.assertEqual(load_or_create(path), keys)
        self.assertEqual(os.listdir(os.path.dirname(path)), ["secret.key"])
        self.assertNotEqual(load_or_create(self.path()), keys)

    def test_modes(self) -> None:
        """File and directory are the owner's alone, whatever the umask allows."""
        self.addCleanup(os.umask, os.umask(0))
        path = self.path()
        load_or_create(path)
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode), 0o700)

    def test_two_starters(self) -> None:
        """Processes that start at once end up with one key."""
        path = self.path()
        os.makedirs(os.path.dirname(path))
        found: list[tuple[bytes, ...]] = []
        gate = threading.Barrier(8)

        def start() -> None:
            gate.wait()
            found.append(load_or_create(path))

        threads = [threading.Thread(target=start) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(found), 8)
        self.assertEqual(len(set(found)), 1)
        self.assertEqual(os.listdir(os.path.dirname(path)), ["secret.key"])

    def test_readable_by_others(self) -> None:
        """A file that others may use is refused, with the command that helps."""
        for mode in (0o640, 0o604, 0o620, 0o601, 0o666):
            path = self.written(new_key_line(), mode)
            error = self.assertRaises(StoreUnavailable, load_or_create, path)
            self.assertIn(f"chmod 600 {path}", str(error))
        self.assertEqual(len(load_or_create(self.written(new_key_line(), 0o400))), 1)

    def test_several_keys(self) -> None:
        """Keys come in the order of the lines; comments, empty lines and repetitions do not count."""
        first, second = b"\xfb" * 32, b"\xff" * 32
        a, b = (base64.urlsafe_b64encode(key) for key in (first, second))
        content = b"# rotated in spring\n\n" + a + b"\r\n  " + b + b"  \n" + a
        self.assertEqual(load_or_create(self.written(content)), (first, second))

    def test_malformed(self) -> None:
        """A line that is no key is named by its number and not shown; nothing is overwritten."""
        secret = base64.urlsafe_b64encode(b"s" * 31)
        for line in (secret, b"hello", b"a" * 44 + b"=", b"\xff\xfe", secret + b"="):
            path = self.written(new_key_line() + line)
            error = self.assertRaises(StoreUnavailable, load_or_create, path)
            self.assertIn("line 2", str(error))
            self.assertNotIn(line.decode("latin-1"), str(error))
            with open(path, "rb") as file:
                self.assertTrue(file.read().endswith(line))

    def test_empty(self) -> None:
        """An empty file is not taken for a missing one."""
        for content in (b"", b"\n# nothing\n"):
            error = self.assertRaises(StoreUnavailable, load_or_create, self.written(content))
            self.assertIn("holds no key", str(error))

    def test_not_a_file(self) -> None:
        """A directory or an impossible place is told as such."""
        folder = self.mktemp()
        os.mkdir(folder)
        self.assertRaises(StoreUnavailable, load_or_create, folder)
        self.assertRaises(StoreUnavailable, load_or_create, os.path.join(self.written(b""), "secret.key"))
        self.assertRaises(StoreUnavailable, load_or_create, "/proc/no/secret.key")

    def test_link(self) -> None:
        """A symbolic link to a key file will do; what counts is the file's own mode."""
        target = self.written(new_key_line())
        link = self.mktemp()
        os.symlink(target, link)
        self.assertEqual(load_or_create(link), load_or_create(target))
        os.chmod(target, 0o644)
        self.assertRaises(StoreUnavailable, load_or_create, link)

    def test_new_key_line(self) -> None:
        """A new line is a key, and another one each time."""
        lines = {new_key_line() for _ in range(50)}
        self.assertEqual(len(lines), 50)
        self.assertEqual(len(parse_keys(b"".join(lines), "x")), 50)
