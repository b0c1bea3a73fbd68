"""Small calls of the control plane: certificates looked at, settings and licence kept (contract §3.6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cryptography import x509

from gateway.admin.calls import Answer, Call
from gateway.admin.control_plane import only
from gateway.admin.refusals import Invalid
from gateway.admin.resources import Resources
from gateway.control.state import State
from gateway.model import pem
from gateway.model.fields import object_of
from gateway.model.problems import Problem
from gateway.model.record import Change
from gateway.model.schema import Checker

_PEM = {"type": "string", "minLength": 1, "maxLength": 65536}
_CERT = Checker(object_of({"cert": _PEM}, required=("cert",)))
_PAIR = Checker(object_of({"cert": _PEM, "key": _PEM}, required=("cert", "key")))
_LICENCE = Checker(object_of({"data": {"type": "string"}}, required=("data",)))
_SETTINGS = Checker(
    {
        "type": "object",
        "properties": {
            "dp_manager_address": {
                "type": "array",
                "items": {"type": "string", "minLength": 1},
                "maxItems": 100,
            }
        },
    }
)
_KEY = ("", "system_settings", "settings")


class Tools:
    """Answers the calls of the control plane that have no resources of their own."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    async def parse_certificate(self, call: Call) -> Answer:
        """``PUT /api/parse_certificate``: what a certificate says."""
        only(call, "PUT")
        document = call.checked("certificate", _CERT)
        try:
            certificate = pem.certificates(document["cert"])[0]
        except pem.PemError as error:
            raise Invalid("certificate", [_bad("cert", error)]) from None
        return Answer(200, {"value": described(certificate)})

    async def validate_cert_key(self, call: Call) -> Answer:
        """``PUT /api/validate_cert_key``: whether a certificate and a key belong together."""
        only(call, "PUT")
        document = call.checked("certificate", _PAIR)
        problems: list[Problem] = []
        certificate = key = None
        try:
            certificate = pem.certificates(document["cert"])[0]
        except pem.PemError as error:
            problems.append(_bad("cert", error))
        try:
            key = pem.private_key(document["key"])
        except pem.PemError as error:
            problems.append(_bad("key", error))
        if certificate is not None and key is not None and not pem.belong_together(certificate, key):
            problems.append(_bad("key", "cert and key do not match"))
        if certificate is None or problems:
            raise Invalid("certificate", problems)
        return Answer(200, {"value": described(certificate)})

    async def licence(self, call: Call) -> Answer:
        """``PUT /api/license``: accepted and not looked at; this gateway needs none."""
        only(call, "PUT")
        call.checked("licence", _LICENCE)
        return Answer(200, {"value": {}})

    async def system_settings(self, call: Call) -> Answer:
        """``/api/system_settings``: kept and given back."""
        only(call, "GET", "PUT")
        if call.method == "PUT":
            document = call.checked("system_settings", _SETTINGS)

            def plan(state: State) -> Sequence[Change]:
                return [Change(*_KEY, document)]

            await self._resources.write(plan, call.caller)
        record = self._resources.state.get(*_KEY)
        return Answer(200, {"value": {"dp_manager_address": []} if record is None else dict(record.value)})


def _bad(member: str, error: object) -> Problem:
    return Problem((member,), "certificate", f"failed to parse {member}: {error}")


def described(certificate: x509.Certificate) -> dict[str, Any]:
    """What people look for in a certificate: names, issuer, validity in unix seconds, fingerprint."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = [str(name.value) for name in extension.value]
    except (x509.ExtensionNotFound, ValueError):
        names = []
    return {
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "snis": names,
        "serial_number": format(certificate.serial_number, "x"),
        "not_before": int(certificate.not_valid_before_utc.timestamp()),
        "not_after": int(certificate.not_valid_after_utc.timestamp()),
        "exptime": int(certificate.not_valid_after_utc.timestamp()),
    }
