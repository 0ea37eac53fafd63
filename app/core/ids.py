"""Identifiers: UUIDv7, made in the application so that every supported PostgreSQL sorts them by time of birth."""

import os
import time
from uuid import UUID

_VERSION_AND_VARIANT = (0x7 << 76) | (0x2 << 62)


def uuid7() -> UUID:
    """A fresh UUIDv7 (RFC 9562): 48 bits of Unix milliseconds, 74 random bits."""
    random = int.from_bytes(os.urandom(10), "big")
    # 12 random bits go between version and variant, 62 behind the variant.
    return UUID(
        int=(time.time_ns() // 1_000_000 << 80)
        | _VERSION_AND_VARIANT
        | ((random >> 62) & 0xFFF) << 64
        | (random & 0x3FFF_FFFF_FFFF_FFFF)
    )


def born_at(identifier: UUID) -> float:
    """When a UUIDv7 was made, in seconds since 1970: the same whenever it is asked. Raises ValueError for others."""
    if identifier.version != 7:
        raise ValueError("only a UUIDv7 tells when it was made")
    return (identifier.int >> 80) / 1000


def first_of(seconds: float) -> UUID:
    """Sorts behind every UUIDv7 that was made before that time since 1970, and before all others."""
    return UUID(int=min(max(int(seconds * 1000), 0), 2**48 - 1) << 80)
