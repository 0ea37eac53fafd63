"""Secrets: passwords, access tokens and what attackers do to them, signed links."""

import asyncio
import hmac
import json
import time
from base64 import urlsafe_b64encode
from typing import Any
from uuid import UUID, uuid4

import pytest
from jose import jwt
from pydantic import SecretStr

from app.core.config import DEVELOPMENT_SECRET, Settings
from app.core.errors import Unauthenticated
from app.core.security import AccessTokens, Keys, Passwords, Seals, Signatures, Unsealable, digest, opaque_token

USER, SESSION = uuid4(), uuid4()
OLD, NEW = "the key of last year, long enough for HS256", "the key of this year, long enough for HS256"


def settings_with(**changed: Any) -> Settings:
    return Settings(password_hash_memory_kib=64, password_hash_passes=1).model_copy(update=changed)


def tokens_of(*secrets: str, seconds: float = 900) -> AccessTokens:
    keys = tuple(SecretStr(secret) for secret in secrets or (OLD,))
    settings = settings_with(secret_keys=keys, access_token_seconds=seconds)
    return AccessTokens(settings, Keys(settings))


def claims(**changed: Any) -> dict[str, Any]:
    """What a token of ours says, but for the changes; a claim of None is left out."""
    now = int(time.time())
    ours = {
        "iss": "localbazaar", "aud": "localbazaar-api", "sub": str(USER), "sid": str(SESSION), "jti": str(uuid4()),
        "roles": ["customer"], "iat": now, "exp": now + 900,
    }  # fmt: skip
    return {name: value for name, value in (ours | changed).items() if value is not None}


def signing_key(secret: str = OLD) -> tuple[str, str]:
    """The key id and the key that access tokens are signed with, worked out as an insider would."""
    key = Keys(settings_with(secret_keys=(SecretStr(secret),))).derived("access-token")[0]
    issued = jwt.get_unverified_header(tokens_of(secret).issue(USER, SESSION, []))
    return str(issued["kid"]), key.hex()


def part(content: Any) -> str:
    return urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def signed(key: str, kid: str | None, algorithm: str = "HS256") -> str:
    return jwt.encode(claims(), key, algorithm, headers={} if kid is None else {"kid": kid})


def forgeries() -> dict[str, str]:
    """Tokens that must not pass, by what is wrong with each."""
    kid, key = signing_key()
    header = {"alg": "HS256", "typ": "JWT", "kid": kid}
    head, _, signature = tokens_of().issue(USER, SESSION, ["customer"]).split(".")
    body, unsigned = part(claims()), part(header | {"alg": "none"})
    deep = urlsafe_b64encode(b"[" * 50_000).rstrip(b"=").decode()
    return {
        "no algorithm": f"{unsigned}.{body}.",
        "no algorithm, good signature": f"{unsigned}.{body}.{signature}",
        "other algorithm, right key": signed(key, kid, "HS512"),
        "no signature": f"{head}.{body}.",
        "signature of something else": f"{head}.{body}.{signature}",
        "changed content": f"{head}.{part(claims(sub=str(uuid4()), roles=['admin']))}.{signature}",
        "other key": signed("somebody else's key", kid),
        "the secret itself as key": signed(OLD, kid),
        "key of another purpose": signed(hmac.digest(OLD.encode(), b"signed-link", "sha256").hex(), kid),
        "unknown key id": signed(key, "00000000"),
        "no key id": signed(key, None),
        "key id that is a list": f"{part(header | {'kid': [kid]})}.{body}.{signature}",
        "not a token": "not-a-token",
        "empty": "",
        "letters beyond ASCII": "é.ü.ß",
        "nested too deeply": f"{deep}.{deep}.{deep}",
    }


def test_an_issued_token_speaks_for_its_user_and_session() -> None:
    tokens = tokens_of()
    assert tokens.verify(tokens.issue(USER, SESSION, ["customer"])) == (USER, SESSION)


