"""A user of the Admin API: somebody who logs in with a password. Only its hash is ever kept."""

from __future__ import annotations

from gateway.model import fields
from gateway.model.fields import Fragment, object_of

SUPER_ADMIN = "super_admin_id"
VIEWER = "viewer_id"
ROLES = {SUPER_ADMIN: "Super Admin", VIEWER: "Viewer"}
"""Id → name of the built-in roles: one may do everything, the other may read."""
MAX_ROLES = 100
"""Of one user."""

MIN_PASSWORD = 8
MAX_PASSWORD = 512

password: Fragment = {"type": "string", "minLength": MIN_PASSWORD, "maxLength": MAX_PASSWORD}
_NAME: Fragment = {"type": "string", "minLength": 1, "maxLength": 256, "pattern": r"^[^:\x00-\x1f\x7f]+$"}
_GIVEN: Fragment = {"type": "string", "minLength": 1, "maxLength": MAX_PASSWORD}

SCHEMA = object_of({"username": _NAME, "password": password}, required=("username", "password"))
"""An invitation (Admin API contract §3.6). HTTP's Basic scheme allows no colon in a name (RFC 7617)."""

LOGIN = object_of({"username": _GIVEN, "password": _GIVEN}, required=("username", "password"))
NEW_PASSWORD = object_of(
    {"old_password": _GIVEN, "new_password": password}, required=("old_password", "new_password")
)
ASSIGNED_ROLES = object_of(
    {
        "roles": {
            "type": "array",
            "maxItems": MAX_ROLES,
            "uniqueItems": True,
            "items": fields.identifier,
        }
    },
    required=("roles",),
)
