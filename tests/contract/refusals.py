"""What every refusal has to look like, whoever made it."""

import httpx

from app.routers.problems import known

KNOWN = known()


def refused(answer: httpx.Response, *statuses: int) -> str:
    """The stable code of a refusal: a well-formed problem document, with one of these statuses if any are given."""
    what = f"{answer.request.method} {str(answer.request.url)[:200]} answered {answer.status_code}: {answer.text[:500]}"
    assert 400 <= answer.status_code < 500, what
    assert not statuses or answer.status_code in statuses, what
    assert answer.headers["content-type"] == "application/problem+json", what
    document = answer.json()
    assert document["status"] == answer.status_code, what
    assert document["type"] == f"/problems/{document['code']}", what
    assert document["title"], what
    assert KNOWN[document["code"]].status == answer.status_code, what
    return str(document["code"])
