//! The `daypass` program: parse the command line, hand over to `cli`.

fn main() {}
