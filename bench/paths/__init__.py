"""Every path that clients ask often: a module for each noun, a line in its list for each path."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from bench.paths import (
    accounts,
    advertised_services,
    chats,
    files,
    integrators,
    leads,
    money,
    public,
    staff,
    teams,
    work_orders,
)
from bench.paths.asking import Question
from bench.paths.town import Town

NOUNS: Final[dict[str, Callable[[Town], Awaitable[Sequence[Question]]]]] = {
    "leads": leads.questions,
    "work orders": work_orders.questions,
    "advertised services": advertised_services.questions,
    "teams": teams.questions,
    "chats": chats.questions,
    "money": money.questions,
    "accounts": accounts.questions,
    "files": files.questions,
    "integrators": integrators.questions,
    "staff": staff.questions,
    "public": public.questions,
}