def test_the_forger_of_these_tests_can_make_a_valid_one() -> None:
    # Otherwise every refusal below might be a refusal of the forger's mistakes.
    kid, key = signing_key()
    assert tokens_of().verify(jwt.encode(claims(), key, "HS256", headers={"kid": kid})) == (USER, SESSION)


@pytest.mark.parametrize("kind", list(forgeries()))
def test_a_forged_token_is_refused(kind: str) -> None:
    with pytest.raises(Unauthenticated):
        tokens_of().verify(forgeries()[kind])


@pytest.mark.parametrize(
    "changed",
    [
        {"exp": None}, {"aud": None}, {"iss": None}, {"sub": None}, {"sid": None}, {"jti": None},
        {"aud": "somebody-else"}, {"iss": "somebody-else"}, {"sub": "root"}, {"sid": "1"}, {"exp": "tomorrow"},
        {"exp": 1_000_000_000}, {"nbf": 4_000_000_000},
    ],
    ids=str,
)  # fmt: skip
def test_a_rightly_signed_token_with_a_wrong_claim_is_refused(changed: dict[str, Any]) -> None:
    kid, key = signing_key()
    with pytest.raises(Unauthenticated):
        tokens_of().verify(jwt.encode(claims(**changed), key, "HS256", headers={"kid": kid}))


