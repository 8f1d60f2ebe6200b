//! The `daypass` program: hands over to `cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    // One provider for every TLS connection of the process; a second call would only say that there is one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    daypass::cli::main()
}
