//! YAML that nobody vouches for: [`node`] reads it into a tree with places, [`decode`] makes values of it and collects every
//! mistake, and tells its shape as JSON Schema.

pub(crate) mod decode;
pub(crate) mod node;
mod written;

pub(crate) use decode::{
    At, Decode, Entries, Report, Schemas, decode_from_text, document, one_of_keys, one_of_words, read_as,
};
pub(crate) use node::{Node, Spot, Value, read};
