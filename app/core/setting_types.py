"""What the value of a setting may be, with its unit; what makes no sense is refused at start, by a ValueError."""

import re
from typing import Annotated, Final, TypeVar
from zoneinfo import ZoneInfo

from limits import parse_many
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

Item = TypeVar("Item")

_HOST: Final = r"[a-z0-9-]+(\.[a-z0-9-]+)*\.[a-z]{2,}"
_CONTACT: Final = rf"^(mailto:[!-?A-~]+@{_HOST}|https://{_HOST}(/[!-~]*)?)$"


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _allowance(value: str) -> str:
    parse_many(value)  # a ValueError here, at start, rather than at the first request
    return value


def _time_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (LookupError, OSError) as error:
        raise ValueError("is no time zone, such as Asia/Kolkata") from error
    return value


def _push_key(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"([A-Za-z0-9_-]{43})?", value.get_secret_value()):
        raise ValueError("is not 32 bytes in URL-safe base64 without padding")
    return value


def _push_service(value: str) -> str:
    if not re.fullmatch(rf"(\*\.)?{_HOST}|http://127\.0\.0\.1:[0-9]{{1,5}}", value):
        raise ValueError("is neither a host, such as fcm.googleapis.com or *.notify.windows.com, nor on the loopback")
    return value


Listed = Annotated[tuple[Item, ...], NoDecode, BeforeValidator(_split)]
"""Several values, written as one line, separated by commas."""
Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(gt=0)]
Bytes = Annotated[int, Field(gt=0)]
Port = Annotated[int, Field(gt=0, lt=65536)]
Amount = Annotated[int, Field(ge=0)]
"""Money, in minor units."""
BasisPoints = Annotated[int, Field(ge=0, le=10_000)]
"""A share, in hundredths of a percent."""
Allowance = Annotated[str, AfterValidator(_allowance)]
"""How often something may be tried, such as "10/15 minutes"; several joined by ";"."""
TimeZone = Annotated[str, AfterValidator(_time_zone)]
PushKey = Annotated[SecretStr, AfterValidator(_push_key)]
PushContact = Annotated[str, Field(pattern=_CONTACT)]
PushService = Annotated[str, AfterValidator(_push_service)]
