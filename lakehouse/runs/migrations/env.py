"""Runs the migrations in the transaction that `Database.migrate` has opened."""

from __future__ import annotations

from alembic import context

from lakehouse.runs.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
