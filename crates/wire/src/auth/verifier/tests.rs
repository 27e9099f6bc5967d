//! Verifiers made by PostgreSQL.
