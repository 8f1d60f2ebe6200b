//! YAML that nobody vouches for: [`node`] reads it into a tree with places, [`decode`] makes values of it and collects every
//! mistake, [`declare`] says what shapes there are.

pub(crate) mod declare;
pub(crate) mod decode;
pub(crate) mod node;
mod written;

pub(crate) use declare::{decode_from_text, document, one_of_words};
pub(crate) use decode::{At, Decode, Entries, Report, Schemas, read_as};
pub(crate) use node::{Made, Node, Spot, Value, read};
