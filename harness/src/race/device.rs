//! Devices by name.

use burn::tensor::Device;

/// Why a device cannot be used.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum DeviceError {
    /// No device has this name.
    #[error("there is no device `{name}`; known devices are flex, ndarray and cuda[:N]")]
    Unknown {
        /// The name.
        name: String,
    },
    /// The device was left out of this build.
    #[error(
        "device `{name}` is not in this build; build again with `--features {feature}` \
         (cargo run --release --features {feature} -- …), or use `--device flex`"
    )]
    NotBuilt {
        /// The name.
        name: String,
        /// Cargo feature that adds it.
        feature: &'static str,
    },
    /// The build has the device, but the machine does not.
    #[error(
        "device `{name}` is not on this machine: {found} CUDA device(s) found; check the driver \
         with `nvidia-smi`, or use `--device flex`"
    )]
    Absent {
        /// The name.
        name: String,
        /// How many there are.
        found: usize,
    },
}

/// The device called `name`, without autodiff: `flex`, `ndarray`, `cuda` or `cuda:N`.
pub fn device(name: &str) -> Result<Device, DeviceError> {
    match name.split_once(':').unwrap_or((name, "")) {
        ("flex", "") => Ok(Device::flex()),
        ("ndarray", "") => ndarray(name),
        ("cuda", index) => match if index.is_empty() {
            Ok(0)
        } else {
            index.parse()
        } {
            Ok(index) => cuda(name, index),
            Err(_) => Err(DeviceError::Unknown { name: name.into() }),
        },
        _ => Err(DeviceError::Unknown { name: name.into() }),
    }
}

#[cfg(feature = "ndarray")]
fn ndarray(_name: &str) -> Result<Device, DeviceError> {
    // Deprecated upstream, kept as a second opinion on results; much slower than flex.
    #[allow(deprecated)]
    Ok(Device::ndarray())
}

#[cfg(not(feature = "ndarray"))]
fn ndarray(name: &str) -> Result<Device, DeviceError> {
    Err(DeviceError::NotBuilt {
        name: name.into(),
        feature: "ndarray",
    })
}

#[cfg(feature = "cuda")]
fn cuda(name: &str, index: usize) -> Result<Device, DeviceError> {
    // Asked first, since burn panics when a device that is not there is touched.
    let found = Device::enumerate(burn::tensor::DeviceType::Cuda)
        .into_vec()
        .len();
    if index < found {
        Ok(Device::cuda(index))
    } else {
        Err(DeviceError::Absent {
            name: name.into(),
            found,
        })
    }
}

#[cfg(not(feature = "cuda"))]
fn cuda(name: &str, _index: usize) -> Result<Device, DeviceError> {
    Err(DeviceError::NotBuilt {
        name: name.into(),
        feature: "cuda",
    })
}

/// Names of the devices in this build.
pub fn built_devices() -> Vec<&'static str> {
    let mut names = vec!["flex"];
    if cfg!(feature = "ndarray") {
        names.push("ndarray");
    }
    if cfg!(feature = "cuda") {
        names.push("cuda");
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_not_there_is_an_error_that_says_what_to_do() {
        assert!(device("flex").is_ok());
        assert_eq!(
            device("tpu").unwrap_err(),
            DeviceError::Unknown { name: "tpu".into() }
        );
        assert!(matches!(device("cuda:x"), Err(DeviceError::Unknown { .. })));
        #[cfg(not(feature = "cuda"))]
        assert!(
            device("cuda:1")
                .unwrap_err()
                .to_string()
                .contains("--features cuda")
        );
    }
}
