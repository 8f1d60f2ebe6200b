//! What the YAML says: parsing with places, names, conditions, findings. Pure: bytes in, values and findings out.

pub mod calendar;
pub mod condition;
pub mod duration;
pub mod entitlement;
pub mod finding;
pub mod judge;
pub mod kind;
pub mod model;
pub mod name;
pub mod principal;
pub mod render;
pub mod request;
pub mod schema;
pub mod testcase;

mod code;
mod document;
mod expand;
mod lint;
mod resolve;
mod suggest;
mod yaml;

pub use code::{Code, UnknownCode};
pub use duration::Duration;
pub use finding::{Finding, Place, Severity};
pub use lint::unused_ceilings;
pub use model::Policy;
pub use principal::Principal;
pub use request::Request;
pub use resolve::{Loaded, POLICY_LIMIT, load};
pub use suggest::suggest;
