"""The kinds of value that gw.ini may hold: text in, a checked value out.

A reader takes a key's text, stripped, and returns its value or raises ``ValueError`` with
the words for the user. No reader repeats a secret in its words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any, Literal, TypeVar

import attrs
from attrs import frozen

T = TypeVar("T")
N = TypeVar("N", int, float)
Reader = Callable[[str], T]
Network = IPv4Network | IPv6Network

_ON = frozenset({"on", "true", "yes", "1"})
_OFF = frozenset({"off", "false", "no", "0"})
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]{1,9})?")
_HOST = re.compile(r"[0-9a-z_.-]{1,253}")
_SECRET = re.compile(r"[\x21-\x7e]+")


@frozen
class Secret:
    """A text that no ``repr``, ``str`` or log line shows."""

    text: str = attrs.field(repr=False)

    def __str__(self) -> str:
        return "<hidden>"


@frozen
class Address:
    """
    Where to listen.

    Attributes:
        host: An IPv4 or IPv6 address as text, without brackets.
        port: 0–65535; 0 lets the system choose.
    """

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect to it."""
        return ip_address(self.host).is_loopback

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@frozen
class StoreUrl:
    """
    Where the configuration is kept.

    Attributes:
        scheme: ``sqlite``. path: The database file, absolute.
    """

    scheme: str
    path: Path

    def __str__(self) -> str:
        return f"{self.scheme}:{self.path}"


def setting(
    read: Reader[Any],
    default: str,
    *,
    stands_for: Mapping[str, str] | None = None,
    many: bool = False,
) -> Any:
    """
    Declare one key of a section.

    Args:
        read: Turns its text into its value.
        default: Its text when nobody gives one.
        stands_for: Texts that mean another text; ``{data_dir}`` in that is the data directory.
        many: Whether it is a list, which may go on over several lines.
    """
    return attrs.field(
        metadata={"read": read, "default": default, "stands_for": stands_for or {}, "many": many}
    )


def whole(minimum: int, maximum: int = 2**53) -> Reader[int]:
    """A whole number from *minimum* to *maximum*."""

    def read(text: str) -> int:
        if not _WHOLE.fullmatch(text):
            raise ValueError(f"must be a whole number, not {text!r}")
        return _in_range(int(text), minimum, maximum)

    return read


def seconds(minimum: float = 0.001, maximum: float = 86_400.0) -> Reader[float]:
    """A number of seconds."""

    def read(text: str) -> float:
        if not _NUMBER.fullmatch(text):
            raise ValueError(f"must be a number of seconds, such as 60 or 0.5, not {text!r}")
        return _in_range(float(text), minimum, maximum)

    return read


def _in_range(value: N, minimum: N, maximum: N) -> N:
    if value < minimum:
        raise ValueError(f"must be at least {minimum}, not {value}")
    if value > maximum:
        raise ValueError(f"must be at most {maximum}, not {value}")
    return value


def switch(text: str) -> bool:
    """``on`` or ``off``; true, yes, 1 and their opposites do too."""
    word = text.lower()
    if word in _ON:
        return True
    if word in _OFF:
        return False
    raise ValueError(f"must be on or off, not {text!r}")


def workers(text: str) -> int | Literal["auto"]:
    """A number of processes, or ``auto``."""
    if text.lower() == "auto":
        return "auto"
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"must be a whole number or auto, not {text!r}")
    return _in_range(int(text), 0, 1024)


def one_of(words: Collection[str]) -> Reader[str]:
    """One of *words*, in any letter case."""

    def read(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"must be one of {', '.join(words)}, not {text!r}")
        return text.lower()

    return read


def matching(pattern: str, maximum: int, words: str) -> Reader[str]:
    """Text that matches *pattern* in full, at most *maximum* characters."""
    compiled = re.compile(pattern)

    def read(text: str) -> str:
        if not compiled.fullmatch(text) or len(text) > maximum:
            raise ValueError(f"must be {words}, not {text!r}")
        return text

    return read


