"""What the store holds before anybody has written to it: the default group, a token, the first user."""

from __future__ import annotations

from twisted.logger import Logger

from gateway import bootstrap
from gateway.admin import passwords
from gateway.admin.access import ADMIN
from gateway.admin.groups import default_group_change
from gateway.admin.tokens import bootstrap_changes
from gateway.admin.users import first_user
from gateway.control.state import State
from gateway.interfaces import Clock, IConfigStore
from gateway.model.record import Change, StoreView
from gateway.settings import Settings

_log = Logger()


async def ensure_first_records(
    store: IConfigStore, view: StoreView, settings: Settings, token: str, clock: Clock
) -> StoreView:
    """
    Write what is not there yet.

    Args:
        view: What is there. token: Of the Admin API, for who starts the gateway.
    Returns:
        What is there now.
    """
    state = State.of(view)
    group = default_group_change()
    # As people have described it since, if they have.
    changes = [group] if state.get(*group.key) is None else []
    changes += bootstrap_changes(state, token)
    changes += _first_user(state, settings)
    if not changes:
        return view
    await store.commit(changes, author="gateway", reason="start", at=clock.time(), expected=view.revision)
    after: StoreView = await store.load()
    return after


def _first_user(state: State, settings: Settings) -> list[Change]:
    """The user ``admin``, where nobody can log in yet or the settings give another password."""
    given = settings.admin.password
    known = state.get("", "user", ADMIN)
    if given is not None:
        if known is not None and passwords.fits(known.value["hash"], given.text):
            return []
        return [first_user(passwords.hashed(given.text))]
    if state.all("", "user"):
        return []
    text, path = bootstrap.first_password(settings)
    _log.info("The password of the user admin is in {path}", path=str(path))
    return [first_user(passwords.hashed(text))]
