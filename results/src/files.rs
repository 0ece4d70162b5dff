//! Reading and writing whole files: versioned JSON in, all or nothing out.
//!
//! The last member of a record that [`write_versioned`] wrote is `"crc"`, the CRC-32 (IEEE) in hexadecimal of
//! the file's text without that member: a bit that changes on the disk is found when the record is read.

use crate::error::RecordError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Component, Path};

/// A record whose member `format` says which version of it was written.
pub trait Versioned: DeserializeOwned {
    /// The `format` that this version of Velodrome reads.
    const FORMAT: &'static str;

    /// The `format` that was found.
    fn format(&self) -> &str;

    /// What is wrong with a value of a field, naming the field: a record from elsewhere may say anything.
    fn fault(&self) -> Option<String> {
        None
    }
}

/// What stands between the content of a record and its checksum.
const CRC: &str = ",\n  \"crc\": \"";

/// Reads a JSON file whose member `format` must be [`Versioned::FORMAT`] and whose checksum, where there is
/// one, must fit.
///
/// # Errors
/// [`RecordError`], which names the file, and the line where the content is wrong.
pub fn read_versioned<T: Versioned>(path: &Path) -> Result<T, RecordError> {
    let bytes = std::fs::read(path).map_err(|e| RecordError::io(path, "read", e))?;
    let text = std::str::from_utf8(&bytes).map_err(|e| {
        let before = &bytes[..e.valid_up_to()];
        let line = 1 + before.iter().filter(|b| **b == b'\n').count();
        RecordError::damaged(path, line, format!("not valid UTF-8: {e}"))
    })?;
    parse_versioned(path, text)
}

/// The same for text that was read already; `path` is where errors say that it stood.
pub(crate) fn parse_versioned<T: Versioned>(path: &Path, text: &str) -> Result<T, RecordError> {
    match serde_json::from_str::<T>(text) {
        Ok(record) if record.format() == T::FORMAT => {
            let fault = check_crc(text).err().or_else(|| record.fault());
            match fault {
                None => Ok(record),
                Some(message) => Err(RecordError::damaged(path, None, message)),
            }
        }
        Ok(record) => Err(version::<T>(path, record.format())),
        Err(error) => Err(refusal::<T>(path, text, &error)),
    }
}

/// Holds `text` against its checksum. Records that another tool wrote again, and those of archives, have
/// none.
fn check_crc(text: &str) -> Result<(), String> {
    let Some((content, tail)) = text.rsplit_once(CRC) else {
        return Ok(());
    };
    let written = tail
        .strip_suffix("\"\n}\n")
        .ok_or("the file does not end behind field `crc`: it was changed")?;
    let found = format!("{:08x}", crc32fast::hash(content.as_bytes()));
    if written != found {
        return Err(format!(
            "field `crc` is {written}, but the file's content gives {found}: it was changed"
        ));
    }
    Ok(())
}

/// Why `text` is no record: another version has other members, so its `format` speaks first.
fn refusal<T: Versioned>(path: &Path, text: &str, error: &serde_json::Error) -> RecordError {
    #[derive(serde::Deserialize)]
    struct Head {
        format: Option<serde_json::Value>,
    }
    let head: Head = match serde_json::from_str(text) {
        Ok(head) => head,
        Err(e) => return RecordError::damaged(path, e.line(), format!("not valid JSON: {e}")),
    };
    match head.format.as_ref().and_then(|f| f.as_str()) {
        None => RecordError::damaged(path, None, "field `format` is missing"),
        Some(found) if found == T::FORMAT => {
            RecordError::damaged(path, error.line(), error.to_string())
        }
        Some(found) => version::<T>(path, found),
    }
}

fn version<T: Versioned>(path: &Path, found: &str) -> RecordError {
    RecordError::Version {
        path: path.to_path_buf(),
        found: found.to_string(),
        expected: T::FORMAT,
    }
}

/// Writes a record as indented JSON to `path`, whole or not at all, with its checksum.
///
/// # Errors
/// [`RecordError`], which names the file.
pub fn write_versioned<T: Versioned + Serialize>(
    path: &Path,
    record: &T,
) -> Result<(), RecordError> {
    let text = serde_json::to_string_pretty(record)
        .map_err(|e| RecordError::damaged(path, None, e.to_string()))?;
    let content = text.strip_suffix("\n}").unwrap_or(&text);
    let crc = crc32fast::hash(content.as_bytes());
    write_atomic(path, format!("{content}{CRC}{crc:08x}\"\n}}\n").as_bytes())
}

/// Whether `name` can be the name of a file in a folder: one part of a path, which leads nowhere else.
pub fn is_plain_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    // `a/` and `a/.` are the path of `a` too, and `\` separates on one system only.
    let whole = parts.next() == Some(Component::Normal(name.as_ref()));
    whole && parts.next().is_none() && !name.contains(['/', '\\', ':', '\0'])
}

/// Writes `value` as indented JSON to `path`, whole or not at all: for files in forms of other tools, which know
/// no checksum. Records go through [`write_versioned`].
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), RecordError> {
    let mut bytes = serde_json::to_vec_pretty(value)
        .map_err(|e| RecordError::damaged(path, None, e.to_string()))?;
    bytes.push(b'\n');
    write_atomic(path, &bytes)
}

/// Writes `bytes` to `path` through a temporary file beside it, so that a reader (or a crash) sees
/// the old content or the new, never a part. For files with one writer at a time: those of a locked folder.
/// A temporary file that a killed process left behind is written over by the next one.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), RecordError> {
    write_through(path, ".tmp", bytes)
}

/// [`write_atomic`] for files that several processes may write at a time, each through a temporary file of its
/// own: what anyone may make of the records, while they are raced or afterwards.
pub fn write_shared(path: &Path, bytes: &[u8]) -> Result<(), RecordError> {
    write_through(path, &format!(".{}.tmp", std::process::id()), bytes)
}

fn write_through(path: &Path, ending: &str, bytes: &[u8]) -> Result<(), RecordError> {
    use std::io::Write;
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(ending);
    let tmp = path.with_file_name(name);
    let result = (|| {
        let mut file = std::fs::File::create(&tmp)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&tmp, path)
    })();
    result.map_err(|e| {
        // Best effort: a left-over temporary file is harmless, the error is what matters.
        let _ = std::fs::remove_file(&tmp);
        RecordError::io(path, "write", e)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_name_stays_in_its_folder() {
        for name in ["digits_mlp.adamw.study-1.trial-1", "..a", "a b", "é"] {
            assert!(is_plain_name(name), "{name}");
        }
        for name in [
            "", ".", "..", "../a", "/a", "a/b", "a/", "a/.", "./a", "a\\b", "C:a", "a\0b",
        ] {
            assert!(!is_plain_name(name), "{name:?}");
        }
    }
}
