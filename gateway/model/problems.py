"""What can be wrong with a document, as values: one ``Problem`` a defect, all of them together."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve, field, frozen

PathPart = str | int


def json_pointer(path: Sequence[PathPart]) -> str:
    """
    Spell *path* as a JSON Pointer.

    Args:
        path: Member names and zero-based array indexes, outermost first.
    Returns:
        ``""`` for the whole document, else text such as ``/upstream/nodes/1/weight``.
    Source:
        RFC 6901 section 3.
    """
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


@frozen
class Problem:
    """
    One defect of a document.

    Attributes:
        path: Where it is, outermost part first.
        rule: The JSON Schema keyword that failed (``required``, ``type``, ``pattern`` …), or for
            checks that no schema can express a word of our own: ``reference``, ``duplicate``,
            ``conflict``, ``plugin``, ``expression``, ``unsupported``, ``value``, ``certificate``.
        message: The reason in plain words, without the path and without the value that was sent,
            which may be a secret. Dialects that have their own
            words for schema keywords build those from *rule*, *expected* and *got* instead.
        expected: What the rule wanted: a type name, a limit, a pattern, a member name …
        got: The offending value, or the part of it the rule looked at. Renderers shorten it
            and never print it for members that hold secrets.
        branches: For ``oneOf`` and ``anyOf``: the problems of each branch, in order, with paths of
            their own from the document's root; none for ``oneOf`` if several branches fit. For
            ``plugin``: one branch, with paths relative to the plugin's settings.
        schema_path: Where in the schema the rule stands; empty for rules of our own.
    """

    path: tuple[PathPart, ...]
    rule: str
    message: str
    expected: object = None
    got: object = field(default=None, repr=False)
    branches: tuple[tuple[Problem, ...], ...] = ()
    schema_path: tuple[PathPart, ...] = ()

    @property
    def pointer(self) -> str:
        """The JSON Pointer (RFC 6901) of the defect; ``""`` is the document itself."""
        return json_pointer(self.path)

    def below(self, *prefix: PathPart) -> Problem:
        """The same problem, of a document that stands at *prefix* inside a larger one."""
        branches = self.branches
        if self.rule != "plugin":
            branches = tuple(tuple(inner.below(*prefix) for inner in branch) for branch in branches)
        return evolve(self, path=(*prefix, *self.path), branches=branches)


class ConfigErrors(ValueError):
    """
    A document, or a set of settings, is not acceptable.

    Attributes:
        problems: Every problem found, in document order; never empty.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{p.pointer or '/'}: {p.message}" for p in self.problems))
