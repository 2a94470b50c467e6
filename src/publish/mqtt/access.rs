//! How the broker is reached, what it is shown, and what a failure to reach it means.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rumqttc::tokio_rustls::rustls::{self, CertificateError};
use rumqttc::{
    ConnectionError, Error, LastWill, MqttOptions, QoS, StateError, TlsConfiguration, TlsError, Transport,
};

use super::secret::{self, SecretError};
use crate::bounded;
use crate::config::{Address, Config, Mqtt, Tls};
use crate::message::Presence;
use crate::publish::store::WINDOW;
use crate::rights;

/// A message larger than this is no message of ours.
pub(super) const LARGEST_PACKET: usize = 256 * 1024;
/// Where systems keep the certificates of the authorities that they trust.
const SYSTEM_ROOTS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Why a broker cannot even be tried.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A password or a key.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A certificate.
    #[error("{key}: {}: {}", path.display(), rights::denied(path, error))]
    Certificate {
        /// Which setting names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's words.
        error: std::io::Error,
    },
    /// The system has no certificates of authorities.
    #[error("no certificates of authorities are installed ({}); install ca-certificates, or set [mqtt.tls] ca_file", SYSTEM_ROOTS.join(", "))]
    NoRoots,
}

impl AccessError {
    /// The dotted key of the setting at fault, if one is.
    pub fn key(&self) -> Option<&'static str> {
        match self {
            Self::Secret(error) => Some(error.key()),
            Self::Certificate { key, .. } => Some(key),
            Self::NoRoots => None,
        }
    }

    /// Whether it is only that a file is not there: it may come later, with a mount.
    pub fn is_late(&self) -> bool {
        match self {
            Self::Secret(error) => error.is_late(),
            Self::Certificate { error, .. } => error.kind() == ErrorKind::NotFound,
            Self::NoRoots => false,
        }
    }
}

/// Whether what the broker is shown can be read. A credential that only the service sees is let pass.
///
/// # Errors
/// As [`access`].
pub fn judge(config: &Config) -> Result<(), AccessError> {
    let broker = Address { host: config.mqtt.host.clone(), port: config.mqtt.port };
    match access(config, &broker, &config.mqtt.client_id) {
        Err(AccessError::Secret(error)) if error.may_be_credential() => Ok(()),
        outcome => outcome.map(drop),
    }
}

/// How `broker` is reached and what it is shown, for a client called `client_id`.
///
/// # Errors
/// A file with a password, a key or a certificate cannot be used.
pub fn access(config: &Config, broker: &Address, client_id: &str) -> Result<MqttOptions, AccessError> {
    let mqtt = &config.mqtt;
    let mut options = MqttOptions::new(client_id, (broker.host.clone(), broker.port));
    options.set_keep_alive(u16::try_from(mqtt.keep_alive.as_secs()).unwrap_or(u16::MAX));
    options.set_max_packet_size(LARGEST_PACKET, LARGEST_PACKET);
    let username = username(mqtt)?;
    if !mqtt.password_file.as_os_str().is_empty() {
        let password = secret::read("mqtt.password_file", &mqtt.password_file)?;
        options.set_credentials(username, password);
    } else if !username.is_empty() {
        options.set_username(username);
    }
    if mqtt.tls.enabled {
        options.set_transport(Transport::tls_with_config(encryption(&mqtt.tls)?));
    }
    Ok(options)
}

/// Who this client is; empty: nobody.
fn username(mqtt: &Mqtt) -> Result<String, SecretError> {
    if mqtt.username_file.as_os_str().is_empty() {
        return Ok(String::new());
    }
    secret::read_text("mqtt.username_file", &mqtt.username_file)
}

/// The same for the daemon: with its last will.
pub(super) fn options(config: &Config, broker: &Address) -> Result<MqttOptions, AccessError> {
    let mut options = access(config, broker, &config.mqtt.client_id)?;
    options.set_inflight(WINDOW as u16);
    let gone = Presence::Offline.word();
    options.set_last_will(LastWill::new(config.topic("status"), gone, QoS::AtLeastOnce, true));
    Ok(options)
}

/// Certificates are always verified; there is no setting against it.
fn encryption(tls: &Tls) -> Result<TlsConfiguration, AccessError> {
    let ca = if tls.ca_file.as_os_str().is_empty() {
        let roots = SYSTEM_ROOTS.iter().find_map(|path| std::fs::read(path).ok());
        roots.ok_or(AccessError::NoRoots)?
    } else {
        certificate("mqtt.tls.ca_file", &tls.ca_file)?
    };
    let client_auth = if tls.certificate_file.as_os_str().is_empty() {
        None
    } else {
        let key = secret::read("mqtt.tls.key_file", &tls.key_file)?;
        Some((certificate("mqtt.tls.certificate_file", &tls.certificate_file)?, key))
    };
    Ok(TlsConfiguration::Simple { ca, alpn: None, client_auth })
}

