//! Files inside archives: `.tgz` and `.tar.gz`, `.whl` and `.zip`, `.deb`. Nothing is unpacked to disk.

use super::FetchError;
use flate2::read::GzDecoder;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

/// The most bytes that are read out of an archive at once.
const LIMIT: u64 = 1 << 30;

/// Whether to go on with the next file.
enum Next {
    Go,
    Stop,
}

type Visit<'a> = dyn FnMut(&str, &mut dyn Read) -> io::Result<Next> + 'a;

/// The content of the file `wanted`.
pub(super) fn member(archive: &Path, wanted: &str) -> Result<Vec<u8>, FetchError> {
    let mut found = None;
    walk(archive, &mut |name, content| {
        if name != wanted {
            return Ok(Next::Go);
        }
        found = Some(whole(content, LIMIT)?);
        Ok(Next::Stop)
    })?;
    found.ok_or_else(|| content(archive, format!("there is no {wanted} inside")))
}

/// The files whose path `accept` takes.
pub(super) fn members(
    archive: &Path,
    accept: &mut dyn FnMut(&str) -> bool,
) -> Result<Vec<(String, Vec<u8>)>, FetchError> {
    members_within(archive, accept, LIMIT)
}

fn members_within(
    archive: &Path,
    accept: &mut dyn FnMut(&str) -> bool,
    limit: u64,
) -> Result<Vec<(String, Vec<u8>)>, FetchError> {
    let mut found = Vec::new();
    let mut left = limit;
    walk(archive, &mut |name, content| {
        if accept(name) {
            let bytes = whole(content, left)?;
            left -= bytes.len() as u64;
            found.push((name.to_string(), bytes));
        }
        Ok(Next::Go)
    })?;
    Ok(found)
}

fn content(path: &Path, message: String) -> FetchError {
    FetchError::Content {
        path: path.to_path_buf(),
        message,
    }
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// Reads a file to its end. The size that the archive states is not believed: memory grows with what
/// is there, up to `limit`.
fn whole(content: &mut dyn Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    content
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(invalid(format!("more than {limit} bytes would be read")));
    }
    Ok(bytes)
}

/// Shows each ordinary file. Links, devices and folders are passed over; a path that leads out of the
/// archive is an error.
fn walk(path: &Path, visit: &mut Visit<'_>) -> Result<(), FetchError> {
    let name = path
        .file_name()
        .and_then(|n| n.to_str())
        .unwrap_or_default();
    let file = File::open(path).map_err(|e| FetchError::io(path, "read", e))?;
    let file = BufReader::with_capacity(1 << 16, file);
    let result = if name.ends_with(".tgz") || name.ends_with(".tar.gz") {
        tarball(GzDecoder::new(file), visit)
    } else if name.ends_with(".whl") || name.ends_with(".zip") {
        zip(file, visit)
    } else if name.ends_with(".deb") {
        deb(file, visit)
    } else {
        Err(invalid("is no kind of archive that can be read".into()))
    };
    result.map_err(|e| content(path, e.to_string()))
}

/// A path inside an archive without a leading `./`; `None` for one that leads out of it.
fn inside(path: &str) -> Option<&str> {
    let path = path.strip_prefix("./").unwrap_or(path);
    let leaves = path.starts_with('/')
        || path.contains(['\\', '\0'])
        || path.split('/').any(|part| part == "..");
    (!leaves).then_some(path)
}

fn tarball(reader: impl Read, visit: &mut Visit<'_>) -> io::Result<()> {
    let mut archive = tar::Archive::new(reader);
    for entry in archive.entries()? {
        let mut entry = entry?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let path = inside(&path)
            .ok_or_else(|| invalid(format!("the path {path} leads out of the archive")))?
            .to_string();
        if let Next::Stop = visit(&path, &mut entry)? {
            return Ok(());
        }
    }
    // The packed stream ends with its own checks.
    io::copy(&mut archive.into_inner(), &mut io::sink())?;
    Ok(())
}

fn zip(reader: impl Read + io::Seek, visit: &mut Visit<'_>) -> io::Result<()> {
    let mut archive = zip::ZipArchive::new(reader)?;
    for index in 0..archive.len() {
        let mut file = archive.by_index(index)?;
        if !file.is_file() || file.is_symlink() {
            continue;
        }
        let path = file.name().map_err(io::Error::other)?.into_owned();
        let path = inside(&path)
            .ok_or_else(|| invalid(format!("the path {path} leads out of the archive")))?
            .to_string();
        if let Next::Stop = visit(&path, &mut file)? {
            break;
        }
    }
    Ok(())
}

/// A Debian package: an `ar` archive whose `data.tar.*` holds the files.
fn deb(reader: impl Read, visit: &mut Visit<'_>) -> io::Result<()> {
    let mut archive = ar::Archive::new(reader);
    while let Some(entry) = archive.next_entry() {
        let entry = entry?;
        let name = String::from_utf8_lossy(entry.header().identifier()).into_owned();
        match name.trim_end_matches('/') {
            "data.tar.xz" => return tarball(lzma_rust2::XzReader::new(entry, true), visit),
            "data.tar.gz" => return tarball(GzDecoder::new(entry), visit),
            "data.tar" => return tarball(entry, visit),
            other if other.starts_with("data.tar") => {
                return Err(invalid(format!(
                    "{other} is packed in a way that cannot be read"
                )));
            }
            _ => {}
        }
    }
    Err(invalid("there is no data.tar inside".into()))
}

#[cfg(test)]
#[path = "archive_tests.rs"]
mod tests;
