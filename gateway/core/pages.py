"""The small HTML pages of answers that have no content of their own, and what statuses are called."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

PRODUCT = "gateway"

REASON_PHRASES: Mapping[int, str] = MappingProxyType(
    {
        300: "Multiple Choices",
        301: "Moved Permanently",
        302: "Found",
        303: "See Other",
        307: "Temporary Redirect",
        308: "Permanent Redirect",
        400: "Bad Request",
        401: "Unauthorized",
        402: "Payment Required",
        403: "Forbidden",
        404: "Not Found",
        405: "Method Not Allowed",
        406: "Not Acceptable",
        407: "Proxy Authentication Required",
        408: "Request Timeout",
        409: "Conflict",
        410: "Gone",
        411: "Length Required",
        412: "Precondition Failed",
        413: "Content Too Large",
        414: "URI Too Long",
        415: "Unsupported Media Type",
        416: "Range Not Satisfiable",
        417: "Expectation Failed",
        418: "I'm a teapot",
        421: "Misdirected Request",
        422: "Unprocessable Content",
        423: "Locked",
        424: "Failed Dependency",
        425: "Too Early",
        426: "Upgrade Required",
        428: "Precondition Required",
        429: "Too Many Requests",
        431: "Request Header Fields Too Large",
        451: "Unavailable For Legal Reasons",
        499: "Client Closed Request",
        500: "Internal Server Error",
        501: "Not Implemented",
        502: "Bad Gateway",
        503: "Service Temporarily Unavailable",
        504: "Gateway Time-out",
        505: "HTTP Version Not Supported",
        506: "Variant Also Negotiates",
        507: "Insufficient Storage",
        508: "Loop Detected",
        510: "Not Extended",
        511: "Network Authentication Required",
    }
)
"""
Statuses that come with a page, by number.

Source:
    The names of RFC 9110 section 15 and of IANA's registry of HTTP status codes, but for 503 and
    504, whose pages say what their users know (data-plane contract §7.5), and for 418 and 499, which
    the registry does not name.
"""

_CLASSES = {3: "Redirection", 4: "Client Error", 5: "Server Error"}


def _page(status: int) -> bytes:
    phrase = REASON_PHRASES.get(status) or _CLASSES.get(status // 100, "Answer")
    title = f"{status} {phrase}"
    return (
        "<html>\n"
        f"<head><title>{title}</title></head>\n"
        "<body>\n"
        f"<center><h1>{title}</h1></center>\n"
        f"<hr><center>{PRODUCT}</center>\n"
        "</body>\n"
        "</html>\n"
    ).encode("ascii")


_PAGES = {status: _page(status) for status in REASON_PHRASES}


def error_page(status: int) -> bytes:
    """
    The page for *status*: HTML, ASCII only. A status without a name of its own gets that of its class.

    Source:
        Data-plane contract §7.5: title, heading, a rule and the product's name.
    """
    return _PAGES.get(status) or _page(status)