def share(text: str) -> float:
    """A number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"must be a number from 0 to 1, not {text!r}")
    return value


def host_or_empty(text: str) -> str:
    """A host name, in lower case, or nothing."""
    name = text.lower().removesuffix(".")
    if name and not _HOST.fullmatch(name):
        raise ValueError(f"must be a host name, not {text!r}")
    return name


def line(text: str) -> str:
    """One line of text, not empty, without control characters."""
    if not text:
        raise ValueError("must not be empty")
    if not text.isprintable():
        raise ValueError("must be one line without control characters")
    return text


def secret(text: str) -> Secret | None:
    """A secret: 1–512 printable ASCII characters without spaces. None if it is empty."""
    if not text:
        return None
    if not _SECRET.fullmatch(text) or len(text) > 512:
        raise ValueError("must be at most 512 printable ASCII characters, without spaces")
    return Secret(text)


def path(text: str) -> Path:
    """A path, made absolute: relative ones start at the working directory."""
    if not text:
        raise ValueError("must be a path")
    if "\0" in text:
        raise ValueError("must be a path, and paths hold no NUL")
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:
        raise ValueError(f"must be a path: {error}") from None


def path_or_none(text: str) -> Path | None:
    """As ``path``; None if it is empty."""
    return path(text) if text else None


def log_target(text: str) -> Path | Literal["-"] | None:
    """None for off, ``-`` for standard output, else a file."""
    if not text or text.lower() == "off":
        return None
    return "-" if text == "-" else path(text)


def store_url(text: str) -> StoreUrl:
    """``sqlite:<path>``; ``sqlite:///abs/path`` means the same as ``sqlite:/abs/path``."""
    scheme, colon, rest = text.partition(":")
    if not colon or scheme.lower() != "sqlite":
        raise ValueError(f"must be sqlite:<path>, the one store of this version, not {_no_password(text)!r}")
    if rest.startswith("//"):
        rest = rest.removeprefix("//")
        if not rest.startswith("/"):
            raise ValueError(f"must be sqlite:<path>; a file on another host is not possible: {text!r}")
    if rest.startswith(":memory:"):
        raise ValueError("must be a file: configuration in memory is lost when the gateway stops")
    return StoreUrl("sqlite", path(rest))


def _no_password(text: str) -> str:
    return re.sub(r"//[^/@]*@", "//…@", text)


def words(text: str) -> tuple[str, ...]:
    """A list of words between commas or line ends. Empty members are left out."""
    return tuple(filter(None, (word.strip() for word in re.split(r"[,\n]", text))))


def names_or_all(text: str) -> tuple[str, ...] | None:
    """A list of names; None if it is empty."""
    names = words(text)
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"names {', '.join(repeated)} more than once")
    return names or None


def networks(text: str) -> tuple[Network, ...] | None:
    """A list of IP addresses and CIDR blocks; None if it is empty."""
    found: list[Network] = []
    faults = []
    for word in words(text):
        try:
            found.append(ip_network(word, strict=False))
        except ValueError:
            faults.append(repr(word))
    if faults:
        raise ValueError(f"must be IP addresses or CIDR blocks, not {', '.join(faults)}")
    return tuple(found) or None


def addresses(*, needed: bool) -> Reader[tuple[Address, ...]]:
    """A list of ``host:port``; at least one if *needed*."""

    def read(text: str) -> tuple[Address, ...]:
        found = tuple(_address(word) for word in words(text))
        if needed and not found:
            raise ValueError("must be host:port, such as 127.0.0.1:9080; it is empty")
        for one in found:
            if one.port and found.count(one) > 1:
                raise ValueError(f"names {one} more than once")
        return found

    return read


def _address(text: str) -> Address:
    host, colon, port = text.rpartition(":")
    if not colon or not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError(f"must be host:port with a port of 0–65535, such as 127.0.0.1:9080, not {text!r}")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError(f"must have an IPv6 address in brackets, such as [::1]:9080, not {text!r}")
    bare = host.removeprefix("[").removesuffix("]")
    if bare.lower() == "localhost":
        bare = "127.0.0.1"
    try:
        parsed = ip_address(bare)
    except ValueError:
        raise ValueError(f"must name an IP address of this machine or localhost, not {host!r}") from None
    if host.startswith("[") != (parsed.version == 6) or "%" in bare:
        raise ValueError(f"must be host:port or [IPv6]:port, not {text!r}")
    return Address(str(parsed), int(port))
