"""The platform's catalogue."""

from typing import Literal
from uuid import UUID

from app.schemas.base import Answer


class Option(Answer):
    value: str
    label_en: str
    label_hi: str


class Question(Answer):
    key: str
    label_en: str
    label_hi: str
    kind: Literal["text", "number", "choice", "boolean"]
    required: bool
    options: list[Option] = []


class Category(Answer):
    id: UUID
    slug: str
    name_en: str
    name_hi: str


class Service(Answer):
    id: UUID
    slug: str
    category: str
    name_en: str
    name_hi: str
    description_en: str
    description_hi: str
    questions: list[Question]
    lead_fee_minor: int
