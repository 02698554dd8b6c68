//! Where the TPM is: a TCTI (TPM Command Transmission Interface) as configuration names it.

use crate::error::CollectError;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{
    fmt,
    fs::OpenOptions,
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    os::unix::fs::FileTypeExt as _,
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

/// How long connecting to a software TPM may take; it is on this machine.
const CONNECT: Duration = Duration::from_secs(2);

/// A TCTI, written `device:/dev/tpmrm0` or `swtpm:host=127.0.0.1,port=2321`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TctiConfig {
    /// A TPM that the kernel drives. `/dev/tpmrm0` is the one with the kernel's resource manager.
    Device {
        /// Absolute path of the device node.
        path: PathBuf,
    },
    /// swtpm's TCP socket; its control channel is on the next port, as libtss2 wants it.
    ///
    /// The protocol has neither authentication nor encryption, so only loopback is accepted.
    Swtpm {
        /// A loopback address.
        host: IpAddr,
        /// The data port, 1 to 65,534.
        port: u16,
    },
}

/// Text that is not a TCTI which this crate accepts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TctiError {
    /// The kind before the colon is not known.
    #[error("unknown TCTI `{0}`: write `device:/dev/tpmrm0` or `swtpm:host=127.0.0.1,port=2321`")]
    UnknownKind(String),
    /// The device's path is not absolute, or cannot be handed to libtss2.
    #[error("TPM device path `{0}` must be absolute and without `:`, `,` and control characters")]
    DevicePath(String),
    /// swtpm over a Unix socket: libtss2 3.2 can, but tss-esapi 7 passes host and port only.
    #[error("swtpm over a Unix socket is not supported: start it with `--server type=tcp,port=N`")]
    UnixSocket,
    /// A host that is not this machine.
    #[error("swtpm host `{0}` is not a loopback address; its protocol is neither authenticated nor encrypted")]
    NotLoopback(String),
    /// No port, or none that leaves room for the control channel.
    #[error("swtpm port `{0}` is not 1 to 65534 (the control channel is on the next port)")]
    Port(String),
    /// A part that is not known, is missing or is there twice.
    #[error("swtpm needs `host=` and `port=` once each, got `{0}`")]
    Parts(String),
}

impl FromStr for TctiConfig {
    type Err = TctiError;

    fn from_str(text: &str) -> Result<Self, TctiError> {
        match text.split_once(':') {
            Some(("device", path)) => device(path),
            Some(("swtpm", parts)) => swtpm(parts),
            _ => Err(TctiError::UnknownKind(text.split(':').next().unwrap_or_default().to_owned())),
        }
    }
}

fn device(path: &str) -> Result<TctiConfig, TctiError> {
    let plain = !path.chars().any(|c| c.is_control() || c == ':' || c == ',');
    if !path.starts_with('/') || !plain {
        return Err(TctiError::DevicePath(path.escape_default().to_string()));
    }
    Ok(TctiConfig::Device { path: path.into() })
}

fn swtpm(parts: &str) -> Result<TctiConfig, TctiError> {
    let (mut host, mut port) = (None, None);
    for part in parts.split(',') {
        match part.split_once('=') {
            Some(("host", value)) if host.is_none() => host = Some(loopback(value)?),
            Some(("port", value)) if port.is_none() => port = Some(data_port(value)?),
            Some(("path", _)) => return Err(TctiError::UnixSocket),
            _ => return Err(TctiError::Parts(parts.to_owned())),
        }
    }
    match (host, port) {
        (Some(host), Some(port)) => Ok(TctiConfig::Swtpm { host, port }),
        _ => Err(TctiError::Parts(parts.to_owned())),
    }
}

fn loopback(host: &str) -> Result<IpAddr, TctiError> {
    if host == "localhost" {
        return Ok(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    match host.parse::<IpAddr>() {
        Ok(address) if address.is_loopback() => Ok(address),
        _ => Err(TctiError::NotLoopback(host.to_owned())),
    }
}

fn data_port(port: &str) -> Result<u16, TctiError> {
    match port.parse::<u16>() {
        Ok(number) if number > 0 && number < u16::MAX => Ok(number),
        _ => Err(TctiError::Port(port.to_owned())),
    }
}

impl fmt::Display for TctiConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device { path } => write!(f, "device:{}", path.display()),
            Self::Swtpm { host, port } => write!(f, "swtpm:host={host},port={port}"),
        }
    }
}

