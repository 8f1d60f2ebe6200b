//! The rules of just-in-time access: request -> decision -> approval -> grant -> plan. Pure: facts and a time are arguments.

pub mod facts;
