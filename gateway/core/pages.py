"""The small HTML pages of answers that have no content of their own."""

from __future__ import annotations

from http import HTTPStatus

PRODUCT = "gateway"
_STANDARD = {status.value: status.phrase for status in HTTPStatus}
_PHRASES = {503: "Service Temporarily Unavailable", 504: "Gateway Time-out", 413: "Request Entity Too Large"}


def _page(status: int) -> bytes:
    phrase = _PHRASES.get(status) or _STANDARD.get(status, "Error")
    title = f"{status} {phrase}"
    return (
        f"<html>\n<head><title>{title}</title></head>\n<body>\n"
        f"<center><h1>{title}</h1></center>\n<hr><center>{PRODUCT}</center>\n</body>\n</html>\n"
    ).encode()


_PAGES = {status.value: _page(status.value) for status in HTTPStatus if status.value >= 400}


def error_page(status: int) -> bytes:
    """
    The page for *status*, UTF-8.

    Source:
        Data-plane contract §7.5: title, heading, a rule and the product's name.
    """
    return _PAGES.get(status) or _page(status)
