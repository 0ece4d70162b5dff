//! Files inside archives: `.tgz` and `.tar.gz`, `.whl` and `.zip`, `.deb`. Nothing is unpacked to disk.

use super::FetchError;
use flate2::read::GzDecoder;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

/// The most bytes that one file inside an archive may have.
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
        found = Some(whole(content)?);
        Ok(Next::Stop)
    })?;
    found.ok_or_else(|| content(archive, format!("there is no {wanted} inside")))
}

/// The files whose path `accept` takes.
pub(super) fn members(
    archive: &Path,
    accept: &mut dyn FnMut(&str) -> bool,
) -> Result<Vec<(String, Vec<u8>)>, FetchError> {
    let mut found = Vec::new();
    walk(archive, &mut |name, content| {
        if accept(name) {
            found.push((name.to_string(), whole(content)?));
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
/// is there, up to [`LIMIT`].
fn whole(content: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    content.take(LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LIMIT {
        return Err(invalid(format!("a file has more than {LIMIT} bytes")));
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
    let leaves =
        path.starts_with('/') || path.contains('\\') || path.split('/').any(|part| part == "..");
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
            break;
        }
    }
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
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            // Written by hand, since the library refuses the paths that a hostile archive has.
            header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_cksum();
            builder.append(&header, *bytes).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn gz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn write(folder: &Path, name: &str, bytes: &[u8]) -> std::path::PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    #[test]
    fn each_kind_of_archive_gives_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let files: &[(&str, &[u8])] = &[("./a/one", b"1"), ("a/two", b"22")];
        let tar = tar_of(files);
        let tgz = write(folder.path(), "x.tgz", &gz(&tar));
        let mut zip = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        for (path, bytes) in files {
            let options = zip::write::SimpleFileOptions::default();
            zip.start_file(path.trim_start_matches("./"), options)
                .unwrap();
            zip.write_all(bytes).unwrap();
        }
        let whl = write(folder.path(), "x.whl", &zip.finish().unwrap().into_inner());
        let mut deb = ar::Builder::new(Vec::new());
        for (name, bytes) in [
            ("debian-binary", b"2.0\n".to_vec()),
            ("data.tar.gz", gz(&tar)),
        ] {
            let header = ar::Header::new(name.into(), bytes.len() as u64);
            deb.append(&header, &bytes[..]).unwrap();
        }
        let deb = write(folder.path(), "x.deb", &deb.into_inner().unwrap());
        for archive in [tgz, whl, deb] {
            assert_eq!(member(&archive, "a/two").unwrap(), b"22");
            let all = members(&archive, &mut |p| p.starts_with("a/")).unwrap();
            assert_eq!(
                all,
                [
                    ("a/one".into(), b"1".to_vec()),
                    ("a/two".into(), b"22".to_vec())
                ]
            );
            let error = member(&archive, "a/three").unwrap_err().to_string();
            assert!(error.contains("a/three"), "{error}");
        }
    }

    #[test]
    fn paths_that_lead_out_are_refused_and_links_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["../out", "/etc/out", "a/../../out"] {
            let bad = write(folder.path(), "x.tgz", &gz(&tar_of(&[(path, b"1")])));
            let error = members(&bad, &mut |_| true).unwrap_err().to_string();
            assert!(error.contains(path), "{error}");
        }
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        builder
            .append_link(&mut header, "link", "/etc/passwd")
            .unwrap();
        let links = write(folder.path(), "y.tgz", &gz(&builder.into_inner().unwrap()));
        assert!(members(&links, &mut |_| true).unwrap().is_empty());
    }

    #[test]
    fn cut_archives_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let noise: Vec<u8> = (0..40_000u32).map(|i| ((i * i) >> 7) as u8).collect();
        let whole = gz(&tar_of(&[("a", &noise)]));
        for at in (0..whole.len()).step_by(whole.len() / 17 + 1) {
            for name in ["x.tgz", "x.whl", "x.deb"] {
                let cut = write(folder.path(), name, &whole[..at]);
                assert!(member(&cut, "a").is_err(), "{name} {at}");
            }
        }
    }
}
