//! The record: events, hash chain, reading history from git.
