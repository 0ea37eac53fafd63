"""Refusals: one narrow class per reason, each an RFC 9457 problem with a stable `code`."""

from collections.abc import Mapping
from typing import Any, ClassVar


class Problem(Exception):
    """A request that is refused. `code` is stable for clients, `title` is for people; `extra` joins the document."""

    status: ClassVar[int] = 400
    code: ClassVar[str] = "bad_request"
    title: ClassVar[str] = "The request was refused."

    def __init__(self, detail: str | None = None, /, *, headers: Mapping[str, str] | None = None, **extra: Any) -> None:
        super().__init__(detail or self.title)
        self.detail = detail
        self.extra = extra
        self.headers = dict(headers or {})

    def document(self) -> dict[str, Any]:
        """The body of the answer, media type `application/problem+json`."""
        document = {"type": f"/problems/{self.code}", "title": self.title, "status": self.status, "code": self.code}
        return self.extra | document | ({"detail": self.detail} if self.detail else {})


class NotFound(Problem):
    """Nothing there, or nothing that this caller may know of: a stranger's private object answers the same."""

    status, code, title = 404, "not_found", "There is no such thing here."


class Unauthenticated(Problem):
    status, code, title = 401, "unauthenticated", "Sign in first."

    def __init__(self, detail: str | None = None, /, **extra: Any) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"}, **extra)


class Forbidden(Problem):
    status, code, title = 403, "forbidden", "You may not do this."


class RoleRequired(Forbidden):
    code, title = "role_required", "Your account does not hold the role that this needs."


class Conflict(Problem):
    status, code, title = 409, "conflict", "The current state does not allow this."


class PayloadTooLarge(Problem):
    status, code, title = 413, "payload_too_large", "The body is larger than this path accepts."


class UnsupportedMedia(Problem):
    status, code, title = 415, "unsupported_media_type", "This kind of content is not accepted here."


class Unprocessable(Problem):
    status, code, title = 422, "validation_failed", "The payload does not fit the documented shape."


class TooManyRequests(Problem):
    status, code, title = 429, "too_many_requests", "Too many requests; wait a moment."

    def __init__(self, retry_after_seconds: int, /, **extra: Any) -> None:
        seconds = max(1, retry_after_seconds)
        super().__init__(None, headers={"Retry-After": str(seconds)}, retry_after_seconds=seconds, **extra)


class Unavailable(Problem):
    """A part that this needs is away for the moment; the call may be repeated."""

    status, code, title = 503, "unavailable", "A part of the service is away; try again in a moment."

    def __init__(self, detail: str | None = None, /, **extra: Any) -> None:
        super().__init__(detail, headers={"Retry-After": "1"}, **extra)
