//! axum: the webhook entrance, health, later API and dashboard.
