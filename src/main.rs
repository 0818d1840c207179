//! Parse, dispatch, exit code; nothing else.

use std::process::ExitCode;

/// Replies of large fleets are read and freed by the megabyte: this keeps the peak down and is faster than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ExitCode::from(lbdeck::cli::main().code())
}
