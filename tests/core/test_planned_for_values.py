"""A statement whose best plan only its values tell is planned for them, each time."""

from sqlalchemy import Text, bindparam, column, func, literal_column, select, table

from app.core.database import Statement
from app.kernel.platform import Platform
from app.models.users import users

USES = 12
"""PostgreSQL thinks of a plan for all values after five."""
PREPARED = table("pg_prepared_statements", column("statement"), column("generic_plans"), column("custom_plans"))
PLANS = Statement(
    select(
        func.sum(PREPARED.c.generic_plans).label("generic_plans"),
        func.sum(PREPARED.c.custom_plans).label("custom_plans"),
    ).where(PREPARED.c.statement == bindparam("statement", type_=Text))
)
MODE = Statement(select(func.current_setting(literal_column("'plan_cache_mode'"))))


def found_by(name: str, *, planned_for_values: bool) -> Statement:
    """Statements of other names are others to PostgreSQL."""
    query = select(users.c.id.label(name)).where(users.c.email == bindparam("email", type_=Text))
    return Statement(query, planned_for_values=planned_for_values)


async def plans(platform: Platform, statement: Statement) -> tuple[int, int]:
    """How often it was planned for all values and for given ones, once it was used often."""
    async with platform.database.read() as session:
        for number in range(USES):
            assert await session.all(statement, email=f"nobody-{number}@example.com") == []
        row = await session.first(PLANS, statement=statement.sql)
    assert row is not None
    return int(row["generic_plans"]), int(row["custom_plans"])


async def test_a_plan_for_all_values_is_never_made_where_values_decide(platform: Platform) -> None:
    assert await plans(platform, found_by("by_values", planned_for_values=True)) == (0, USES)
    # as it is for others, and again on the same connection afterwards
    generic, _ = await plans(platform, found_by("by_habit", planned_for_values=False))
    assert generic > 0
    async with platform.database.read() as session:
        assert await session.scalar(MODE) == "auto"
