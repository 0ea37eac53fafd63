"""Secrets: password hashes, access tokens, signatures. Nothing here touches a database."""

import asyncio
import hashlib
import hmac
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from jose import JWTError, jwt

from app.core.config import Settings
from app.core.errors import Unauthenticated
from app.core.ids import uuid7

_ALGORITHM: Final = "HS256"
_ISSUER: Final = "localbazaar"
_AUDIENCE: Final = "localbazaar-api"
_REQUIRED: Final = {f"require_{claim}": True for claim in ("exp", "aud", "iss", "sub", "jti")}

_P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class Passwords:
    """Argon2id in threads, a few at a time: a hash takes 30 ms and 19 MiB, and must hold up nobody else's request."""

    def __init__(self, settings: Settings) -> None:
        self._hasher = PasswordHasher(
            time_cost=settings.password_hash_passes, memory_cost=settings.password_hash_memory_kib, parallelism=1
        )
        self._limit = asyncio.Semaphore(settings.password_hash_workers)
        self._nobody = self._hasher.hash(secrets.token_urlsafe(16))

    async def hash(self, password: str) -> str:
        async with self._limit:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def verify(self, password: str, password_hash: str | None) -> bool:
        """Whether the password fits. None, for an account that does not exist, takes just as long and does not fit."""
        async with self._limit:
            fits = await asyncio.to_thread(self._fits, password, password_hash or self._nobody)
        return fits and password_hash is not None

    def _fits(self, password: str, password_hash: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False

    def is_outdated(self, password_hash: str) -> bool:
        """Whether the parameters changed since this hash was made."""
        return self._hasher.check_needs_rehash(password_hash)


class Keys:
    """The signing keys. The first signs, all verify; each purpose has a key of its own derived from them."""

    def __init__(self, settings: Settings) -> None:
        self._keys = [key.get_secret_value().encode() for key in settings.secret_keys]

    def derived(self, purpose: str) -> list[bytes]:
        return [hmac.digest(key, purpose.encode(), "sha256") for key in self._keys]


class AccessTokens:
    """Short-lived JWTs. Verified ones are remembered until they expire: verifying is a tenth of a request's cost.

    A token says who it is for; whether its session still counts is asked separately (`services/users/sessions.py`).
    """

    _CACHE_SIZE: Final = 20_000

    def __init__(self, settings: Settings, keys: Keys) -> None:
        self._seconds = settings.access_token_seconds
        self._keys = {hashlib.sha256(key).hexdigest()[:8]: key.hex() for key in keys.derived("access-token")}
        self._signing = next(iter(self._keys))
        self._verified: OrderedDict[str, tuple[float, UUID, UUID]] = OrderedDict()

    def issue(self, user_id: UUID, session_id: UUID, roles: list[str]) -> str:
        now = int(time.time())
        claims = {
            "iss": _ISSUER, "aud": _AUDIENCE, "sub": str(user_id), "sid": str(session_id), "jti": str(uuid7()),
            "roles": roles, "iat": now, "exp": now + int(self._seconds),
        }  # fmt: skip
        token: str = jwt.encode(claims, self._keys[self._signing], _ALGORITHM, headers={"kid": self._signing})
        return token

    def verify(self, token: str) -> tuple[UUID, UUID]:
        """The user and the session that the token speaks for, or `Unauthenticated`."""
        known = self._verified.get(token)
        if known is None:
            known = self._decode(token)
            self._verified[token] = known
            if len(self._verified) > self._CACHE_SIZE:
                self._verified.popitem(last=False)
        if known[0] <= time.time():
            self._verified.pop(token, None)
            raise Unauthenticated("The access token has expired.")
        return known[1], known[2]

    def _decode(self, token: str) -> tuple[float, UUID, UUID]:
        try:
            key = self._keys[str(jwt.get_unverified_header(token).get("kid"))]
            claims: Mapping[str, Any] = jwt.decode(
                token, key, algorithms=[_ALGORITHM], audience=_AUDIENCE, issuer=_ISSUER, options=_REQUIRED
            )
            return float(claims["exp"]), UUID(claims["sub"]), UUID(claims["sid"])
        except (JWTError, KeyError, ValueError, TypeError, AttributeError) as error:
            raise Unauthenticated("The access token is not valid.") from error


class Signatures:
    """Signed links: a message authentication code over the link's own parts."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys.derived("signed-link")

    def sign(self, *parts: str) -> str:
        return self._code(self._keys[0], parts)

    def fits(self, signature: str, *parts: str) -> bool:
        given = signature.encode("utf-8", "replace")
        return any(hmac.compare_digest(given, self._code(key, parts).encode()) for key in self._keys)

    @staticmethod
    def _code(key: bytes, parts: tuple[str, ...]) -> str:
        return urlsafe_b64encode(hmac.digest(key, "\n".join(parts).encode(), "sha256")).rstrip(b"=").decode()


class Unsealable(Exception):
    """No key of ours sealed this, or it was sealed for another owner."""


class Seals:
    """Personal data at rest: authenticated encryption with keys of its own, derived from the secret keys.

    The first secret seals, all open. What was sealed names its owner, so that a sealed value which somebody copies to
    another row opens there no more than one that somebody forged.
    """

    def __init__(self, settings: Settings) -> None:
        self._keys = MultiFernet([_sealing_key(key.get_secret_value().encode()) for key in settings.secret_keys])

    def seal(self, value: str, owner_id: UUID) -> bytes:
        return self._keys.encrypt(owner_id.bytes + value.encode())

    def open(self, sealed: bytes, owner_id: UUID) -> str:
        """The value, or `Unsealable`."""
        try:
            content = self._keys.decrypt(sealed)
        except InvalidToken as error:
            raise Unsealable() from error
        if content[:16] != owner_id.bytes:
            raise Unsealable()
        return content[16:].decode()

    def renew(self, sealed: bytes) -> bytes:
        """The same value under the first key, or `Unsealable`: for before an old key is taken away."""
        try:
            return self._keys.rotate(sealed)
        except InvalidToken as error:
            raise Unsealable() from error


def _sealing_key(secret: bytes) -> Fernet:
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"localbazaar/personal-data").derive(secret)
    return Fernet(urlsafe_b64encode(derived))


def push_key(settings: Settings) -> ec.EllipticCurvePrivateKey:
    """The key that signs web push (VAPID); ValueError if the setting is none. Browsers subscribe for its other half."""
    given = settings.push_private_key.get_secret_value()
    if given:
        return ec.derive_private_key(int.from_bytes(urlsafe_b64decode(given + "=")), ec.SECP256R1())
    # 16 bytes more than the group's order has, so that no scalar is noticeably likelier than another.
    info = b"localbazaar/web-push"
    derived = HKDF(algorithm=SHA256(), length=48, salt=None, info=info).derive(
        settings.secret_keys[0].get_secret_value().encode()
    )
    return ec.derive_private_key(int.from_bytes(derived) % (_P256_ORDER - 1) + 1, ec.SECP256R1())


def opaque_token() -> str:
    """256 random bits in URL-safe text: refresh tokens and socket tickets."""
    return secrets.token_urlsafe(32)


def digest(token: str) -> bytes:
    """How an opaque token is stored; it has entropy enough that a plain hash cannot be guessed back."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
