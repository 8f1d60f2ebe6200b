//! What the YAML says: parsing with places, names, conditions, findings. Pure: bytes in, values and findings out.

pub mod condition;
pub mod duration;
pub mod entitlement;
pub mod finding;
pub mod model;
pub mod name;
pub mod principal;
pub mod request;

pub use duration::Duration;
pub use finding::{Finding, Place, Severity};
pub use model::Policy;
pub use principal::Principal;
pub use request::Request;

/// A finding's stable code.
pub type Code = String;
