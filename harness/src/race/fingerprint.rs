//! The machine and the build, as far as they matter to results.

use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use velodrome_results::{Fingerprint, RecordError, TrialRecord};

/// Version of burn that this build uses (pinned in the workspace manifest).
pub const BURN_VERSION: &str = "0.22.1";

/// Takes the fingerprint of this machine and build for a race on `device` with `threads`.
pub fn take(device: &str, threads: usize, executable: &str) -> Fingerprint {
    let system = sysinfo::System::new_with_specifics(
        sysinfo::RefreshKind::nothing()
            .with_cpu(sysinfo::CpuRefreshKind::nothing())
            .with_memory(sysinfo::MemoryRefreshKind::nothing().with_ram()),
    );
    let cpu = system
        .as_ref()
        .ok()
        .and_then(|s| s.cpus().first())
        .map(|c| c.brand().trim().to_string())
        .unwrap_or_default();
    let mut features = Vec::new();
    if cfg!(feature = "ndarray") {
        features.push("ndarray".to_string());
    }
    if cfg!(feature = "cuda") {
        features.push("cuda".to_string());
    }
    let versions = [
        ("velodrome", env!("CARGO_PKG_VERSION")),
        ("burn", BURN_VERSION),
    ];
    Fingerprint {
        cpu,
        cores: cores(),
        cpu_flags: cpu_flags(),
        memory_bytes: system.map_or(0, |s| s.total_memory()),
        accelerator: accelerator(device),
        os: format!(
            "{} {}",
            sysinfo::System::long_os_version().unwrap_or_else(|_| std::env::consts::OS.into()),
            sysinfo::System::kernel_version().unwrap_or_default()
        ),
        device: device.to_string(),
        features,
        threads,
        rustc: env!("VELODROME_RUSTC").to_string(),
        versions: versions
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .into_iter()
            .collect::<BTreeMap<_, _>>(),
        commit: env!("VELODROME_COMMIT").to_string(),
        executable: executable.to_string(),
    }
}

/// Logical processors that this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn cpu_flags() -> Vec<String> {
    let mut flags: Vec<&str> = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        if std::is_x86_feature_detected!("avx2") {
            flags.push("avx2");
        }
        if std::is_x86_feature_detected!("fma") {
            flags.push("fma");
        }
        if std::is_x86_feature_detected!("avx512f") {
            flags.push("avx512f");
        }
    }
    #[cfg(target_arch = "aarch64")]
    if std::arch::is_aarch64_feature_detected!("neon") {
        flags.push("neon");
    }
    flags.sort_unstable();
    flags.into_iter().map(String::from).collect()
}

/// The driver's own description of the first line, for an accelerator device.
fn accelerator(device: &str) -> Option<String> {
    if !device.starts_with("cuda") {
        return None;
    }
    let driver = std::fs::read_to_string("/proc/driver/nvidia/version").ok();
    let driver = driver
        .as_deref()
        .and_then(|t| t.lines().next())
        .unwrap_or("driver unknown")
        .to_string();
    let cards = std::fs::read_dir("/proc/driver/nvidia/gpus")
        .into_iter()
        .flatten()
        .filter_map(|e| std::fs::read_to_string(e.ok()?.path().join("information")).ok())
        .filter_map(|t| {
            let model = t.lines().find_map(|l| l.strip_prefix("Model:"))?;
            Some(model.trim().to_string())
        })
        .collect::<Vec<_>>();
    Some(format!("{} ({driver})", cards.join(", ")))
}

/// SHA-256 of a file, in hexadecimal.
pub fn sha256_of(path: &Path) -> std::io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok(hex(&hash.finalize()));
        }
        hash.update(&buffer[..n]);
    }
}

/// Whether the weights at `path` are those that the trial of `record` ended with, as far as the record says.
///
/// # Errors
/// [`RecordError`], which names the file that cannot be read or was changed.
pub fn check_weights(record: &TrialRecord, path: &Path) -> Result<(), RecordError> {
    let Some(expected) = &record.outcome.weights_sha256 else {
        return Ok(());
    };
    let found = sha256_of(path).map_err(|e| RecordError::io(path, "read", e))?;
    if found == *expected {
        return Ok(());
    }
    let message = format!(
        "its SHA-256 is {found}, but field `outcome.weights_sha256` of trial.json says {expected}: it was \
         changed"
    );
    Err(RecordError::damaged(path, None, message))
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_version_of_burn_is_the_one_in_the_manifest() {
        let manifest = include_str!("../../../Cargo.toml");
        let line = format!("burn = {{ version = \"={}\"", super::BURN_VERSION);
        assert!(manifest.contains(&line));
    }
}
