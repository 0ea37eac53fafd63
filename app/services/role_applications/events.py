"""What happens to applications for roles."""

from typing import ClassVar
from uuid import UUID

from app.kernel.events import MAILED, Event, entitle

entitle("role_application", en="Applications for roles", hi="भूमिकाओं के लिए आवेदन")


class _AboutApplication(Event):
    application_id: UUID
    role: str
    role_name_hi: str


class SubmittedForReview(_AboutApplication):
    """To support and admins."""

    name: ClassVar = "role_application.submitted_for_review"
    messages: ClassVar = {
        "en": "{user_name} applied for the role of {role}.",
        "hi": "{user_name} ने {role_name_hi} की भूमिका के लिए आवेदन किया है।",
    }
    user_name: str


class ReapplicationRefused(Event):
    """Somebody who was turned down for this role before tried again: for the reviewers to know."""

    name: ClassVar = "role_application.reapplication_refused"
    messages: ClassVar = {
        "en": "Somebody who was turned down before tried to apply for the role of {role} again.",
        "hi": "पहले अस्वीकृत किए गए एक व्यक्ति ने इसी भूमिका के लिए फिर से आवेदन करने की कोशिश की।",
    }
    application_id: UUID
    role: str


class Approved(_AboutApplication):
    name: ClassVar = "role_application.approved"
    messages: ClassVar = {
        "en": "You are approved: your account holds the role of {role} now.",
        "hi": "आपका आवेदन स्वीकृत हो गया है: अब आपके खाते में {role_name_hi} की भूमिका है।",
    }
    channels: ClassVar = MAILED


class _WithReason(_AboutApplication):
    reason: str


class Rejected(_WithReason):
    name: ClassVar = "role_application.rejected"
    messages: ClassVar = {
        "en": "Your application for the role of {role} was turned down: {reason}",
        "hi": "{role_name_hi} की भूमिका के लिए आपका आवेदन अस्वीकार कर दिया गया: {reason}",
    }
    channels: ClassVar = MAILED


class Revoked(_WithReason):
    name: ClassVar = "role_application.revoked"
    messages: ClassVar = {
        "en": "Your account does not hold the role of {role} any more: {reason}",
        "hi": "आपके खाते से {role_name_hi} की भूमिका हटा दी गई है: {reason}",
    }
    channels: ClassVar = MAILED


class Readmitted(_WithReason):
    name: ClassVar = "role_application.readmitted"
    messages: ClassVar = {
        "en": "You may apply for the role of {role} again: {reason}",
        "hi": "आप {role_name_hi} की भूमिका के लिए फिर से आवेदन कर सकते हैं: {reason}",
    }
    channels: ClassVar = MAILED
