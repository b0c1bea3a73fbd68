"""Tests for gateway.core.claims."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.core.claims import check_times, period_of, times_of

NOW = 1_700_000_000.0


def reason(claims: dict[str, Any], *required: str, grace_s: float = 0, now: float = NOW) -> str:
    found = check_times(claims, required, now, grace_s)
    return "ok" if found is None else found.reason


class CheckTimesTests(SynchronousTestCase):
    def test_nothing_required(self) -> None:
        """Without a list both claims are checked where they are present."""
        self.assertEqual(reason({}), "ok")
        self.assertEqual(reason({"exp": NOW + 1}), "ok")
        self.assertEqual(reason({"exp": NOW - 1}), "jwt_expired")
        self.assertEqual(reason({"nbf": NOW - 1}), "ok")
        self.assertEqual(reason({"nbf": NOW + 1}), "jwt_not_yet_valid")
        self.assertEqual(reason({"exp": NOW + 1, "nbf": NOW + 1}), "jwt_not_yet_valid")

    def test_required(self) -> None:
        """A listed claim must be there; one that is not listed is not checked at all."""
        self.assertEqual(reason({}, "nbf"), "jwt_claim_missing")
        self.assertEqual(reason({"nbf": NOW - 1, "exp": 1}, "nbf"), "ok")
        self.assertEqual(reason({"nbf": NOW - 1, "exp": "soon"}, "nbf"), "ok")
        self.assertEqual(reason({"exp": NOW + 1, "nbf": NOW + 99}, "exp"), "ok")
        self.assertEqual(reason({"exp": NOW + 1}, "exp", "nbf"), "jwt_claim_missing")
        self.assertEqual(reason({"exp": NOW + 1, "nbf": NOW}, "nbf", "exp"), "ok")

    def test_edges(self) -> None:
        """A token is expired from the very second of exp, and valid from the very second of nbf."""
        self.assertEqual(reason({"exp": NOW}), "jwt_expired")
        self.assertEqual(reason({"exp": NOW + 0.001}), "ok")
        self.assertEqual(reason({"nbf": NOW}), "ok")
        self.assertEqual(reason({"nbf": NOW + 0.001}), "jwt_not_yet_valid")

    def test_leeway(self) -> None:
        """The leeway counts for both, with the same edges."""
        self.assertEqual(reason({"exp": NOW - 1.1}, grace_s=2), "ok")
        self.assertEqual(reason({"exp": NOW - 1.1}, grace_s=0), "jwt_expired")
        self.assertEqual(reason({"exp": NOW - 2}, grace_s=2), "jwt_expired")
        self.assertEqual(reason({"nbf": NOW + 2}, grace_s=2), "ok")
        self.assertEqual(reason({"nbf": NOW + 2.5}, grace_s=2), "jwt_not_yet_valid")

    def test_types(self) -> None:
        """Only JSON numbers are times: no text, no truth value, no null."""
        for value in ("1879318541", True, False, None, [], {}, [NOW]):
            self.assertEqual(reason({"exp": value}), "jwt_claim_invalid", value)
            self.assertEqual(reason({"nbf": value}, "nbf"), "jwt_claim_invalid", value)

    def test_extreme_numbers(self) -> None:
        """Numbers beyond any calendar are compared, not choked on."""
        self.assertEqual(reason({"exp": 10**400}), "ok")
        self.assertEqual(reason({"exp": -(10**400)}), "jwt_expired")
        self.assertEqual(reason({"nbf": 10**400}), "jwt_not_yet_valid")
        self.assertEqual(reason({"nbf": 1e300}, grace_s=2**53), "jwt_not_yet_valid")
        self.assertEqual(reason({"exp": -1e300}, grace_s=2**53), "jwt_expired")

    def test_details(self) -> None:
        """The log says which claim failed, and when it was."""

        def detail(claims: dict[str, Any], *required: str) -> str:
            found = check_times(claims, required, NOW, 0)
            assert found is not None
            return found.detail

        self.assertEqual(detail({"exp": 1563870501}), "'exp' claim expired at Tue, 23 Jul 2019 08:28:21 GMT")
        self.assertEqual(
            detail({"nbf": 2229671874}), "'nbf' claim not valid until Mon, 27 Aug 2040 09:17:54 GMT"
        )
        self.assertEqual(detail({}, "nbf"), "claim nbf is missing")
        self.assertEqual(detail({"exp": "x"}), "claim exp is not a number")
        self.assertIn("not valid until 1000", detail({"nbf": 10**4000}))

    @settings(deadline=None, max_examples=300)
    @given(
        st.dictionaries(
            st.sampled_from(["exp", "nbf", "iat"]),
            st.integers()
            | st.floats(allow_nan=False)
            | st.none()
            | st.text()
            | st.booleans()
            | st.lists(st.none()),
        ),
        st.lists(st.sampled_from(["exp", "nbf"]), unique=True),
        st.integers(0, 2**53),
    )
    def test_total(self, claims: dict[str, Any], required: list[str], grace_s: int) -> None:
        """Every payload has an answer, and the part that is kept of it has the same one."""
        self.assertEqual(
            check_times(claims, required, NOW, grace_s), check_times(times_of(claims), required, NOW, grace_s)
        )


class TimesOfTests(SynchronousTestCase):
    def test_keeps_time_claims_only(self) -> None:
        """Only what is needed to check the times again is kept."""
        self.assertEqual(times_of({"exp": 1, "sub": "x", "nbf": None}), {"exp": 1, "nbf": None})
        self.assertEqual(times_of({}), {})


class PeriodTests(SynchronousTestCase):
    def test_same(self) -> None:
        """Within its period a token passes, and outside it does not."""
        for claims in ({}, {"exp": 100}, {"nbf": 50.5}, {"exp": 100.25, "nbf": 50}, {"exp": 10, "nbf": 20}):
            period = period_of(times_of(claims))
            assert period is not None
            for now in (0.0, 9.5, 10.0, 20.0, 49.0, 50.0, 50.5, 51.0, 99.9, 100.0, 100.25, 101.0):
                for grace_s in (0.0, 1.0, 60.0):
                    within = period[0] <= now + grace_s and period[1] > now - grace_s
                    self.assertEqual(within, check_times(claims, (), now, grace_s) is None, (claims, now))

    def test_no_numbers(self) -> None:
        """What is no number has no period."""
        for value in ("100", True, None, [1]):
            self.assertIsNone(period_of({"exp": value}))
            self.assertIsNone(period_of({"nbf": value}))
