//! The database: inbox, work, grants, entitlements, events. SQLite or PostgreSQL through sqlx.
