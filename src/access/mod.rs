//! The rules of just-in-time access: request -> decision -> approval -> grant -> plan. Pure: facts and a time are arguments.

pub mod approval;
pub mod case;
pub mod change;
pub mod command;
pub mod coverage;
pub mod decide;
pub mod emergency;
pub mod entitlements;
pub mod explain;
pub mod extension;
pub mod facts;
pub mod forfeit;
pub mod given;
pub mod grant;
pub mod history;
pub mod impact;
pub mod in_force;
pub mod judgement;
mod machine;
pub mod plan;
pub mod principals;
pub mod reach;
pub mod rehearsal;
pub mod removal;
pub mod start;
pub mod text;
