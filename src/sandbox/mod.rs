//! An embedded GitHub for the demo and the tests.
