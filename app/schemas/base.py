"""What all JSON shapes share: closed objects, bounded text that PostgreSQL can hold, money, positions, pages."""

from collections.abc import Callable, Sequence
from typing import Annotated, Generic, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from app.core.database import Row
from app.core.money import AMOUNT_LIMIT
from app.core.pagination import PAGE_LIMIT, next_cursor


class Answer(BaseModel):
    """A shape that the API answers with."""

    model_config = ConfigDict(from_attributes=True, frozen=True)


class Payload(BaseModel):
    """A shape that the API is sent: unknown fields are refused, so that a misspelt one is not silently dropped."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _storable(value: str) -> str:
    if "\x00" in value:
        raise ValueError("must not contain NUL")
    value.encode()  # a lone surrogate fails here, as a ValueError
    return value


Storable = AfterValidator(_storable)
Word = Annotated[str, StringConstraints(min_length=1, max_length=64), Storable]
Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), Storable]
Paragraph = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000), Storable]
Amount = Annotated[int, Field(gt=0, le=AMOUNT_LIMIT, strict=True, description="Minor units (paise), above zero.")]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3,8}$")]
Moment = Annotated[AwareDatetime, Field(description="ISO 8601 with an offset.")]
Latitude = Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)]
Longitude = Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)]


class Position(Payload):
    """WGS 84 degrees."""

    latitude: Latitude
    longitude: Longitude


class Reason(Payload):
    """Why; kept, and shown to the person whom it concerns."""

    reason: Paragraph


Item = TypeVar("Item")


class Page(Answer, Generic[Item]):
    """One page of a list. Pass `next_cursor` as `cursor` for the next; null means that this was the last."""

    items: list[Item]
    next_cursor: str | None


def page_of(rows: Sequence[Row], limit: int, shape: Callable[[Row], Item]) -> Page[Item]:
    """The page of rows that were asked for with one more than `limit`, each in its shape."""
    return Page(items=[shape(row) for row in rows[:limit]], next_cursor=next_cursor(rows, limit))


class PageQuery(Payload):
    """Which page of a list: what every list takes, besides its own filters."""

    limit: Annotated[int, Field(ge=1, le=PAGE_LIMIT)] = 20
    cursor: Annotated[str, Field(max_length=64)] | None = None


class ProblemDocument(BaseModel):
    """RFC 9457, with a stable `code`; some problems carry further members."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    code: str
    detail: str | None = None


class ProblemKind(Answer):
    """What a `code` means, wherever it comes up."""

    code: str
    status: int
    title: str
    description: str | None


class Done(Answer):
    """The request was carried out and has nothing to show."""

    done: bool = True


__all__ = [
    "Amount", "Answer", "Currency", "Done", "Latitude", "Line", "Longitude", "Moment", "Page", "PageQuery",
    "Paragraph", "Payload", "Position", "ProblemDocument", "ProblemKind", "Reason", "Storable", "Word", "page_of",
]  # fmt: skip
