"""Preferences: which families of events somebody wants to get, and by which ways (realtime.md: Feed)."""

from collections import defaultdict
from typing import NamedTuple

from sqlalchemy import Boolean, Text, bindparam, column, delete, insert, select

from app.core.actor import Actor
from app.core.database import ReadSession, Session, Statement
from app.core.errors import Unprocessable
from app.core.sql import given
from app.kernel.events import Channel, Event, declared, title
from app.kernel.locks import lock_account
from app.models.notifications import notification_preferences
from app.schemas.notifications import ChannelPreference, FamilyPreferences, Preferences, SetPreferences


class PreferenceRefused(Unprocessable):
    code, title = "preference_refused", "These events do not come that way, or cannot be switched off."


class _Choice(NamedTuple):
    """What there is to choose about a family and a channel."""

    default: bool
    mandatory: bool


_CHOSEN = Statement(
    select(
        notification_preferences.c.family, notification_preferences.c.channel, notification_preferences.c.wanted
    ).where(notification_preferences.c.user_id == bindparam("user_id"))
)
_FORGET = Statement(delete(notification_preferences).where(notification_preferences.c.user_id == bindparam("user_id")))
_given = given(
    "given",
    families=column("family", Text),
    channels=column("channel", Text),
    wanted=column("wanted", Boolean),
)
_KEEP = Statement(
    insert(notification_preferences).from_select(
        ["user_id", "family", "channel", "wanted"],
        select(
            bindparam("user_id", type_=notification_preferences.c.user_id.type),
            _given.c.family,
            _given.c.channel,
            _given.c.wanted,
        ),
    )
)


async def read(session: ReadSession, actor: Actor) -> Preferences:
    """Every family that can come by some way, and by which ways the actor gets it."""
    rows = await session.all(_CHOSEN, user_id=actor.user_id)
    chosen = {(row["family"], row["channel"]): row["wanted"] for row in rows}
    families: defaultdict[str, list[ChannelPreference]] = defaultdict(list)
    for (family, channel), choice in sorted(_choices().items()):
        families[family].append(
            ChannelPreference(
                channel=channel,
                wanted=choice.mandatory or chosen.get((family, channel), choice.default),
                default=choice.default,
                mandatory=choice.mandatory,
            )
        )
    return Preferences(
        families=[
            FamilyPreferences(family=family, title=title(family, actor.language), channels=channels)
            for family, channels in families.items()
        ]
    )


async def put(session: Session, actor: Actor, wanted: SetPreferences) -> Preferences:
    """Exactly these choices, and defaults for the rest. `PreferenceRefused` for one that there is not, or twice."""
    choices = _choices()
    given: dict[tuple[str, Channel], bool] = {}
    for preference in wanted.preferences:
        key = preference.family, preference.channel
        choice = choices.get(key)
        if choice is None or key in given or (choice.mandatory and not preference.wanted):
            raise PreferenceRefused(family=preference.family, channel=preference.channel)
        given[key] = preference.wanted
    differing = [(*key, is_wanted) for key, is_wanted in given.items() if is_wanted != choices[key].default]
    # Two devices that choose at once take turns; the last one's whole choice holds.
    await lock_account(session, actor.user_id)
    await session.execute(_FORGET, user_id=actor.user_id)
    if differing:
        await session.execute(
            _KEEP,
            user_id=actor.user_id,
            families=[family for family, _, _ in differing],
            channels=[channel.value for _, channel, _ in differing],
            wanted=[is_wanted for _, _, is_wanted in differing],
        )
    return await read(session, actor)


def _choices() -> dict[tuple[str, Channel], _Choice]:
    """What the declared events leave to choose; computed anew, because a noun may declare at any time."""
    events: defaultdict[tuple[str, Channel], list[type[Event]]] = defaultdict(list)
    for event in declared():
        for channel in Channel:
            if channel in event.channels | event.on_request:
                events[event.family(), channel].append(event)
    return {
        (family, channel): _Choice(
            # An alarm that always comes this way says nothing about the rest of its family.
            default=any(channel in event.channels for event in those if not event.mandatory)
            or all(event.mandatory for event in those),
            mandatory=all(event.mandatory for event in those),
        )
        for (family, channel), those in events.items()
    }
