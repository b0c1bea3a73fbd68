"""What every configuration store promises.

Subclass ``StoreContract`` for each store. Import this module rather than the class: trial would
take an imported class for tests of the importing module.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from attrs import evolve
from twisted.internet.defer import DeferredList, gatherResults
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from gateway.errors import RevisionConflict, StoreUnavailable
from gateway.interfaces import IConfigStore
from gateway.model.record import Change, Key, Record, Revision, StoreView
from gateway.store.documents import MAX_DEPTH


def put(id: str, value: Mapping[str, Any] | None = None, kind: str = "route", group: str = "g") -> Change:
    """A change that sets a record."""
    return Change(group, kind, id, {"name": id} if value is None else value)


def drop(id: str, kind: str = "route", group: str = "g") -> Change:
    """A change that removes a record."""
    return Change(group, kind, id, None)


def replay(records: dict[Key, Record], revision: Revision) -> None:
    """Bring *records* to *revision*, by a reading of the interface that shares no code with a store."""
    for change in revision.changes:
        old = records.get(change.key)
        if change.value is None:
            del records[change.key]
            continue
        fresh = Record(
            *change.key,
            value=change.value,
            dialect=change.dialect,
            created_at=int(revision.at),
            updated_at=int(revision.at),
            created_revision=revision.number,
            modified_revision=revision.number,
        )
        if old is not None:
            fresh = evolve(fresh, created_at=old.created_at, created_revision=old.created_revision)
        records[change.key] = fresh


def nested(depth: int) -> Any:
    """An object that stands *depth* levels deep, alternating with arrays."""
    value: Any = "bottom"
    for level in range(depth):
        value = [value] if level % 2 else {"in": value}
    return value if isinstance(value, dict) else {"in": value}


class StoreTestCase(TestCase):
    """What tests of stores share. ``make`` gives a store that is not open, ``again`` what a restart would."""

    def make(self) -> Any:
        raise NotImplementedError

    def again(self, store: Any) -> Any:
        """A store on what *store*, now closed, has kept."""
        raise NotImplementedError

    async def opened(self) -> Any:
        store = self.make()
        await store.open()
        self.addCleanup(store.close)
        return store

    async def commit(self, store: Any, *changes: Change, at: float = 1000.0, **more: Any) -> Revision:
        more = {"author": "ann", "reason": None, **more}
        revision: Revision = await store.commit(changes, at=at, **more)
        return revision

    async def restarted(self, store: Any) -> Any:
        await store.close()
        store = self.again(store)
        await store.open()
        self.addCleanup(store.close)
        return store

    async def refused(self, error: type[Exception], waiting: Any) -> Any:
        try:
            await waiting
        except error as caught:
            return caught
        raise self.failureException(f"{error.__name__} was not raised")

    def commit_soon(self, store: Any, change: Change, **more: Any) -> Any:
        """A commit under way: a Deferred."""
        return store.commit([change], author="ann", reason=None, at=1.0, **more)


class StoreContract(StoreTestCase):
    """The promises."""

    def test_interface(self) -> None:
        """A store is what the gateway asks of one, and says in words where it keeps things."""
        store = self.make()
        self.assertTrue(verifyObject(IConfigStore, store))
        self.assertIsInstance(store.describe(), str)

    async def test_new_store_is_empty(self) -> None:
        """A new store stands at revision 0 with nothing in it."""
        store = await self.opened()
        view = await store.load()
        self.assertEqual((view.revision, list(view.records)), (0, []))
        self.assertEqual(await store.history(), [])
        self.assertEqual((await store.as_of(0)).records, view.records)
        self.assertEqual(store.damaged, ())

    async def test_commit_answers_revision(self) -> None:
        """A commit answers with the next number and with what was said about it."""
        store = await self.opened()
        changes = (put("a"), put("s", {"name": "säule"}, kind="service"))
        first = await self.commit(store, *changes, at=12.75, reason="because ☂")
        second = await self.commit(store, put("b"), author="bob")
        self.assertEqual((first.number, first.at, first.author, first.reason), (1, 12.75, "ann", "because ☂"))
        self.assertEqual((first.changes, first.before), (changes, (None, None)))
        self.assertEqual((second.number, second.author, second.reason), (2, "bob", None))

    async def test_record_of_a_creation(self) -> None:
        """A new record shows who wrote it in which dialect, and when."""
        store = await self.opened()
        await self.commit(store, put("a"))
        await self.commit(store, Change("g", "route", "b", {"uri": "/b"}, "apisix"), at=2000.9)
        record = (await store.load()).records[1]
        self.assertEqual(record, Record("g", "route", "b", {"uri": "/b"}, "apisix", 2000, 2000, 2, 2))
        self.assertEqual(dict(record.value), {"uri": "/b"})

    async def test_replacing_keeps_creation(self) -> None:
        """Replacing a record keeps when it was made and tells what was there before."""
        store = await self.opened()
        await self.commit(store, put("a", {"n": 1}), at=1000)
        (old,) = (await store.load()).records
        revision = await self.commit(store, put("a", {"n": 2}), at=2000)
        self.assertEqual(revision.before, (old,))
        self.assertEqual(dict(revision.before[0].value), {"n": 1})
        (new,) = (await store.load()).records
        self.assertEqual(new, Record("g", "route", "a", {"n": 2}, "enterprise", 1000, 2000, 1, 2))

    async def test_removal(self) -> None:
        """A removed record is gone from the view, and history still knows it."""
        store = await self.opened()
        await self.commit(store, put("a"), put("b"))
        old = (await store.load()).records[0]
        revision = await self.commit(store, drop("a"))
        self.assertEqual((revision.changes, revision.before), ((drop("a"),), (old,)))
        self.assertEqual([record.id for record in (await store.load()).records], ["b"])
        self.assertEqual((await store.history())[0], revision)

    async def test_made_again_is_new(self) -> None:
        """A record that is removed and made again starts anew, and stands last."""
        store = await self.opened()
        await self.commit(store, put("a"), put("b"), at=1000)
        await self.commit(store, drop("a"), at=2000)
        revision = await self.commit(store, put("a"), at=3000)
        self.assertEqual(revision.before, (None,))
        record = (await store.load()).records[-1]
        self.assertEqual((record.id, record.created_at, record.created_revision), ("a", 3000, 3))

    async def test_order_is_that_of_creation(self) -> None:
        """Records come in the order they were made, replaced or not, also within one commit."""
        store = await self.opened()
        await self.commit(store, put("m"), put("c"), put("x"))
        await self.commit(store, put("a"), put("c", {"n": 2}))
        expected = ["m", "c", "x", "a"]
        self.assertEqual([record.id for record in (await store.load()).records], expected)
        self.assertEqual([record.id for record in (await store.as_of(2)).records], expected)
        store = await self.restarted(store)
        self.assertEqual([record.id for record in (await store.load()).records], expected)

    async def test_names_may_repeat_across_kinds_and_groups(self) -> None:
        """The same id in another kind or group is another record."""
        store = await self.opened()
        changes = [put("a"), put("a", kind="service"), put("a", group="h"), put("a", group="")]
        await self.commit(store, *changes)
        await self.commit(store, drop("a", group="h"))
        self.assertEqual(
            [record.key for record in (await store.load()).records],
            [("g", "route", "a"), ("g", "service", "a"), ("", "route", "a")],
        )

    async def test_all_or_nothing(self) -> None:
        """When one change of a commit is impossible, none of them is made, and the store goes on."""
        store = await self.opened()
        await self.commit(store, put("a", {"n": 1}))
        before = await store.load()
        bad = [put("a", {"n": 2}), put("b"), drop("missing"), put("c")]
        error = await self.refused(ValueError, self.commit(store, *bad))
        self.assertIn("g/route/missing", str(error))
        self.assertEqual(await store.load(), before)
        self.assertEqual(len(await store.history()), 1)
        self.assertEqual((await self.commit(store, put("b"))).number, 2)

    async def test_refused_commits(self) -> None:
        """No changes, a key twice, or what is not JSON: refused in words, nothing written."""
        store = await self.opened()
        cyclic: dict[str, Any] = {}
        cyclic["self"] = cyclic
        for changes in (
            (),
            (put("a"), put("b"), put("a")),
            (put("a"), drop("a")),
            (put("a", {"x": float("nan")}),),
            (put("a", {"x": float("inf")}),),
            (put("a", {"x": {1, 2}}),),
            (put("a", {"x": b"bytes"}),),
            (put("a", {"x": {1: "number as a name"}}),),
            (put("a", cyclic),),
            (put("a", nested(MAX_DEPTH + 1)),),
            (put("a", nested(100_000)),),
            (put("lone \ud800 surrogate"),),
            (Change("g", "route", 7, {}),),  # type: ignore[arg-type]
        ):
            await self.refused(ValueError, self.commit(store, *changes))
        await self.refused(ValueError, self.commit(store, put("a"), author="\udfff"))
        await self.refused(ValueError, self.commit(store, put("a"), reason="\udfff"))
        for at in (float("nan"), float("inf"), -1.0, 1e300):
            await self.refused(ValueError, self.commit(store, put("a"), at=at))
        self.assertEqual((await store.load()).revision, 0)
        self.assertEqual((await self.commit(store, put("a"))).number, 1)

    async def test_expected_revision(self) -> None:
        """A writer who names the revision it saw is refused if the store has moved on."""
        store = await self.opened()
        await self.commit(store, put("a"), expected=0)
        await self.commit(store, put("b"), expected=1)
        for stale in (0, 1, 3):
            error = await self.refused(RevisionConflict, self.commit(store, put("c"), expected=stale))
            self.assertEqual((error.expected, error.actual), (stale, 2))
        self.assertEqual([record.id for record in (await store.load()).records], ["a", "b"])
        self.assertEqual((await self.commit(store, put("c"), expected=2)).number, 3)

    async def test_values_are_kept_exactly(self) -> None:
        """Any JSON document comes back equal: large numbers, odd text, depth, a mebibyte."""
        store = await self.opened()
        values: list[Mapping[str, Any]] = [
            {},
            {"": "", "empty": [], "none": None, "yes": True, "no": False, "obj": {}},
            {"ints": [2**53 + 1, -(2**63) - 1, 10**400, 0, -1]},
            {"floats": [0.1, 1e308, 5e-324, -0.0, 1.0, 1 / 3, 123456789.123456789]},
            {"text": "ünï \u2028 𝄞 \x00 \x7f \" \\ \ud800 '); DROP TABLE changes;--", "ключ": "值"},
            {"large": "x" * 2**20, "after": [1]},
            {"wide": {f"k{i}": i for i in range(20_000)}},
            nested(MAX_DEPTH - 1),
            {"looks": "$sealed$v1$0", "refers": "$env://HOME"},
        ]
        revision = await self.commit(store, *(put(str(i), value) for i, value in enumerate(values)))
        self.assertEqual([change.value for change in revision.changes], values)
        store = await self.restarted(store)
        for view in (await store.load(), await store.as_of(1)):
            self.assertEqual([record.value for record in view.records], values)
        floats = (await store.load()).records[3].value["floats"]
        self.assertEqual(repr(floats), repr(values[3]["floats"]))
        (first,) = await store.history()
        self.assertEqual([change.value for change in first.changes], values)
        self.assertEqual(store.damaged, ())

    async def test_odd_names_are_kept_exactly(self) -> None:
        """Groups, kinds and ids may be any text; none is taken for another."""
        store = await self.opened()
        odd = ["a", "A", "a ", "ä", "a\u0308", "a\x00b", "%", "_", "'\"", "ann/key", "", "1", "01"]
        changes = [put(id, {"i": i}) for i, id in enumerate(odd)]
        await self.commit(store, *changes)
        store = await self.restarted(store)
        self.assertEqual([record.id for record in (await store.load()).records], odd)
        for i, id in enumerate(odd):
            (found,) = await store.history(group="g", kind="route", id=id)
            self.assertEqual(found.changes[i].value, {"i": i})
        await self.commit(store, drop("A"))
        self.assertNotIn("A", [record.id for record in (await store.load()).records])

    async def test_writers_objects_are_not_kept(self) -> None:
        """Whoever changes an object after handing it in, or one it was given, changes nothing stored."""
        store = await self.opened()
        value = {"list": [1], "deep": {"x": 1}}
        waiting = self.commit(store, put("a", value))
        value["list"].append(2)  # type: ignore[attr-defined]
        revision = await waiting
        value["deep"]["x"] = 3  # type: ignore[index]
        revision.changes[0].value["late"] = True  # type: ignore[index]
        for view in (await store.load(), await store.as_of(1)):
            view.records[0].value["deep"]["x"] = 4
        (told,) = await store.history()
        told.changes[0].value["list"].clear()
        after = (await store.load()).records[0].value
        self.assertIn(after, ({"list": [1], "deep": {"x": 1}}, {"list": [1, 2], "deep": {"x": 1}}))
        again = (await store.history())[0].changes[0].value
        self.assertEqual(again, after)

    async def test_history_is_newest_first(self) -> None:
        """History tells every commit as it was answered, the newest first."""
        store = await self.opened()
        answers = [
            await self.commit(store, put("a", {"n": 1}), at=1.5),
            await self.commit(store, put("a", {"n": 2}), put("b"), author="bob", reason="two"),
            await self.commit(store, drop("a"), put("s", kind="service")),
        ]
        self.assertEqual(await store.history(), answers[::-1])
        store = await self.restarted(store)
        told = await store.history()
        self.assertEqual(told, answers[::-1])
        self.assertEqual(told[0].before[0].value, {"n": 2})
        self.assertEqual(told[1].before[0].value, {"n": 1})

    async def test_history_filters(self) -> None:
        """History can be asked about one group, kind or id; a revision is told whole."""
        store = await self.opened()
        await self.commit(store, put("a"), put("a", kind="service"))
        await self.commit(store, put("b"), put("a", group="h"))
        await self.commit(store, put("a", {"n": 2}))
        await self.commit(store, drop("a"), put("x", group="", kind="token"))

        async def numbers(**wanted: Any) -> list[int]:
            return [revision.number for revision in await store.history(**wanted)]

        for wanted, expected in (
            ({}, [4, 3, 2, 1]),
            ({"group": "g"}, [4, 3, 2, 1]),
            ({"group": "h"}, [2]),
            ({"group": ""}, [4]),
            ({"kind": "service"}, [1]),
            ({"kind": "token"}, [4]),
            ({"id": "a"}, [4, 3, 2, 1]),
            ({"id": "b"}, [2]),
            ({"group": "g", "kind": "route", "id": "a"}, [4, 3, 1]),
            # One change must match all: revision 2 has group h and id b, but in two changes.
            ({"group": "h", "id": "b"}, []),
            ({"kind": "service", "group": "h"}, []),
            ({"group": "g", "kind": "route", "id": "a", "before": 4}, [3, 1]),
            ({"group": "g", "kind": "route", "id": "a", "limit": 1}, [4]),
            ({"id": "nobody"}, []),
        ):
            self.assertEqual(await numbers(**wanted), expected, wanted)
        self.assertEqual(len((await store.history(kind="service"))[0].changes), 2)

    async def test_history_pages(self) -> None:
        """Long histories come in pages that neither skip nor repeat."""
        store = await self.opened()
        for i in range(25):
            await self.commit(store, put(f"r{i % 5}", {"n": i}))
        for wanted in ({}, {"kind": "route"}, {"group": "g", "kind": "route", "id": "r3"}):
            whole = await store.history(**wanted)
            paged: list[Revision] = []
            before = None
            while page := await store.history(before=before, limit=4, **wanted):
                self.assertLessEqual(len(page), 4)
                paged.extend(page)
                before = page[-1].number
            self.assertEqual(paged, whole)
        self.assertEqual(await store.history(before=1), [])
        self.assertEqual(await store.history(before=-5), [])
        self.assertEqual(len(await store.history(before=10**30, limit=10**30)), 25)
        for limit in (0, -1):
            await self.refused(ValueError, store.history(limit=limit))

    async def test_history_default_page(self) -> None:
        """Without a limit, a hundred revisions are told."""
        store = await self.opened()
        await gatherResults([store.commit([put("a")], author="x", reason=None, at=1) for _ in range(103)])
        self.assertEqual([r.number for r in await store.history()], list(range(103, 3, -1)))

    async def test_as_of_unknown_revision(self) -> None:
        """There is no view of a revision that never was."""
        store = await self.opened()
        await self.commit(store, put("a"))
        for number in (2, -1, 10**30):
            await self.refused(LookupError, store.as_of(number))

    async def test_every_past_view(self) -> None:
        """Whatever was done, the view at each revision is what replaying the log up to it gives."""
        for seed in range(4):
            store = await self.opened()
            await self.check_random_run(store, random.Random(seed))

    async def check_random_run(self, store: Any, chance: random.Random) -> None:
        model: dict[Key, Record] = {}
        views: list[list[Record]] = [[]]
        answers: list[Revision] = []
        keys = [(g, k, i) for g in ("", "g") for k in ("route", "service") for i in ("a", "b", "c")]
        for number in range(1, 31):
            changes = []
            for group, kind, id in chance.sample(keys, chance.randint(1, 5)):
                if (group, kind, id) in model and chance.random() < 0.4:
                    changes.append(drop(id, kind, group))
                else:
                    changes.append(put(id, {"n": number, "x": chance.random()}, kind, group))
            expected_before = tuple(model.get(change.key) for change in changes)
            answer = await self.commit(store, *changes, at=number * 1.5)
            self.assertEqual(answer.before, expected_before)
            replay(model, answer)
            answers.append(answer)
            views.append(sorted(model.values(), key=lambda record: record.key))
        await self.check_views(store, views, answers)
        await self.check_views(await self.restarted(store), views, answers)

    async def check_views(self, store: Any, views: list[list[Record]], answers: list[Revision]) -> None:
        for number, expected in enumerate(views):
            view = await store.as_of(number)
            self.assertEqual(view.revision, number)
            self.assertEqual(sorted(view.records, key=lambda record: record.key), expected)
        self.assertEqual(await store.history(), answers[::-1])
        self.assertEqual(await store.load(), await store.as_of(len(answers)))

    async def test_many_commits_at_once(self) -> None:
        """Commits that do not wait for each other are carried out one by one, in their order."""
        store = await self.opened()
        waiting = [self.commit_soon(store, put(f"r{i % 7}", {"n": i})) for i in range(200)]
        answers: list[Revision] = await gatherResults(waiting)
        self.assertEqual([answer.number for answer in answers], list(range(1, 201)))
        self.assertEqual([answer.changes[0].value for answer in answers], [{"n": i} for i in range(200)])
        for i, answer in enumerate(answers[7:]):
            self.assertEqual(answer.before[0].value, {"n": i})
        view = await store.load()
        self.assertEqual({record.id: record.value["n"] for record in view.records}["r3"], 199 - 199 % 7 + 3)

    async def test_one_of_many_writers_wins(self) -> None:
        """Of writers that all saw the same revision exactly one gets its change in."""
        store = await self.opened()
        results = await DeferredList(
            [self.commit_soon(store, put(f"r{i}"), expected=0) for i in range(20)], consumeErrors=True
        )
        self.assertEqual([ok for ok, _ in results].count(True), 1)
        self.assertEqual(len((await store.load()).records), 1)

    async def test_reads_see_whole_commits(self) -> None:
        """A view read while commits are under way never shows half of one."""
        store = await self.opened()
        waiting = []
        for n in range(30):
            changes = [put("a", {"n": n}), put("b", {"n": n})]
            waiting.append(store.commit(changes, author="x", reason=None, at=1.0))
            waiting.append(store.load())
        for result in await gatherResults(waiting):
            if isinstance(result, StoreView):
                self.assertEqual([record.value["n"] + 1 for record in result.records], [result.revision] * 2)

    async def test_reopened_is_equal(self) -> None:
        """Closing and opening again loses and changes nothing."""
        store = await self.opened()
        await self.commit(store, put("a", {"n": 1}), put("b", {"n": 2.5}), reason="first", at=3.25)
        await self.commit(store, drop("b"), put("a", {"n": "ü"}))
        view, past, told = await store.load(), await store.as_of(1), await store.history()
        store = await self.restarted(store)
        self.assertEqual(
            (await store.load(), await store.as_of(1), await store.history()), (view, past, told)
        )
        self.assertEqual((await self.commit(store, put("c"), expected=2)).number, 3)

    async def test_calls_before_close_are_carried_out(self) -> None:
        """A commit asked for before close is answered; one asked for after is refused."""
        store = await self.opened()
        early = self.commit_soon(store, put("a"))
        closing = store.close()
        late = self.commit_soon(store, put("b"))
        self.assertEqual((await early).number, 1)
        await self.refused(StoreUnavailable, late)
        await closing
        store = await self.restarted(store)
        self.assertEqual([record.id for record in (await store.load()).records], ["a"])

    async def test_closed_store(self) -> None:
        """A store that is not open says so; closing or opening twice does no harm."""
        store = self.make()
        for call in (store.load, store.history, lambda: store.as_of(0), lambda: self.commit(store, put("a"))):
            await self.refused(StoreUnavailable, call())
        await store.close()
        await store.open()
        await store.open()
        await self.commit(store, put("a"))
        await gatherResults([store.close(), store.close()])
        await store.close()
        for call in (store.load, store.history, lambda: store.as_of(0), lambda: self.commit(store, put("a"))):
            await self.refused(StoreUnavailable, call())
