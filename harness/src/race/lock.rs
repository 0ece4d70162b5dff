//! One writer per folder: a lock file that holds its owner's process id.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use velodrome_results::RecordError;

/// Why a folder could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds it.
    #[error("{path} is in use by process {pid}")]
    Busy {
        /// The folder.
        path: PathBuf,
        /// Process id of the holder, as far as it has written it.
        pid: String,
    },
    /// The file system has no locks, as some network file systems do not. To go on without one would let two
    /// runners write into one folder unseen.
    #[error("{path}: cannot lock: {source}; choose a folder on a local disk")]
    Refused {
        /// The lock file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The lock file cannot be made.
    #[error(transparent)]
    Io(#[from] RecordError),
}

/// A held lock; dropping it (or the death of the process) frees it.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Locks `folder`, trying for up to `patience`.
    pub fn acquire(folder: &Path, patience: Duration) -> Result<Self, LockError> {
        let path = folder.join(".lock");
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|e| RecordError::io(&path, "create", e))?;
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if start.elapsed() < patience => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(TryLockError::WouldBlock) => {
                    let mut pid = String::new();
                    // The holder may not have written its number yet.
                    let _ = file.read_to_string(&mut pid);
                    let pid = pid.trim();
                    return Err(LockError::Busy {
                        path: folder.to_path_buf(),
                        pid: if pid.is_empty() { "?" } else { pid }.to_string(),
                    });
                }
                Err(TryLockError::Error(source)) => {
                    return Err(LockError::Refused { path, source });
                }
            }
        }
        let written = file
            .set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| writeln!(file, "{}", std::process::id()))
            .and_then(|()| file.flush());
        written.map_err(|e| RecordError::io(&path, "write", e))?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_refused_with_the_first_ones_number() {
        let folder = tempfile::tempdir().unwrap();
        let held = Lock::acquire(folder.path(), Duration::ZERO).unwrap();
        let refused = Lock::acquire(folder.path(), Duration::ZERO).unwrap_err();
        assert!(
            refused
                .to_string()
                .contains(&std::process::id().to_string())
        );
        drop(held);
        Lock::acquire(folder.path(), Duration::ZERO).unwrap();
    }
}