impl Serialize for TctiConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TctiConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl TctiConfig {
    /// Tries to open the device or to connect, and closes it again: libtss2's own errors name
    /// neither the reason nor the remedy.
    pub(crate) fn probe(&self) -> Result<(), CollectError> {
        match self {
            Self::Device { path } => match OpenOptions::new().read(true).write(true).open(path) {
                Ok(file) => {
                    let is_device = file.metadata().is_ok_and(|m| m.file_type().is_char_device());
                    if is_device { Ok(()) } else { Err(CollectError::NotADevice { device: self.clone() }) }
                }
                Err(source) => Err(match source.kind() {
                    ErrorKind::NotFound => CollectError::DeviceMissing { device: self.clone() },
                    ErrorKind::PermissionDenied => CollectError::DevicePermission { device: self.clone() },
                    ErrorKind::ResourceBusy => CollectError::DeviceBusy { device: self.clone() },
                    _ => CollectError::DeviceUnavailable { device: self.clone(), source },
                }),
            },
            Self::Swtpm { host, port } => {
                let address = SocketAddr::new(*host, *port);
                match TcpStream::connect_timeout(&address, CONNECT) {
                    Ok(_) => Ok(()),
                    Err(source) => Err(CollectError::SwtpmUnreachable { device: self.clone(), source }),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_back() {
        for text in
            ["device:/dev/tpmrm0", "device:/dev/tpm0", "swtpm:host=127.0.0.1,port=2321", "swtpm:host=::1,port=1"]
        {
            assert_eq!(text.parse::<TctiConfig>().unwrap().to_string(), text);
        }
        assert_eq!(
            "swtpm:port=2321,host=localhost".parse::<TctiConfig>().unwrap().to_string(),
            "swtpm:host=127.0.0.1,port=2321"
        );
    }

    #[test]
    fn other_tctis_are_refused_by_name() {
        for text in ["", "tabrmd", "mssim:host=127.0.0.1,port=2321", "cmd:sh", "device", "swtpm", "/dev/tpmrm0"] {
            assert!(matches!(text.parse::<TctiConfig>(), Err(TctiError::UnknownKind(_))), "{text}");
        }
    }

    #[test]
    fn each_wrong_part_is_named() {
        let refused = |text: &str| text.parse::<TctiConfig>().unwrap_err();
        assert_eq!(refused("device:tpm0"), TctiError::DevicePath("tpm0".into()));
        assert_eq!(refused("device:"), TctiError::DevicePath(String::new()));
        assert_eq!(refused("device:/dev/a\0b"), TctiError::DevicePath("/dev/a\\u{0}b".into()));
        assert_eq!(refused("swtpm:path=/run/swtpm.sock"), TctiError::UnixSocket);
        assert_eq!(refused("swtpm:host=10.0.0.1,port=1"), TctiError::NotLoopback("10.0.0.1".into()));
        assert_eq!(refused("swtpm:host=example.org,port=1"), TctiError::NotLoopback("example.org".into()));
        for port in ["0", "65535", "65536", "-1", ""] {
            assert_eq!(refused(&format!("swtpm:host=127.0.0.1,port={port}")), TctiError::Port(port.into()));
        }
        for parts in ["", "host=127.0.0.1", "port=2321", "host=::1,port=1,port=2", "host=::1,port=1,x=1"] {
            assert_eq!(refused(&format!("swtpm:{parts}")), TctiError::Parts(parts.into()));
        }
    }

    #[test]
    fn a_missing_device_and_a_plain_file_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tpm");
        let tcti = TctiConfig::Device { path: path.clone() };
        assert!(matches!(tcti.probe(), Err(CollectError::DeviceMissing { .. })));
        std::fs::write(path, b"").unwrap();
        assert!(matches!(tcti.probe(), Err(CollectError::NotADevice { .. })));
        let device = TctiConfig::Device { path: "/dev/null".into() };
        assert!(device.probe().is_ok());
    }
}
