//! Standard output and standard error. Results go to the first, everything else to the second, so
//! that `velodrome … --format json > FILE` stays clean.

use crate::failure::Failure;
use comfy_table::{ContentArrangement, Table, presets};
use std::io::{IsTerminal, Write};

/// Where the command writes.
pub(crate) struct Console {
    out: Box<dyn Write>,
    /// For events and messages.
    pub(crate) err: Box<dyn Write>,
    /// Columns of the terminal behind standard output; `None` where there is none.
    pub(crate) width: Option<u16>,
    /// Whether standard error is a terminal.
    pub(crate) err_is_terminal: bool,
}

impl Console {
    /// The process's own streams.
    pub(crate) fn standard() -> Self {
        let terminal = std::io::stdout().is_terminal();
        Self {
            out: Box::new(std::io::stdout()),
            err: Box::new(std::io::stderr()),
            width: Table::new().width().filter(|_| terminal),
            err_is_terminal: std::io::stderr().is_terminal(),
        }
    }

    /// Whether standard output is a terminal.
    pub(crate) fn out_is_terminal(&self) -> bool {
        self.width.is_some()
    }

    /// Writes a result to standard output.
    pub(crate) fn print(&mut self, text: impl AsRef<[u8]>) -> Result<(), Failure> {
        let written = self.out.write_all(text.as_ref());
        written
            .and_then(|()| self.out.flush())
            .map_err(Failure::Output)
    }

    /// Writes a value to standard output as indented JSON.
    pub(crate) fn print_json(&mut self, value: &impl serde::Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|e| Failure::Internal(format!("cannot write JSON: {e}")))?;
        self.print(text + "\n")
    }

    /// Writes a line to standard error. Nobody is left to tell when that fails.
    pub(crate) fn note(&mut self, line: impl std::fmt::Display) {
        let _ = writeln!(self.err, "{line}");
    }

    /// A text table that fits the terminal.
    pub(crate) fn table(&self, header: &[&str], rows: Vec<Vec<String>>) -> String {
        let mut table = Table::new();
        table
            .force_no_tty()
            .load_style(presets::UTF8_BORDERS_ONLY)
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(header)
            .add_rows(rows);
        if let Some(width) = self.width {
            table
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_width(width);
        }
        format!("{}\n", table.trim_fmt())
    }
}

#[cfg(test)]
pub(crate) mod capture {
    //! A console whose output tests can read.

    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;

    #[derive(Clone, Default)]
    pub(crate) struct Buffer(Rc<RefCell<Vec<u8>>>);

    impl Buffer {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.borrow().clone()).unwrap()
        }
    }

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.borrow_mut().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// A stream whose reader is gone.
    pub(crate) struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Console {
        /// A console without a terminal, and its standard output and standard error.
        pub(crate) fn captured() -> (Self, Buffer, Buffer) {
            let (out, err) = (Buffer::default(), Buffer::default());
            let console = Self {
                out: Box::new(out.clone()),
                err: Box::new(err.clone()),
                width: None,
                err_is_terminal: false,
            };
            (console, out, err)
        }

        /// A console whose standard output nobody reads.
        pub(crate) fn unread() -> Self {
            let (console, ..) = Self::captured();
            Self {
                out: Box::new(Closed),
                ..console
            }
        }
    }
}
