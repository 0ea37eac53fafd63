"""Reading the catalogue, and checking answers against a service's questions."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Text, bindparam, func, or_, select

from app.core.config import settings
from app.core.database import ReadSession, Row, Statement
from app.core.errors import NotFound, Unprocessable
from app.models.catalogue import categories, services
from app.schemas.catalogue import Category, Question, Service


class AnswersRefused(Unprocessable):
    code, title = "answers_refused", "The answers do not fit the questions of this service."


_CATEGORIES = Statement(select(*categories.c).order_by(categories.c.name_en).limit(200))
_columns = (
    services.c.id,
    services.c.slug,
    categories.c.slug.label("category"),
    services.c.name_en,
    services.c.name_hi,
    services.c.description_en,
    services.c.description_hi,
    services.c.questions,
    func.coalesce(services.c.lead_fee_minor, bindparam("default_fee", type_=BigInteger)).label("lead_fee_minor"),
)
_wanted = bindparam("category", type_=Text)
_SERVICES = Statement(
    select(*_columns)
    .join(categories, categories.c.id == services.c.category_id)
    .where(or_(_wanted.is_(None), categories.c.slug == _wanted))
    .order_by(services.c.name_en)
    .limit(500)
)
_SERVICE = Statement(
    select(*_columns)
    .join(categories, categories.c.id == services.c.category_id)
    .where(services.c.id == bindparam("service_id"))
)


async def all_categories(session: ReadSession) -> list[Category]:
    return [Category.model_validate(dict(row)) for row in await session.all(_CATEGORIES)]


async def all_services(session: ReadSession, category: str | None) -> list[Service]:
    rows = await session.all(_SERVICES, category=category, default_fee=settings().lead_fee_minor)
    return [Service.model_validate(dict(row)) for row in rows]


async def service(session: ReadSession, service_id: UUID) -> Service:
    row: Row | None = await session.first(_SERVICE, service_id=service_id, default_fee=settings().lead_fee_minor)
    if row is None:
        raise NotFound()
    return Service.model_validate(dict(row))


def check_answers(offered: Service, answers: Mapping[str, Any]) -> None:
    """Raise `AnswersRefused`, naming the questions, unless all required ones are answered in kind and none is new."""
    questions = {question.key: question for question in offered.questions}
    wrong = sorted(answers.keys() - questions.keys())
    wrong += [
        key
        for key, question in questions.items()
        if (key in answers and not _fits(question, answers[key])) or (question.required and key not in answers)
    ]
    if wrong:
        raise AnswersRefused(questions=wrong)


def _fits(question: Question, answer: Any) -> bool:
    match question.kind:
        case "text":
            return isinstance(answer, str) and (not question.required or bool(answer.strip()))
        case "number":
            return isinstance(answer, (int, float)) and not isinstance(answer, bool)
        case "boolean":
            return isinstance(answer, bool)
        case "choice":
            return any(answer == option.value for option in question.options)  # it may be unhashable
