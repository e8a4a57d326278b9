"""The state of the alerts, and what is to be said about them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "alerts",
        sa.Column("rule", sa.String(length=64), nullable=False),
        sa.Column("is_firing", sa.Boolean(), nullable=False),
        sa.Column("since", _TIME, nullable=False),
        sa.Column("differs_since", _TIME, nullable=True),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("looked_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("rule"),
    )
    op.create_table(
        "alert_notices",
        sa.Column("seq", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("rule", sa.String(length=64), nullable=False),
        sa.Column("sink", sa.String(length=32), nullable=False),
        sa.Column("message", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("not_before", _TIME, nullable=False),
        sa.Column("sent_at", _TIME, nullable=True),
        sa.Column("given_up_at", _TIME, nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("seq"),
        sqlite_autoincrement=True,
    )
    op.create_index("alert_notices_by_sink", "alert_notices", ["sink", "sent_at"], unique=False)
    op.create_index("ix_alert_notices_created_at", "alert_notices", ["created_at"], unique=False)


def downgrade() -> None:
    """Drop them."""
    op.drop_table("alert_notices")
    op.drop_table("alerts")
