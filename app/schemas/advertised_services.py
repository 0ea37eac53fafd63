"""Services with a fixed price that advertisers list."""

from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from pydantic import Field, StringConstraints, model_validator

from app.core.money import AMOUNT_LIMIT
from app.models.advertised_services import AdvertisedServiceStatus
from app.schemas.base import Amount, Answer, Currency, PageQuery, Paragraph, Payload, Storable

Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=120), Storable]
PriceBound = Annotated[int, Field(ge=0, le=AMOUNT_LIMIT, description="Minor units; needs `currency`.")]


class AdvertiseService(Payload):
    title: Title
    description: Paragraph
    price_minor: Amount
    currency: Currency = "INR"
    team_id: UUID | None = Field(None, description="A team of one's own, whose members may then assign and review.")


class ChangeService(AdvertiseService):
    """The whole offer as it is from now on; what was bought before keeps its price."""

    revision: Annotated[int, Field(ge=1, lt=2**31)] = Field(description="The one that the change was made from.")


class OwnAdvertisedService(Answer):
    """A service as its advertiser sees it."""

    id: UUID
    advertiser_id: UUID
    team_id: UUID | None
    status: AdvertisedServiceStatus
    title: str
    description: str
    price_minor: int
    currency: str
    revision: int = Field(description="Counts the changes of what is sold.")
    created_at: datetime
    updated_at: datetime


class AdvertisedService(Answer):
    """A service that is on sale, as anybody sees it."""

    id: UUID
    advertiser_id: UUID
    advertiser_name: str
    title: str
    description: str
    price_minor: int
    currency: str
    revision: int = Field(
        description="Counts the changes of what is sold; a purchase names the one that was looked at."
    )
    created_at: datetime


class FindAdvertisedServices(PageQuery):
    currency: Currency | None = None
    advertiser_id: UUID | None = None
    words: Annotated[str, StringConstraints(min_length=1, max_length=100), Storable] | None = Field(
        None, description='In title or description, all of them; "in quotes" side by side, or, -without.'
    )
    price_from_minor: PriceBound | None = None
    price_to_minor: PriceBound | None = None

    @model_validator(mode="after")
    def _prices_of_one_currency(self) -> Self:
        if self.currency is None and (self.price_from_minor is not None or self.price_to_minor is not None):
            raise ValueError("prices can be compared in one currency only: give `currency`")
        return self


class ListOwnServices(PageQuery):
    status: AdvertisedServiceStatus | None = None
