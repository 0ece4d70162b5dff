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

/// An entry of a tar archive, written by hand: the library refuses what a hostile archive has.
fn entry(kind: tar::EntryType, path: &str, link: &str, bytes: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(bytes.len() as u64);
    let gnu = header.as_gnu_mut().unwrap();
    gnu.name[..path.len()].copy_from_slice(path.as_bytes());
    gnu.linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_cksum();
    let mut block = header.as_bytes().to_vec();
    block.extend(bytes);
    block.resize(block.len().next_multiple_of(512), 0);
    block
}

/// The archive of `entries` in each of the forms that hold a tar archive.
fn in_all_forms(folder: &Path, entries: &[Vec<u8>]) -> Vec<std::path::PathBuf> {
    let mut tar = entries.concat();
    tar.resize(tar.len() + 1024, 0);
    vec![
        write(folder, "x.tgz", &gz(&tar)),
        write(folder, "x.tar.gz", &gz(&tar)),
        write(folder, "x.deb", &deb_of("data.tar", &tar)),
        write(folder, "y.deb", &deb_of("data.tar.gz", &gz(&tar))),
    ]
}

#[test]
fn links_and_devices_give_no_file_and_lead_nowhere() {
    use tar::EntryType::*;
    let folder = tempfile::tempdir().unwrap();
    let secret = write(folder.path(), "secret", b"secret");
    let secret = secret.to_str().unwrap();
    let file = |path: &str| entry(Regular, path, "", b"1");
    for kind in [Symlink, Link, Char, Block, Fifo, Directory, Continuous] {
        for to in [secret, "../secret", "a"] {
            // A file below a link is a file of that name, and not where the link leads.
            let entries = [entry(kind, "link", to, b""), file("link/b"), file("a")];
            for archive in in_all_forms(folder.path(), &entries) {
                let found = members(&archive, &mut |_| true).unwrap();
                let expected = ["link/b", "a"].map(|path| (path.to_string(), b"1".to_vec()));
                assert_eq!(found, expected, "{kind:?} {to}");
                assert!(member(&archive, "link").is_err());
            }
        }
    }
}

#[test]
fn long_names_lead_out_no_more_than_short_ones() {
    use tar::EntryType::*;
    let folder = tempfile::tempdir().unwrap();
    let far = format!("{}../../out", "a/".repeat(80));
    let pax = |path: &str| {
        let field = format!(" path={path}\n");
        let length = (1..)
            .find(|n: &usize| n.to_string().len() + field.len() == *n)
            .unwrap();
        entry(XHeader, "pax", "", format!("{length}{field}").as_bytes())
    };
    let gnu = |path: &str| {
        entry(
            GNULongName,
            "././@LongLink",
            "",
            format!("{path}\0").as_bytes(),
        )
    };
    for path in [far.as_str(), "/etc/out", "../out", "..", "a\\out"] {
        for long in [pax(path), gnu(path)] {
            let entries = [long, entry(Regular, "short", "", b"1")];
            for archive in in_all_forms(folder.path(), &entries) {
                let error = members(&archive, &mut |_| true).unwrap_err().to_string();
                assert!(
                    error.contains("leads out of the archive"),
                    "{path}: {error}"
                );
            }
        }
    }
}

/// A zip archive with a name and a mode of its own, as its central directory states them.
fn zip_of(path: &str, mode: u32) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().unix_permissions(0o644);
    let plain = "x".repeat(path.len());
    zip.start_file(plain.as_str(), options).unwrap();
    zip.write_all(b"1").unwrap();
    let mut bytes = zip.finish().unwrap().into_inner();
    let found: Vec<usize> = (0..bytes.len())
        .filter(|at| bytes[*at..].starts_with(plain.as_bytes()))
        .collect();
    assert_eq!(found.len(), 2, "the name stands twice");
    for at in found {
        bytes[at..at + path.len()].copy_from_slice(path.as_bytes());
    }
    // The central directory's entry: its external attributes have the mode above.
    let entry = bytes.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    bytes[entry + 38..entry + 42].copy_from_slice(&(mode << 16).to_le_bytes());
    bytes
}

#[test]
fn zip_archives_lead_nowhere_either() {
    let folder = tempfile::tempdir().unwrap();
    let of = |path: &str, mode: u32| {
        let archive = write(folder.path(), "x.whl", &zip_of(path, mode));
        members(&archive, &mut |_| true).map_err(|e| e.to_string())
    };
    assert_eq!(
        of("a/b", 0o100_644),
        Ok(vec![("a/b".to_string(), b"1".to_vec())])
    );
    assert_eq!(of("link", 0o120_777), Ok(Vec::new()));
    assert_eq!(of("folder/", 0o040_755), Ok(Vec::new()));
    for path in ["../out", "/etc/out", "a/../../out", "a\\..\\out"] {
        let error = of(path, 0o100_644).unwrap_err();
        assert!(
            error.contains("leads out of the archive"),
            "{path}: {error}"
        );
    }
}
