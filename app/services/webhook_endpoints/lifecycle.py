"""Webhook endpoints, as a table (realtime.md: Webhooks out): enabled, until the owner or days of failure end it."""

from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, Double, bindparam, func, literal_column

from app.core.errors import Forbidden
from app.kernel.lifecycle import ACTOR, Columns, Creation, Emit, Guard, IllegalTransition, Lifecycle, Transition
from app.models.webhook_endpoints import WebhookEndpointStatus as Status
from app.models.webhook_endpoints import webhook_endpoints
from app.services.webhook_endpoints import events

FAILING: Final = "failing"


class Action(StrEnum):
    DISABLE = "disable"
    DISABLE_FAILING = "disable_failing"
    ENABLE = "enable"


_is_owner = webhook_endpoints.c.owner_id == ACTOR
_owner = Guard(_is_owner, Forbidden)
_long_ago = func.now() - bindparam("failing_seconds", type_=Double) * literal_column("interval '1 second'")


def _about(row: Columns) -> dict[str, ColumnElement[Any]]:
    return {"webhook_endpoint_id": row.id, "url": row.url}


LIFECYCLE = Lifecycle(
    "webhook_endpoint",
    webhook_endpoints,
    Status,
    Creation(
        Status.ENABLED,
        who="a signed-in user, or a key with `webhooks:manage`",
        emits=[Emit(events.WebhookEndpointRegistered, lambda row: row.owner_id, _about)],
    ),
    [
        Transition(
            Action.DISABLE,
            frozenset({Status.ENABLED}),
            Status.DISABLED,
            who="owner",
            allowed=_owner,
            records=["disabled_reason"],
        ),
        Transition(
            Action.DISABLE_FAILING,
            frozenset({Status.ENABLED}),
            Status.DISABLED,
            who="the worker, after days without a success",
            allowed=None,
            # Anew, under the lock: a success may be recorded at this very moment.
            guards=[Guard(webhook_endpoints.c.failing_since <= _long_ago, IllegalTransition)],
            records=["disabled_reason"],
            emits=[Emit(events.WebhookEndpointDisabled, lambda row: row.owner_id, _about)],
        ),
        Transition(
            Action.ENABLE,
            frozenset({Status.DISABLED}),
            Status.ENABLED,
            who="owner",
            allowed=_owner,
            sets={"disabled_reason": None, "failing_since": None},
        ),
    ],
    visible=_is_owner,
)
