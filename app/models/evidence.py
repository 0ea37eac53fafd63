"""Rounds of evidence: what somebody handed in to show that work is done, and what a reviewer said of it.

A round stays for ever; its images are erased some time after the subject is finished.
"""

from enum import StrEnum

from sqlalchemy import (
    ARRAY,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
)
from sqlalchemy import text as sql

from app.models.base import metadata, moment, one_of, text


class Verdict(StrEnum):
    APPROVED = "approved"
    REJECTED = "rejected"


evidence_rounds = Table(
    "evidence_rounds",
    metadata,
    Column("subject_id", Uuid, nullable=False),
    Column("number", Integer, nullable=False),  # 1, 2, 3 … within the subject
    text("subject_type"),
    Column("submitted_by", Uuid, ForeignKey("users.id"), nullable=False),
    Column("image_ids", ARRAY(Uuid), nullable=False),
    text("notes"),
    moment("submitted_at", now=True),
    Column("verdict", Text),
    text("verdict_reason", nullable=True),
    Column("reviewed_by", Uuid, ForeignKey("users.id")),
    moment("reviewed_at"),
    moment("images_erased_at"),
    PrimaryKeyConstraint("subject_id", "number"),
    one_of("verdict", Verdict),
    CheckConstraint("number > 0", name="number_positive"),
    CheckConstraint("cardinality(image_ids) > 0", name="has_images"),
    # The walls behind "two reviewers at once: one decision", and behind "nobody reviews the own work".
    CheckConstraint(
        "(verdict IS NULL) = (reviewed_by IS NULL) AND (verdict IS NULL) = (reviewed_at IS NULL)", name="verdict_whole"
    ),
    CheckConstraint("verdict <> 'rejected' OR verdict_reason IS NOT NULL", name="rejection_has_reason"),
    CheckConstraint("reviewed_by <> submitted_by", name="reviewed_by_another"),
    Index("evidence_rounds_open", "subject_id", unique=True, postgresql_where=sql("verdict IS NULL")),
)
