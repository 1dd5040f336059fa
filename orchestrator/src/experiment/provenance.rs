//! Where a run's figures come from: program, machine, inputs, and how busy the machine was.

use super::load::Load;
use crate::capture::Captured;
use samp_model::settings::{Authentication, EmulationSettings, Family, MobilitySettings, Protocol};
use serde::{Deserialize, Serialize, Serializer};
use sha1::{Digest, Sha1};
use sha2::Sha256;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

/// Git revision that was built, `-dirty` behind it when the tree had changes; none when built outside of git.
const REVISION: Option<&str> = option_env!("SAMP_LAB_REVISION");

/// What `provenance.json` holds.
#[derive(Clone, Debug, Serialize)]
pub struct Provenance {
    /// The program that ran.
    pub program: Program,
    /// The git revision that was built.
    pub revision: Option<&'static str>,
    /// The command line.
    pub command_line: Vec<String>,
    /// When the run began.
    pub started: Timestamp,
    /// The kernel's release.
    pub kernel: String,
    /// CPUs that samp-lab may use.
    pub cpus: usize,
    /// The seed of all random choices.
    pub seed: u64,
    /// Backends that ran, never `auto`; none in a simulation.
    pub emulation: Option<EmulationSettings>,
    /// Which addresses the nodes had.
    pub family: Family,
    /// What kept mobile nodes reachable; none where the runs of a campaign may differ in it.
    pub mobility: Option<Mobility>,
    /// The files that were read.
    pub inputs: Vec<Input>,
    /// What `capture.pcapng` holds, where the experiment asks for it.
    pub capture: Option<Captured>,
    /// Before the lab came up.
    pub before: Load,
    /// After the last step.
    pub after: Option<Load>,
}

/// A protocol, and what differs between runs that have the same.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Mobility {
    /// The protocol.
    pub protocol: Protocol,
    /// Mobile IPv6: whether home agents asked for proof.
    pub authentication: Authentication,
}

impl From<MobilitySettings> for Mobility {
    fn from(MobilitySettings { protocol, authentication, .. }: MobilitySettings) -> Self {
        Self { protocol, authentication }
    }
}

/// A program of this name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Its version.
    pub version: String,
    /// Its executable's SHA-256, in hexadecimal.
    pub sha256: String,
}

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Input {
    /// Its path, as given.
    pub path: PathBuf,
    /// SHA-1 of its content, in hexadecimal.
    pub sha1: String,
}

/// An instant of civil time, in whole seconds, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamp {
    unix: u64,
}

impl Provenance {
    /// Of a run that begins now.
    ///
    /// # Errors
    /// The kernel's release cannot be found out.
    pub fn begin(
        seed: u64,
        emulation: Option<EmulationSettings>,
        family: Family,
        inputs: &[Input],
    ) -> io::Result<Self> {
        Ok(Self {
            program: Program::running()?,
            revision: REVISION,
            command_line: std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect(),
            started: Timestamp::now(),
            kernel: nix::sys::utsname::uname()?.release().to_string_lossy().into_owned(),
            cpus: std::thread::available_parallelism()?.get(),
            seed,
            emulation,
            family,
            mobility: None,
            inputs: inputs.to_vec(),
            capture: None,
            before: Load::now(),
            after: None,
        })
    }
}

impl Program {
    /// This one. Its file is read once only.
    ///
    /// # Errors
    /// It cannot be read.
    fn running() -> io::Result<Self> {
        static RUNNING: OnceLock<Program> = OnceLock::new();
        if let Some(known) = RUNNING.get() {
            return Ok(known.clone());
        }
        let mut hasher = Sha256::default();
        io::copy(&mut fs::File::open("/proc/self/exe")?, &mut hasher)?;
        let program = Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            sha256: hexadecimal(&sha2::Digest::finalize(hasher)),
        };
        Ok(RUNNING.get_or_init(|| program).clone())
    }
}

impl Input {
    /// Reads and hashes a file.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(path: &Path) -> io::Result<Self> {
        let digest = Sha1::digest(fs::read(path)?);
        Ok(Self { path: path.into(), sha1: hexadecimal(&digest) })
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Timestamp {
    /// Now.
    pub fn now() -> Self {
        Self { unix: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()) }
    }

    /// So many seconds after 1970-01-01 00:00:00 UTC.
    pub fn from_unix(seconds: u64) -> Self {
        Self { unix: seconds }
    }

    /// `YYYYMMDD-HHMMSS`, for file names.
    pub fn compact(self) -> String {
        let (year, month, day) = self.date();
        let [hour, minute, second] = self.clock();
        format!("{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}")
    }

    /// Year, month and day of the Gregorian calendar.
    ///
    /// Years are counted from March, so that leap days come last: H. Hinnant, "chrono-compatible low-level date
    /// algorithms".
    fn date(self) -> (u64, u64, u64) {
        let days = self.unix / 86_400 + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        (year_of_era + era * 400 + u64::from(month <= 2), month, day)
    }

    fn clock(self) -> [u64; 3] {
        let second = self.unix % 86_400;
        [second / 3600, second / 60 % 60, second % 60]
    }
}

/// As RFC 3339 has it.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.date();
        let [hour, minute, second] = self.clock();
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn civil_time_is_gregorian() {
        for (unix, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(Timestamp::from_unix(unix).to_string(), text);
        }
        assert_eq!(Timestamp::from_unix(951_782_399).compact(), "20000228-235959");
    }

    #[test]
    fn inputs_are_hashed() {
        let path = std::env::temp_dir().join(format!("samp-lab-input-{}", std::process::id()));
        fs::write(&path, "abc").unwrap();
        assert_eq!(Input::read(&path).unwrap().sha1, "a9993e364706816aba3e25717850c26c9cd0d89d");
        fs::remove_file(path).unwrap();
    }
}
