"""One call of the Admin API and its answer, free of Twisted and of dialects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from attrs import field, frozen

from gateway.admin.json_text import BadJSON, read_json, read_object
from gateway.admin.preconditions import Preconditions
from gateway.admin.principal import GATEWAY, Principal
from gateway.admin.refusals import BadBody, BadParameter, Invalid, UnsupportedType
from gateway.admin.resources import Caller
from gateway.model.schema import Checker, Document

MAX_PARAMETERS = 200
_MAX_NUMBER = 2**31 - 1
_ANY_TYPE = ("application/x-www-form-urlencoded", "text/plain", "application/octet-stream")


@frozen
class Limits:
    """
    What one call may cost.

    Attributes:
        max_body_bytes: Content of a request; more is answered 413.
    """

    max_body_bytes: int = 2 * 1024 * 1024


class Query:
    """The query parameters of a call, in the order sent."""

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self.pairs = tuple(pairs)

    @classmethod
    def parse(cls, raw: bytes) -> Query:
        """
        Read what follows ``?`` in a request target.

        Raises:
            BadBody: it is not UTF-8 once decoded, or holds too many parameters.
        """
        try:
            pairs = parse_qsl(
                raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS
            )
        except UnicodeDecodeError:
            raise BadBody("the query is not UTF-8") from None
        except ValueError:
            raise BadBody(f"the query has more than {MAX_PARAMETERS} parameters") from None
        return cls(pairs)

    def one(self, name: str) -> str | None:
        """The first value of a parameter; None if it is absent or empty."""
        return next((value for key, value in self.pairs if key == name and value), None)

    def all(self, name: str) -> list[str]:
        """Every value of a parameter that is not empty."""
        return [value for key, value in self.pairs if key == name and value]

    def number(
        self, name: str, default: int | None, *, least: int = 1, most: int = _MAX_NUMBER
    ) -> int | None:
        """
        A whole number.

        Raises:
            BadParameter: it is no number, or below *least* or above *most*.
        """
        text = self.one(name)
        if text is None:
            return default
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit()):
            raise BadParameter(name, "value must be an integer")
        value = int(text) if len(text) <= 12 else (_MAX_NUMBER + 1) * (-1 if text.startswith("-") else 1)
        if value < least:
            raise BadParameter(name, f"number must be at least {least}")
        if value > most:
            raise BadParameter(name, f"number must be at most {most}")
        return value

    def choice(self, name: str, choices: Sequence[str]) -> str:
        """One of a few words, the first by default. Raises BadParameter."""
        text = self.one(name) or choices[0]
        if text not in choices:
            raise BadParameter(name, f"value is not one of the allowed values: {', '.join(choices)}")
        return text


@frozen
class Call:
    """
    A request, authenticated.

    Attributes:
        method: ``GET`` also for HEAD.
        path: Of the request target, decoded; for messages only.
        headers: Finds a field by its lower-case name; None if it is absent.
        read: Reads the content, once.
        principal: Who sent it.
    """

    method: str
    path: str
    query: Query
    headers: Callable[[str], str | None] = field(repr=False)
    read: Callable[[], bytes] = field(repr=False)
    principal: Principal = GATEWAY

    @property
    def caller(self) -> Caller:
        """Who writes, and under which conditions. Raises BadParameter."""
        reason = self.headers("x-gateway-reason")
        conditions = Preconditions(self.headers("if-match"), self.headers("if-none-match"))
        served = self.query.choice("wait", ("served", "stored")) == "served"
        return Caller(self.principal.name, reason[:1024] if reason else None, conditions, served)

    def _content(self) -> bytes:
        # What clients send when nobody tells them (curl says it is a form) is read as JSON, too.
        given = (self.headers("content-type") or "").partition(";")[0].strip().lower()
        if given and not given.endswith("json") and given not in _ANY_TYPE:
            raise UnsupportedType(given)
        return self.read()

    def document(self, *, empty: bool = False) -> Document:
        """
        The content as a JSON object.

        Args:
            empty: No content stands for ``{}``.
        Raises:
            BadBody: it is not acceptable. UnsupportedType: it says that it is something else.
        """
        raw = self._content()
        if empty and not raw:
            return {}
        try:
            return read_object(raw)
        except BadJSON as error:
            raise BadBody(f"invalid request body: {error}") from None

    def checked(self, kind: str, checker: Checker) -> Document:
        """The content as an object that fits a schema. Raises BadBody, or Invalid for *kind*."""
        document = self.document()
        problems = checker.problems(document)
        if problems:
            raise Invalid(kind, problems)
        return document

    def patch(self) -> dict[str, Any] | list[Any]:
        """The content as a JSON object or array. Raises BadBody."""
        try:
            value = read_json(self._content())
        except BadJSON as error:
            raise BadBody(f"invalid request body: {error}") from None
        if not isinstance(value, (dict, list)):
            raise BadBody("invalid request body: an array or an object is needed")
        return value


@frozen
class Answer:
    """
    What a call is answered.

    Attributes:
        body: A JSON value; bytes go out as they are; None for no content.
        headers: Fields besides Content-Length; Content-Type if it is not JSON.
    """

    status: int
    body: object = field(repr=False)
    headers: Mapping[str, str] = field(factory=dict)
