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
    if phonenumbers.number_type(number) in _PAID_BY_THE_SENDER:
        raise ValueError("is not a number that codes are sent to")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


_PAID_BY_THE_SENDER = {phonenumbers.PhoneNumberType.PREMIUM_RATE, phonenumbers.PhoneNumberType.SHARED_COST}
"""Whoever earns on messages to a number would sign up with it again and again."""


def _uncommon(value: str) -> str:
    folded = value.casefold()
    if len(set(value)) < 5 or folded in _COMMON or folded.strip("0123456789!@#$.-_* ") in _COMMON:
        raise ValueError("is too common")
    return value


_COMMON = frozenset(
    {"", "1234567890", "0123456789", "0987654321", "password", "passwort", "p@ssword", "passw0rd", "p@ssw0rd"}
    | {"qwerty", "qwertyuiop", "asdfghjkl", "zxcvbnm", "abcdefghij", "letmein", "welcome", "iloveyou", "changeme"}
    | {"administrator", "football", "baseball", "cricket", "sunshine", "princess", "superman", "trustno", "india"}
    | {"1q2w3e4r5t", "1q2w3e4r5t6y", "q1w2e3r4t5", "1qaz2wsx3edc", "zaq12wsxcde3", "qwerty123456", "abcd1234567"}
    | {"a", "abc", "abcd", "abcde", "abcdef", "q", "qwe", "qwer", "qwert", "qwertyui", "asd", "asdf", "asdfg", "zxcv"}
    | {"pass", "passw", "passwd", "passwort", "passpass", "password1password", "master", "monkey", "dragon", "shadow"}
    | {"admin", "login", "secret", "test", "tester", "testing", "user", "guest", "hello", "helloworld", "computer"}
    | {"internet", "samsung", "mustang", "michael", "liverpool", "chelsea", "manchester", "starwars", "pokemon"}
    | {"bharat", "mumbai", "pune", "delhi", "krishna", "ganesh", "sairam", "omsairam", "jaimatadi", "tendulkar"}
    | {"localbazaar", "q1w2e3r4t5y6", "letmeinplease", "changemenow", "welcomehome", "mypassword", "yourpassword"}
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
