"""The pages of errors."""

from __future__ import annotations

from http import HTTPStatus
from xml.etree import ElementTree

from twisted.trial.unittest import SynchronousTestCase

from gateway.core.pages import REASON_PHRASES, error_page

OURS = {503: "Service Temporarily Unavailable", 504: "Gateway Time-out"}
RENAMED = {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}
"""RFC 9110's names; the standard library has older ones before Python 3.13."""


class PageTests(SynchronousTestCase):
    def test_known_pages(self) -> None:
        """The pages users know: title, heading, a rule, the product's name."""
        for status, phrase in ((502, "Bad Gateway"), *OURS.items()):
            page = ElementTree.fromstring(error_page(status).replace(b"<hr>", b"<hr/>"))
            title = f"{status} {phrase}"
            self.assertEqual([page.findtext("head/title"), page.findtext("body/center/h1")], [title, title])
            self.assertEqual([one.text for one in page.findall("body/center")], [None, "gateway"])
            self.assertIsNotNone(page.find("body/hr"))

    def test_reason_phrases(self) -> None:
        """Every error status of the standard library has a page that names it."""
        for status in HTTPStatus:
            if status >= 400:
                phrase = OURS.get(status) or RENAMED.get(status) or status.phrase
                self.assertEqual(REASON_PHRASES[status.value].lower(), phrase.lower())
                self.assertIn(
                    f"<h1>{status.value} {REASON_PHRASES[status.value]}</h1>".encode(), error_page(status)
                )

    def test_redirections(self) -> None:
        """A redirection has a page too."""
        self.assertIn(b"<title>302 Found</title>", error_page(302))

    def test_unnamed(self) -> None:
        """A status without a name is named after its class."""
        self.assertIn(b"<h1>499 Client Closed Request</h1>", error_page(499))
        self.assertIn(b"<h1>444 Client Error</h1>", error_page(444))
        self.assertIn(b"<h1>599 Server Error</h1>", error_page(599))
        self.assertIn(b"<h1>200 Answer</h1>", error_page(200))

    def test_prepared(self) -> None:
        """A page is made once."""
        self.assertIs(error_page(502), error_page(502))
