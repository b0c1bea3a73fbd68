from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import TestCase

from gateway.admin import passwords
from gateway.control.state import State
from gateway.first_records import ensure_first_records
from gateway.model.record import StoreView
from gateway.settings import settings_from
from gateway.store.memory import MemoryStore
from gateway.testing.services import FakeClock

TOKEN = "a7ee-first"


class FirstRecordsTests(TestCase):
    async def setUp(self) -> None:
        self.data_dir = Path(self.mktemp()).absolute()
        self.data_dir.mkdir()
        self.store = MemoryStore()
        await self.store.open()

    async def ensure(self, token: str = TOKEN, **admin: str) -> StoreView:
        settings = settings_from({"gateway": {"data_dir": str(self.data_dir)}, "admin": admin})
        view = await self.store.load()
        return await ensure_first_records(self.store, view, settings, token, FakeClock())

    def password_hash(self, view: StoreView) -> str:
        user = State.of(view).get("", "user", "admin")
        assert user is not None
        return str(user.value["hash"])

    async def test_empty(self) -> None:
        """The first start writes the default group, a token and a user, and keeps the password in a file."""
        view = await self.ensure()
        found = {record.kind for record in view.records}
        self.assertLessEqual({"gateway_group", "token", "user"}, found)
        password = (self.data_dir / "admin-password").read_text().strip()
        self.assertTrue(passwords.fits(self.password_hash(view), password))

    async def test_again(self) -> None:
        """The next start has nothing to write; what people have changed stays."""
        view = await self.ensure()
        self.assertEqual((await self.ensure()).revision, view.revision)

    async def test_password(self) -> None:
        """A password of the settings is the user's from then on; the same one is not written twice."""
        await self.ensure()
        view = await self.ensure(password="chosen-by-somebody")
        self.assertTrue(passwords.fits(self.password_hash(view), "chosen-by-somebody"))
        self.assertEqual((await self.ensure(password="chosen-by-somebody")).revision, view.revision)

    async def test_other_token(self) -> None:
        """Another token than before is written, and nothing else."""
        before = await self.ensure()
        after = await self.ensure("a7ee-second")
        self.assertEqual(after.revision, before.revision + 1)
        self.assertEqual(self.password_hash(after), self.password_hash(before))