fn certificate(key: &'static str, path: &Path) -> Result<Vec<u8>, AccessError> {
    bounded::read(path, bounded::TEXT).map_err(|error| AccessError::Certificate {
        key,
        path: path.into(),
        error,
    })
}

/// What went wrong, and what to look at.
pub fn reason(error: &ConnectionError) -> String {
    use rumqttc::ConnectReturnCode::{BadClientId, BadUserNamePassword, NotAuthorized, ServiceUnavailable};
    if let Some(said) = of_tls(error) {
        return mistrust(said);
    }
    match error {
        ConnectionError::ConnectionRefused(NotAuthorized | BadUserNamePassword) => {
            "it refuses this client: not authorised (a wrong or missing user name or password, or a forbidden client id); \
             check [mqtt] username or username_file, and password_file"
                .into()
        }
        ConnectionError::ConnectionRefused(BadClientId) => {
            "it refuses the client id; set [mqtt] client_id".into()
        }
        ConnectionError::ConnectionRefused(ServiceUnavailable) => "it says that it is unavailable".into(),
        ConnectionError::NetworkTimeout | ConnectionError::FlushTimeout => {
            "it does not answer in time; check [mqtt] host and port, and the network".into()
        }
        ConnectionError::Io(error) => format!("{error}; check [mqtt] host and port, and that the broker runs"),
        large if too_large(large) => format!(
            "somebody's message on set/, state/ or Home Assistant's topics is larger than {LARGEST_PACKET} bytes; none of \
             them is read for some minutes. If it is retained, take it back: mosquitto_pub --retain --null-message --topic ..."
        ),
        other => of_system(other)
            .map_or_else(|| other.to_string(), |error| format!("the connection broke: {error}")),
    }
}

/// Whether an encrypted connection failed before MQTT was spoken: the two ends do not trust each other, or one is silent.
pub fn in_handshake(error: &ConnectionError) -> bool {
    matches!(error, ConnectionError::Tls(_) | ConnectionError::NetworkTimeout) || of_tls(error).is_some()
}

/// What TLS says in an error. A broker that misses a certificate says so only when MQTT begins.
fn of_tls(error: &ConnectionError) -> Option<&std::io::Error> {
    if let ConnectionError::Tls(TlsError::Io(error)) = error {
        return Some(error);
    }
    of_system(error).filter(|said| said.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()))
}

/// What the system says in an error, wherever the client met it.
fn of_system(error: &ConnectionError) -> Option<&std::io::Error> {
    match error {
        ConnectionError::Io(error)
        | ConnectionError::MqttState(StateError::Io(error) | StateError::Deserialization(Error::Io(error))) => {
            Some(error)
        }
        _ => None,
    }
}

/// Whether a message came that is larger than any of ours.
pub(super) fn too_large(error: &ConnectionError) -> bool {
    matches!(
        error,
        ConnectionError::MqttState(StateError::Deserialization(Error::PayloadSizeLimitExceeded(_)))
    )
}

/// Whether the other end closed the connection.
pub(super) fn closed(error: &ConnectionError) -> bool {
    let ends = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
    matches!(error, ConnectionError::MqttState(StateError::ConnectionAborted))
        || of_system(error).is_some_and(|error| ends.contains(&error.kind()))
}

/// Why the two ends do not trust each other.
fn mistrust(error: &std::io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let cure = match inner {
        Some(rustls::Error::InvalidCertificate(fault)) => match fault {
            CertificateError::UnknownIssuer => "set [mqtt.tls] ca_file to the authority that signed it",
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "renew it, and check the clock of this device"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "check the clock of this device"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "set [mqtt] host to a name that the certificate holds"
            }
            _ => "look at the broker's certificate",
        },
        Some(rustls::Error::AlertReceived(_)) => {
            "the broker refuses; it may want [mqtt.tls] certificate_file and key_file"
        }
        Some(rustls::Error::InvalidMessage(_)) => "the broker speaks no TLS on this port; check [mqtt] port",
        _ => "check that [mqtt] port is the broker's TLS port, and its log",
    };
    format!("TLS: {error}; {cure}")
}
