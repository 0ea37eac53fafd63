"""Accounts, sessions and the codes that open them."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import phonenumbers
from pydantic import AfterValidator, EmailStr, Field, StringConstraints, WithJsonSchema

from app.models.users import Language, UserStatus
from app.models.users import Role as Role
from app.schemas.base import Answer, Line, Payload, Storable


def _phone(value: str) -> str:
    try:
        number = phonenumbers.parse(value)
    except phonenumbers.NumberParseException as error:
        raise ValueError("must be a phone number in E.164 form, such as +919876543210") from error
    if not phonenumbers.is_valid_number(number):
        raise ValueError("is not a number that can be called")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _uncommon(value: str) -> str:
    if len(set(value)) < 5 or value.casefold().rstrip("0123456789!") in _COMMON:
        raise ValueError("is too common")
    return value


_COMMON = frozenset(
    {"", "1234567890", "0123456789", "0987654321", "password", "passwort", "p@ssword", "passw0rd", "p@ssw0rd"}
    | {"qwerty", "qwertyuiop", "asdfghjkl", "zxcvbnm", "abcdefghij", "letmein", "welcome", "iloveyou", "changeme"}
    | {"administrator", "football", "baseball", "cricket", "sunshine", "princess", "superman", "trustno", "india"}
)

Email = Annotated[
    EmailStr,
    StringConstraints(max_length=254),
    AfterValidator(str.lower),
    Storable,
    WithJsonSchema({"type": "string", "format": "email", "maxLength": 254}),
]
Phone = Annotated[
    str,
    StringConstraints(max_length=20),
    AfterValidator(_phone),
    WithJsonSchema({"type": "string", "maxLength": 20, "examples": ["+919876543210"]}),
]
Password = Annotated[
    str, StringConstraints(min_length=10, max_length=128), Storable, AfterValidator(_uncommon), Field(repr=False)
]
Code = Annotated[str, StringConstraints(pattern=r"^[0-9]{6}$"), Field(repr=False)]
Token = Annotated[str, StringConstraints(min_length=20, max_length=200), Storable, Field(repr=False)]
SelfServiceRole = Literal["customer", "provider", "shopkeeper", "driver", "booster", "advertiser", "gig_worker"]


class Register(Payload):
    name: Line
    email: Email
    phone: Phone
    password: Password
    role: SelfServiceRole = Field("customer", description="What the account is meant for; others are applied for.")
    language: Language = Language.ENGLISH


class Verify(Payload):
    user_id: UUID
    email_code: Code
    phone_code: Code
    device: Line = "unknown device"


class ResendCode(Payload):
    user_id: UUID
    channel: Literal["email", "phone"]


class Login(Payload):
    email: Email
    password: Annotated[str, StringConstraints(min_length=1, max_length=128), Storable, Field(repr=False)]
    device: Line = "unknown device"


class Refresh(Payload):
    refresh_token: Token


class RequestPasswordReset(Payload):
    email: Email


class ConfirmPasswordReset(Payload):
    email: Email
    code: Code
    password: Password


class ChangeContact(Payload):
    """Give the new email or the new phone; a code goes there."""

    channel: Literal["email", "phone"]
    value: Annotated[str, StringConstraints(max_length=254), Storable]


class ConfirmContact(Payload):
    channel: Literal["email", "phone"]
    code: Code


class UpdateProfile(Payload):
    name: Line | None = None
    language: Language | None = None


class User(Answer):
    id: UUID
    name: str
    email: str
    phone: str
    status: UserStatus
    language: Language
    roles: list[Role]
    requested_role: Role
    created_at: datetime


class Registered(Answer):
    """Two codes are on their way; send both to `/auth/verify`."""

    user: User


class Tokens(Answer):
    access_token: str = Field(repr=False)
    refresh_token: str = Field(repr=False)
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - the name of a scheme
    expires_in: int = Field(description="Seconds until the access token expires.")
    user: User


class SessionInfo(Answer):
    id: UUID
    device: str
    address: str
    created_at: datetime
    last_used_at: datetime
    current: bool


class UserState(Answer):
    id: UUID
    status: UserStatus
    status_reason: str | None


class SentMessage(Answer):
    to: str
    subject: str
    body: str
