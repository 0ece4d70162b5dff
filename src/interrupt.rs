//! Ctrl-C.

use std::io::Write;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
static INSTALL: Once = Once::new();

/// The flag that Ctrl-C (and SIGTERM and SIGHUP) set; the first call installs the handler. A second
/// signal ends the process at once: records survive that, since each is written whole.
pub(crate) fn flag() -> &'static AtomicBool {
    INSTALL.call_once(|| {
        // Where no handler can be installed the signal ends the process, and the same command
        // continues from the last checkpoint all the same.
        let _ = ctrlc::set_handler(|| {
            if INTERRUPTED.swap(true, Ordering::SeqCst) {
                std::process::exit(i32::from(crate::Exit::Interrupted.code()));
            }
            let _ = writeln!(
                std::io::stderr(),
                "\nstopping at the next safe point (Ctrl-C again: at once); the same command \
                 continues"
            );
        });
    });
    &INTERRUPTED
}
