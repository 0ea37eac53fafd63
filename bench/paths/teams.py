"""Teams of advertisers."""

from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

from bench.paths.asking import COUNT, Question, person
from bench.paths.town import Town

_INVITED: Final = 4
_TEAMS: Final = """
WITH wanted AS MATERIALIZED (
    SELECT n, uuidv7() AS id, owner_id FROM unnest($1::uuid[]) WITH ORDINALITY AS owner (owner_id, n)
), made AS (
    INSERT INTO teams (id, owner_id, name) SELECT id, owner_id, 'Team ' || n FROM wanted
), members AS (
    INSERT INTO team_memberships (id, team_id, user_id, invited_by, status, joined_at)
    SELECT uuidv7(), id, ($1::uuid[])[(n - 1 + k) % cardinality($1::uuid[]) + 1], owner_id,
           CASE WHEN k > 10 THEN 'INVITED' ELSE 'ACTIVE' END, CASE WHEN k <= 10 THEN now() END
    FROM wanted, generate_series(0, 10 + $2::int) k
    RETURNING id, team_id, user_id, status
)
SELECT members.id AS membership_id, team_id, owner_id, user_id
FROM members JOIN wanted ON wanted.id = team_id
WHERE status = 'INVITED'
"""


class _Invitation(NamedTuple):
    membership_id: UUID
    team_id: UUID
    owner_id: UUID
    user_id: UUID


async def questions(town: Town) -> Sequence[Question]:
    """Each advertiser has a team of eleven, and has invited some more."""
    await town.market.services()
    rows = await town.fetch(_TEAMS, [each.id for each in town.world.providers], _INVITED)
    about = [_Invitation(**row) for row in rows][:COUNT]
    owner, invited = (person(town.world, field, "advertiser") for field in ("owner_id", "user_id"))
    one = "teams/{team_id}"
    strangers = [row._replace(user_id=town.world.distant[n].id) for n, row in enumerate(about)]
    return [
        Question("own teams", owner.get("teams"), about),
        Question("invitations", invited.get("teams?invited=true"), about),
        Question("read one", owner.get(one), about),
        Question("members", owner.get(f"{one}/members"), about),
        Question("make a team", owner.post("teams", {"name": "The night shift"}, once=True), about),
        Question("invite", owner.post(f"{one}/invitations", lambda row: {"user_id": row.user_id}), strangers),
        Question("accept", invited.post("team-memberships/{membership_id}/accept"), about[: COUNT // 2]),
        Question("decline", invited.post("team-memberships/{membership_id}/decline"), about[COUNT // 2 :]),
    ]
