//! Stories about the embedded GitHub itself.
