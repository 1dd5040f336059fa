//! How mobile nodes get their care-of addresses, and how long each step of that may take.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A random wait of a second at most before the one probe, and one after it (RFC 4862 §5.4.2, RFC 4861 §10).
const LONGEST_DAD: Duration = Duration::from_secs(2);

/// The knobs under `addressing:`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressSettings {
    /// Whence a care-of address comes.
    pub address: AddressMethod,
    /// Where the knobs come from that the file does not set.
    pub profile: AddressProfile,
    /// What answers at the access routers with DHCP.
    pub dhcp_server: DhcpServer,
    /// A first DHCPDISCOVER waits for a random time between these (RFC 2131 §4.4.1).
    pub dhcp_delay: [Duration; 2],
    /// A message is sent again after this time, then after twice as long, up to 16 times as long (RFC 2131 §4.1).
    pub dhcp_retransmit: Duration,
    /// Whether two messages may do for four (RFC 4039).
    pub rapid_commit: bool,
    /// How long a DHCP server lends an address; it is renewed after half of that.
    pub lease: Duration,
    /// A first router solicitation waits for a random time between these (RFC 4861 §6.3.7).
    pub rs_delay: [Duration; 2],
    /// Time between router solicitations, of which there are three at most (RFC 4861 §10).
    pub rs_interval: Duration,
    /// Between router advertisements to all there is a random time between these (RFC 4861 §6.2.1, RFC 6275 §7.5).
    pub ra_interval: [Duration; 2],
    /// The answer to a solicitation waits for a random time between these (RFC 4861 §6.2.6).
    pub ra_delay: [Duration; 2],
    /// Whether a node that has made an address looks whether somebody else has it.
    pub dad: Dad,
}

impl Default for AddressSettings {
    fn default() -> Self {
        Self::of_profile(AddressProfile::Rfc)
    }
}

impl AddressSettings {
    /// Every knob as this profile has it; addresses are static.
    pub fn of_profile(profile: AddressProfile) -> Self {
        let (s, ms) = (Duration::from_secs, Duration::from_millis);
        let by_the_letter = Self {
            address: AddressMethod::Static,
            profile,
            dhcp_server: DhcpServer::Agent,
            dhcp_delay: [s(1), s(10)],
            dhcp_retransmit: s(4),
            rapid_commit: false,
            lease: s(3600),
            rs_delay: [s(0), s(1)],
            rs_interval: s(4),
            ra_interval: [s(198), s(600)],
            ra_delay: [s(0), ms(500)],
            dad: Dad::On,
        };
        match profile {
            AddressProfile::Rfc => by_the_letter,
            AddressProfile::Fast => Self {
                dhcp_delay: [Duration::ZERO; 2],
                dhcp_retransmit: s(1),
                rapid_commit: true,
                rs_delay: [Duration::ZERO; 2],
                rs_interval: s(1),
                ra_interval: [ms(30), ms(70)],
                ra_delay: [Duration::ZERO; 2],
                dad: Dad::Optimistic,
                ..by_the_letter
            },
        }
    }

    /// Whether the access routers' agents give out the addresses.
    pub fn by_agents(&self) -> bool {
        match self.address {
            AddressMethod::Static => false,
            AddressMethod::Dhcp => self.dhcp_server == DhcpServer::Agent,
            AddressMethod::Slaac => true,
        }
    }

    /// The longest that these knobs let a node wait for an address while no message is lost twice.
    pub fn longest_wait(&self) -> Duration {
        match self.address {
            AddressMethod::Static => Duration::ZERO,
            AddressMethod::Dhcp => self.dhcp_delay[1] + 3 * self.dhcp_retransmit,
            AddressMethod::Slaac => self.rs_delay[1] + self.rs_interval + self.ra_delay[1] + LONGEST_DAD,
        }
    }
}

/// Whence a mobile node's care-of addresses come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AddressMethod {
    /// They come with the link trigger, and cost nothing.
    Static,
    /// IPv4: from the access router's DHCP server (RFC 2131).
    Dhcp,
    /// IPv6: made of the prefix that the access router advertises (RFC 4862).
    Slaac,
}

/// The DHCP server of every access router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DhcpServer {
    /// The access router's agent.
    Agent,
    /// The installed dnsmasq.
    Dnsmasq,
}

/// Duplicate address detection (RFC 4862 §5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dad {
    /// An address is not used before nobody has claimed it.
    On,
    /// Nobody is asked.
    Off,
    /// An address is used while others are asked (RFC 4429).
    Optimistic,
}

/// A value for every knob of addressing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AddressProfile {
    /// What the RFCs say to the letter.
    Rfc,
    /// As fast as the RFCs allow.
    Fast,
}
