"""``twistd gateway``."""

from twisted.application.service import ServiceMaker

gateway = ServiceMaker(
    "gateway",
    "gateway.tap",
    "An API gateway: Admin API, routing, plugins and proxying.",
    "gateway",
)
