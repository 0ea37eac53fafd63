"""One address for applications for all roles; each noun has its own form and its own reviewers (identity.md)."""

from typing import Annotated, Any

from pydantic import Discriminator, Tag

from app.core.actor import Actor
from app.core.database import Session
from app.kernel.platform import Platform
from app.models.users import Role
from app.schemas.providers import ApplyAsProvider, ProviderProfile
from app.schemas.role_applications import ApplyForRole, RoleApplication
from app.services.providers import onboarding as providers
from app.services.role_applications import onboarding as role_applications


def _form(given: Any) -> str:
    """Which form was filled in; without a role it is that of a provider, as it was when there was no other."""
    role = given.get("role", Role.PROVIDER) if isinstance(given, dict) else getattr(given, "role", Role.PROVIDER)
    return "provider" if role == Role.PROVIDER else "other"


Application = Annotated[
    Annotated[ApplyAsProvider, Tag("provider")] | Annotated[ApplyForRole, Tag("other")], Discriminator(_form)
]


async def apply(
    session: Session, platform: Platform, actor: Actor, wanted: Application
) -> ProviderProfile | RoleApplication:
    """Hand the application to the noun that it is about; see `apply` there."""
    if isinstance(wanted, ApplyAsProvider):
        return await providers.apply(session, platform, actor, wanted)
    return await role_applications.apply(session, platform, actor, wanted)
