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
        let deb = write(folder.path(), "x.deb", &deb_of("data.tar.gz", &gz(&tar)));
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

    /// `a/two` with the content `22`, packed by `tar` and `xz -9`.
    const XZ: &str = "fd377a585a000004e6d6b446020021011c00000010cf58cce027ff00665d00308bca87b3e61a675d6a\
        ba706e1526f59a8b2513aac62ccb2df52c0093244778de350e6e9260723bddad157478cad4012170a7d9b00637de9b\
        e31068ad79e798cf36a9bceedd3d891156e0d6fa0852621fd91c1943cf6019ac41f7011c742d546c59a38c9e000000\
        008176cb237d9b60d9000182018050000035d0a82cb1c467fb020000000004595a";

    fn deb_of(name: &str, data: &[u8]) -> Vec<u8> {
        let mut deb = ar::Builder::new(Vec::new());
        for (name, bytes) in [("debian-binary", b"2.0\n".as_slice()), (name, data)] {
            let header = ar::Header::new(name.into(), bytes.len() as u64);
            deb.append(&header, bytes).unwrap();
        }
        deb.into_inner().unwrap()
    }

    #[test]
    fn debian_packages_are_packed_by_xz() {
        let folder = tempfile::tempdir().unwrap();
        let xz: Vec<u8> = (0..XZ.len() / 2)
            .map(|i| u8::from_str_radix(&XZ[2 * i..2 * i + 2], 16).unwrap())
            .collect();
        let deb = write(folder.path(), "x.deb", &deb_of("data.tar.xz", &xz));
        assert_eq!(member(&deb, "a/two").unwrap(), b"22");
        for at in 0..xz.len() - 30 {
            let cut = write(folder.path(), "x.deb", &deb_of("data.tar.xz", &xz[..at]));
            assert!(members(&cut, &mut |_| true).is_err(), "{at}");
            // A flipped bit ends in the right content or in an error, never in another content.
            let mut flipped = xz.clone();
            flipped[at] ^= 0x10;
            let deb = write(folder.path(), "x.deb", &deb_of("data.tar.xz", &flipped));
            let right = |files: Vec<(String, Vec<u8>)>| files == [("a/two".into(), b"22".to_vec())];
            assert!(members(&deb, &mut |_| true).map_or(true, right), "{at}");
        }
        let other = write(folder.path(), "x.deb", &deb_of("data.tar.zst", &xz));
        let error = member(&other, "a/two").unwrap_err().to_string();
        assert!(error.contains("data.tar.zst"), "{error}");
    }

    #[test]
    fn what_is_read_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let files: &[(&str, &[u8])] = &[("a", b"123"), ("b", b"45"), ("c", b"678")];
        let tgz = write(folder.path(), "x.tgz", &gz(&tar_of(files)));
        let read = |limit| members_within(&tgz, &mut |name| name != "b", limit);
        assert_eq!(read(6).unwrap().len(), 2);
        let error = read(5).unwrap_err().to_string();
        assert!(error.contains("more than"), "{error}");
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
