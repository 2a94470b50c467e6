//! A mosquitto of our own on a free loopback port, for as long as it is needed.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::config::{Config, Format};

/// A running broker; it stops when this is dropped.
pub(super) struct Broker {
    process: Child,
    /// Where it listens.
    pub port: u16,
}

/// Where Debian puts the broker, which need not be on a user's path.
const PLACES: [&str; 3] = ["mosquitto", "/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"];
/// Longest time until it accepts connections.
const START: Duration = Duration::from_secs(5);

impl Broker {
    /// Starts a broker that logs into `folder`.
    pub fn start(folder: &Path) -> Result<Broker, String> {
        let port = free_port().map_err(|error| format!("there is no free port on the loopback: {error}"))?;
        let file = folder.join("mosquitto.conf");
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\n"
        );
        let log =
            std::fs::write(&file, text).and_then(|()| std::fs::File::create(folder.join("mosquitto.log")));
        let log = log.map_err(|error| format!("{}: cannot be written: {error}", folder.display()))?;
        let mut broker = Broker { process: spawn(&file, log)?, port };
        broker.wait().map(|()| broker)
    }

    fn wait(&mut self) -> Result<(), String> {
        let began = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            if matches!(self.process.try_wait(), Ok(Some(_))) || began.elapsed() > START {
                return Err("mosquitto did not start; see mosquitto.log in the output folder".into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Broker {
    /// Processor time it has used, where the system tells.
    pub fn cpu(&self) -> Option<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).ok()?;
        // Behind the name, which may hold anything, the 12th and 13th field are user and system time, in hundredths.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
        Some(Duration::from_millis(10 * ticks))
    }

    /// The most memory that it ever held, megabytes.
    pub fn most_memory(&self) -> Option<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok().map(|kib| kib * 1024.0 / 1e6)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Every message counts and is read as JSON; no home is told of a device that is none, and nobody's wishes are taken.
pub(super) fn plain(config: &mut Config) {
    let mqtt = &mut config.mqtt;
    (mqtt.format, mqtt.detections_rate, mqtt.commands) = (Format::Json, 0.0, false);
    (mqtt.home_assistant.enabled, mqtt.home_assistant.former) = (false, Vec::new());
}

/// A broker for one purpose, whose folder goes with it.
pub(super) struct Own {
    broker: Broker, // stops before its folder goes
    folder: Folder,
}

impl Own {
    /// Starts it, and points `config` at it: it lets everybody in, and nobody else is asked.
    pub fn start(config: &mut Config) -> Result<Self, String> {
        let folder = std::env::temp_dir().join(format!("tvsl-broker-{:016x}", fastrand::u64(..)));
        let unwritable = |error| format!("{}: {error}; set TMPDIR", folder.display());
        std::fs::create_dir(&folder).map_err(unwritable)?;
        let folder = Folder(folder);
        let broker = Broker::start(&folder.0)?;
        let mqtt = &mut config.mqtt;
        (mqtt.host, mqtt.port) = ("127.0.0.1".into(), broker.port);
        mqtt.fallbacks.clear();
        (mqtt.username_file, mqtt.password_file) = (PathBuf::new(), PathBuf::new());
        mqtt.tls.enabled = false;
        Ok(Self { broker, folder })
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder.0
    }
}

impl Deref for Own {
    type Target = Broker;
    fn deref(&self) -> &Broker {
        &self.broker
    }
}

/// A folder that goes when this is dropped.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn free_port() -> io::Result<u16> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr().map(|address| address.port())
}

fn spawn(file: &Path, log: std::fs::File) -> Result<Child, String> {
    for program in PLACES {
        let log = log.try_clone().map_err(|error| error.to_string())?;
        match Command::new(program)
            .arg("-c")
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
        {
            Ok(process) => return Ok(process),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("{program} cannot be started: {error}")),
        }
    }
    Err(format!(
        "there is no mosquitto ({}); install it with `apt-get install mosquitto` or run `make setup`",
        PLACES.join(", ")
    ))
}