def test_a_token_expires_even_if_it_was_verified_before(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a token that this process remembers as verified
    tokens = tokens_of(seconds=60)
    token = tokens.issue(USER, SESSION, [])
    assert tokens.verify(token) == (USER, SESSION)
    # When its time is over, then it is refused all the same, the second time too
    now = time.time()
    monkeypatch.setattr("app.core.security.time.time", lambda: now + 61)
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            tokens.verify(token)


def test_a_new_key_in_front_signs_and_the_old_one_still_verifies() -> None:
    # Given a token from before the rotation
    old_token = tokens_of(OLD).issue(USER, SESSION, [])
    # When a new key is put first
    rotated = tokens_of(NEW, OLD)
    # Then the old token is good, and what is issued now needs the new key
    assert rotated.verify(old_token) == (USER, SESSION)
    new_token = rotated.issue(USER, SESSION, [])
    assert tokens_of(NEW).verify(new_token) == (USER, SESSION)
    with pytest.raises(Unauthenticated):
        tokens_of(OLD).verify(new_token)


def test_a_key_that_is_taken_out_verifies_nothing_any_more() -> None:
    with pytest.raises(Unauthenticated):
        tokens_of(NEW).verify(tokens_of(OLD).issue(USER, SESSION, []))


def test_remembered_tokens_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given room for three
    monkeypatch.setattr(AccessTokens, "_CACHE_SIZE", 3)
    tokens = tokens_of()
    # When many are verified, and forged ones in between
    for _ in range(10):
        tokens.verify(tokens.issue(uuid4(), uuid4(), []))
        with pytest.raises(Unauthenticated):
            tokens.verify(forgeries()["other key"])
    # Then no more are kept than there is room for
    assert len(tokens._verified) == 3


def test_no_token_carries_the_secret() -> None:
    token = tokens_of().issue(USER, SESSION, ["customer"])
    kid, key = signing_key()
    assert OLD not in token
    assert key not in token
    assert len(kid) < len(key)


@pytest.fixture
async def passwords() -> Passwords:
    return Passwords(settings_with())


async def test_a_password_fits_its_own_hash_only(passwords: Passwords) -> None:
    hashed = await passwords.hash("correct horse battery 7")
    assert hashed.startswith("$argon2id$")
    assert await passwords.verify("correct horse battery 7", hashed)
    assert not await passwords.verify("correct horse battery 8", hashed)
    assert not await passwords.verify("", hashed)


async def test_two_hashes_of_one_password_differ(passwords: Passwords) -> None:
    assert await passwords.hash("correct horse battery 7") != await passwords.hash("correct horse battery 7")


async def test_nobody_has_a_password(passwords: Passwords) -> None:
    assert not await passwords.verify("anything at all", None)


async def test_a_broken_hash_fits_nothing(passwords: Passwords) -> None:
    assert not await passwords.verify("anything at all", "$argon2id$broken")


async def test_changed_parameters_make_a_hash_outdated(passwords: Passwords) -> None:
    hashed = await passwords.hash("correct horse battery 7")
    assert not passwords.is_outdated(hashed)
    assert Passwords(settings_with(password_hash_passes=2)).is_outdated(hashed)


async def test_hashing_leaves_the_event_loop_free() -> None:
    # Given hashes that take their time
    passwords = Passwords(settings_with(password_hash_memory_kib=19 * 1024, password_hash_passes=6))
    # When one runs
    hashing = asyncio.create_task(passwords.hash("correct horse battery 7"))
    turns = 0
    while not hashing.done():
        await asyncio.sleep(0.001)
        turns += 1
    # Then the loop went round meanwhile
    assert turns >= 5


def test_a_signed_link_holds_for_its_own_parts_only() -> None:
    signatures = Signatures(Keys(settings_with(secret_keys=(SecretStr(OLD),))))
    signature = signatures.sign("file-1", "1000")
    assert signatures.fits(signature, "file-1", "1000")
    assert not signatures.fits(signature, "file-2", "1000")
    assert not signatures.fits(signature, "file-1", "9999")
    assert not signatures.fits("", "file-1", "1000")
    assert not signatures.fits("\ud800", "file-1", "1000")


def test_links_outlive_a_rotation_of_keys() -> None:
    before = Signatures(Keys(settings_with(secret_keys=(SecretStr(OLD),))))
    after = Signatures(Keys(settings_with(secret_keys=(SecretStr(NEW), SecretStr(OLD)))))
    assert after.fits(before.sign("file-1", "1000"), "file-1", "1000")
    assert not before.fits(after.sign("file-1", "1000"), "file-1", "1000")


def test_each_purpose_has_a_key_of_its_own() -> None:
    keys = Keys(settings_with(secret_keys=(SecretStr(DEVELOPMENT_SECRET),)))
    assert len({keys.derived(purpose)[0] for purpose in ("access-token", "signed-link", "one-time-code")}) == 3


def seals_of(*secrets: str) -> Seals:
    return Seals(settings_with(secret_keys=tuple(SecretStr(secret) for secret in secrets)))


def test_what_is_sealed_opens_for_its_owner_alone() -> None:
    seals = seals_of(OLD)
    sealed = seals.seal("123456789012", USER)
    assert seals.open(sealed, USER) == "123456789012"
    assert b"123456789012" not in sealed
    assert sealed != seals.seal("123456789012", USER)
    with pytest.raises(Unsealable):
        seals.open(sealed, SESSION)


@pytest.mark.parametrize("place", [0, 9, 20, -1])
def test_what_was_tampered_with_does_not_open(place: int) -> None:
    seals = seals_of(OLD)
    broken = bytearray(seals.seal("123456789012", USER))
    broken[place] ^= 1
    for content in (bytes(broken), b"", b"123456789012"):
        with pytest.raises(Unsealable):
            seals.open(content, USER)
        with pytest.raises(Unsealable):
            seals.renew(content)


def test_seals_outlive_a_rotation_of_keys() -> None:
    # Given a value sealed under the old key, when a new one comes first, then it opens still
    sealed = seals_of(OLD).seal("123456789012", USER)
    both = seals_of(NEW, OLD)
    assert both.open(sealed, USER) == "123456789012"
    # And it opens without the old key only once it was sealed anew
    with pytest.raises(Unsealable):
        seals_of(NEW).open(sealed, USER)
    assert seals_of(NEW).open(both.renew(sealed), USER) == "123456789012"


def test_opaque_tokens_are_long_and_never_the_same() -> None:
    made = {opaque_token() for _ in range(1000)}
    assert len(made) == 1000
    assert all(len(token) >= 43 for token in made)
    assert digest("a") != digest("b")
    assert UUID(bytes=digest("a")[:16])
