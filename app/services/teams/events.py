"""What happens to teams and their members. Nobody hears who was invited or declined but those who were."""

from typing import ClassVar
from uuid import UUID

from app.kernel.events import Event


class _AboutTeam(Event):
    team_id: UUID
    team_name: str


class _AboutMember(_AboutTeam):
    user_id: UUID
    user_name: str


class MemberInvited(_AboutTeam):
    """To the invited advertiser."""

    name: ClassVar = "team.member_invited"
    messages: ClassVar = {
        "en": "{invited_by_name} invites you to the team {team_name}.",
        "hi": "{invited_by_name} ने आपको टीम {team_name} में आमंत्रित किया है।",
    }
    mailed: ClassVar = True
    invited_by_name: str


class InvitationWithdrawn(_AboutTeam):
    name: ClassVar = "team.invitation_withdrawn"
    messages: ClassVar = {
        "en": "The invitation to the team {team_name} was withdrawn.",
        "hi": "टीम {team_name} का आमंत्रण वापस ले लिया गया है।",
    }


class MemberJoined(_AboutMember):
    """To the members who were there before."""

    name: ClassVar = "team.member_joined"
    messages: ClassVar = {
        "en": "{user_name} joined the team {team_name}.",
        "hi": "{user_name} टीम {team_name} में शामिल हो गए हैं।",
    }


class MemberLeft(_AboutMember):
    """To the members who stay."""

    name: ClassVar = "team.member_left"
    messages: ClassVar = {
        "en": "{user_name} left the team {team_name}.",
        "hi": "{user_name} ने टीम {team_name} छोड़ दी है।",
    }


class MemberRemoved(_AboutMember):
    """To whoever was removed, and to the members who stay."""

    name: ClassVar = "team.member_removed"
    messages: ClassVar = {
        "en": "{user_name} was removed from the team {team_name}.",
        "hi": "{user_name} को टीम {team_name} से हटा दिया गया है।",
    }


class Renamed(_AboutTeam):
    """To the members."""

    name: ClassVar = "team.renamed"
    messages: ClassVar = {
        "en": "Your team is called {team_name} now.",
        "hi": "आपकी टीम का नाम अब {team_name} है।",
    }


class OwnershipTransferred(_AboutMember):
    """To the members; `user_id` is the new owner."""

    name: ClassVar = "team.ownership_transferred"
    messages: ClassVar = {
        "en": "The team {team_name} belongs to {user_name} now.",
        "hi": "टीम {team_name} अब {user_name} की है।",
    }


class Disbanded(_AboutTeam):
    """To each who was a member or invited."""

    name: ClassVar = "team.disbanded"
    messages: ClassVar = {
        "en": "The team {team_name} was dissolved.",
        "hi": "टीम {team_name} भंग कर दी गई है।",
    }
