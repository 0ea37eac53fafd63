"""The race in one process: a first look; `tests/processes` runs it over four."""

import asyncio

from tests.support.world import World


async def test_one_of_five_completions_at_once_wins(world: World) -> None:
    # Given five buyers of one lead, each with a proof uploaded
    customer, request_id, providers = await world.lead(buyers=5)
    proofs = await asyncio.gather(*(provider.upload() for provider in providers))
    # When all complete at the same instant
    answers = await asyncio.gather(
        *(
            provider.post(f"/api/v1/service-requests/{request_id}/complete", {"proof_id": proof})
            for provider, proof in zip(providers, proofs, strict=True)
        )
    )
    # Then one is the winner, the others are told so, and only the winner's proof is kept
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409]
    assert {answer.json()["code"] for answer in answers if answer.is_error} == {"already_completed"}
    assert {answer.json()["current_status"] for answer in answers if answer.is_error} == {"COMPLETED"}
    winner = next(provider for provider, answer in zip(providers, answers, strict=True) if answer.is_success)
    request = (await customer.get(f"/api/v1/service-requests/{request_id}")).json()
    assert request["completed_by"] == str(winner.id)
    kept = set(await world.platform.storage.keys()) & set(proofs)
    assert kept == {request["proof_id"]}
    await world.books_are_clean()
