from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.model.problems import ConfigErrors, Problem, json_pointer


class JSONPointerTests(SynchronousTestCase):
    def test_spelling(self) -> None:
        """A path is told as RFC 6901 spells it: ``~`` and ``/`` in member names are escaped, ``~`` first."""
        for path, pointer in (
            ((), ""),
            (("upstream", "nodes", 1, "weight"), "/upstream/nodes/1/weight"),
            (("a/b", "m~n", "~1"), "/a~1b/m~0n/~01"),
            (("",), "/"),
        ):
            self.assertEqual(json_pointer(path), pointer)


class ProblemTests(SynchronousTestCase):
    def test_below(self) -> None:
        """A problem of an inner document is told by its place in the outer one, its alternatives too."""
        inner = Problem(("b",), "type", "must be of type string")
        problem = Problem((), "anyOf", "fits none", branches=((inner,), ())).below("a", 3)
        self.assertEqual(problem.pointer, "/a/3")
        self.assertEqual(problem.branches[0][0].pointer, "/a/3/b")

    def test_below_plugin(self) -> None:
        """What is wrong inside a plugin's settings stays relative to the settings."""
        inner = Problem(("key",), "type", "must be of type string")
        problem = Problem(("plugins", "x"), "plugin", "bad settings", branches=((inner,),)).below(
            "route", "r1"
        )
        self.assertEqual(problem.pointer, "/route/r1/plugins/x")
        self.assertEqual(problem.branches[0][0].pointer, "/key")

    def test_no_value_in_repr(self) -> None:
        """The offending value, which may be a secret, is not in a problem's repr."""
        self.assertNotIn("hunter2", repr(Problem(("key",), "pattern", "must match", "^a$", "hunter2")))


class ConfigErrorsTests(SynchronousTestCase):
    def test_text(self) -> None:
        """The text tells every problem with its place."""
        error = ConfigErrors([Problem(("a", 0), "type", "is wrong"), Problem((), "value", "is odd")])
        self.assertIsInstance(error, ValueError)
        self.assertEqual(str(error), "/a/0: is wrong; /: is odd")
        self.assertEqual(len(error.problems), 2)
