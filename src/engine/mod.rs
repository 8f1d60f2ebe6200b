//! The shell: takes deliveries, calls the pure core, carries out its plans, keeps the clock.

pub mod clock;
