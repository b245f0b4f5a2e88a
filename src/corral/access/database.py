"""What is in the database of API keys."""

from __future__ import annotations

from corral.database import Schema

KEYS = Schema(
    "the database of keys",
    "CORRAL_KEYS",
    "CORRAL_AUTH=off to serve without keys",
    (
        (
            """
            CREATE TABLE keys (
                id TEXT PRIMARY KEY,
                name TEXT NOT NULL,
                digest BLOB NOT NULL,
                scopes TEXT NOT NULL,
                models TEXT,
                created_ns INTEGER NOT NULL,
                expires_ns INTEGER NOT NULL DEFAULT 0,
                disabled_ns INTEGER NOT NULL DEFAULT 0,
                note TEXT NOT NULL DEFAULT '',
                old_digest BLOB NOT NULL DEFAULT x'',
                old_until_ns INTEGER NOT NULL DEFAULT 0
            ) STRICT, WITHOUT ROWID
            """,
        ),
        (
            "ALTER TABLE keys ADD COLUMN rpm INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE keys ADD COLUMN tpm INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE keys ADD COLUMN tokens_per_day INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE keys ADD COLUMN max_parallel INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE keys ADD COLUMN max_predict INTEGER NOT NULL DEFAULT 0",
        ),
        (
            "ALTER TABLE keys ADD COLUMN priority TEXT NOT NULL DEFAULT 'normal'"
            " CHECK (priority IN ('interactive', 'normal', 'batch'))",
        ),
    ),
)
