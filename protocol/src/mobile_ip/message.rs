//! The messages of the Mobility Header and their bytes (RFC 6275 §6.1, RFC 5380 §4.1, RFC 4283, RFC 4285).
//!
//! Unknown options and flags are passed over, as §6.2.1 wants it, but for messages with an authenticator, which is over all of
//! them; what is malformed makes the whole message void.

use super::checksum::checksum;
use super::options::{self, Options};
use std::net::Ipv6Addr;

/// The Next Header value of the Mobility Header.
pub(super) const PROTOCOL: u8 = 135;
/// No next header: what follows a Mobility Header (RFC 6275 §6.1.1).
const NO_NEXT_HEADER: u8 = 59;
/// Next header, length, type, reserved and checksum.
const HEADER_LEN: usize = 6;
/// Where the checksum is.
const CHECKSUM: usize = 4;
/// Lengths count in units of this, the first one left out.
const UNIT: usize = 8;
/// Bytes of an authenticator (RFC 6275 §6.2.7, RFC 4285 §5.1).
pub(super) const AUTHENTICATOR_LEN: usize = 12;

/// Status values of acknowledgements and errors (RFC 6275 §6.1.8, §6.1.9).
pub mod status {
    /// The binding is accepted; all values up to 127 accept it.
    pub const ACCEPTED: u8 = 0;
    /// There is no room for another binding.
    pub const INSUFFICIENT_RESOURCES: u8 = 130;
    /// The node is no home agent, or no mobility anchor point.
    pub const NOT_SUPPORTED: u8 = 131;
    /// The home address is none of this agent's subnet.
    pub const NOT_HOME_SUBNET: u8 = 132;
    /// This is not the mobile node's home agent.
    pub const NOT_HOME_AGENT: u8 = 133;
    /// Somebody else has the address.
    pub const DUPLICATE_ADDRESS: u8 = 134;
    /// The sequence number is no higher than the last one.
    pub const SEQUENCE_OUT_OF_WINDOW: u8 = 135;
    /// The home nonce is too old.
    pub const EXPIRED_HOME_NONCE: u8 = 136;
    /// The care-of nonce is too old.
    pub const EXPIRED_CARE_OF_NONCE: u8 = 137;
    /// Both are.
    pub const EXPIRED_NONCES: u8 = 138;
    /// The authenticator is not what the home agent works out (RFC 4285 §8).
    pub const AUTHENTICATION_FAILED: u8 = 146;
    /// In an error: a packet with a home address came for which there is no binding.
    pub const UNKNOWN_BINDING: u8 = 1;
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Binding Refresh Request: a correspondent node or agent would like to keep the binding.
    RefreshRequest,
    /// Home Test Init, by way of the home agent.
    HomeTestInit {
        /// What the answer is to repeat.
        cookie: u64,
    },
    /// Care-of Test Init, straight to the correspondent node.
    CareOfTestInit {
        /// What the answer is to repeat.
        cookie: u64,
    },
    /// Home Test: the answer to the first.
    HomeTest(Test),
    /// Care-of Test: the answer to the second.
    CareOfTest(Test),
    /// Binding Update.
    Update(Update),
    /// Binding Acknowledgement.
    Acknowledgement(Acknowledgement),
    /// Binding Error.
    Error {
        /// What is wrong.
        status: u8,
        /// Whose binding it is about; unspecified when that is not known.
        home: Ipv6Addr,
    },
}

/// What a correspondent node answers to a test (RFC 6275 §6.1.5, §6.1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Test {
    /// Which of its nonces it used.
    pub nonce: u16,
    /// The cookie that it was sent.
    pub cookie: u64,
    /// The keygen token.
    pub token: u64,
}

/// How a mobile node and its home agent know each other (RFC 4285): the options of an update or of its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authentication {
    /// The mobile node's name, a network access identifier (RFC 4283 §3.1).
    pub identifier: String,
    /// The mobility security parameter index: by which association.
    pub spi: u32,
    /// The first 96 bits of HMAC-SHA-1 (RFC 4285 §5.1).
    pub authenticator: [u8; AUTHENTICATOR_LEN],
}

/// Binding Update (RFC 6275 §6.1.7).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// Its number, which grows modulo 2^16.
    pub sequence: u16,
    /// The flag A: an acknowledgement is wanted.
    pub acknowledge: bool,
    /// The flag H: the receiver is to be the home agent.
    pub home_registration: bool,
    /// The flag M: the receiver is to be the mobility anchor point (RFC 5380 §4.1).
    pub map_registration: bool,
    /// How long the binding is to last, in units of 4 s; 0 removes it.
    pub lifetime: u16,
    /// The care-of address where that is not the source address (Alternate Care-of Address, §6.2.5).
    pub care_of: Option<Ipv6Addr>,
    /// The indices of home and care-of nonce (§6.2.6).
    pub nonces: Option<[u16; 2]>,
    /// Binding Authorization Data (§6.2.7).
    pub authenticator: Option<[u8; AUTHENTICATOR_LEN]>,
    /// What RFC 4285 adds between mobile node and home agent.
    pub authentication: Option<Authentication>,
}

/// Binding Acknowledgement (RFC 6275 §6.1.8).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acknowledgement {
    /// Whether the update is accepted, or why not.
    pub status: u8,
    /// The update's number, or the last one that was accepted when that was out of window.
    pub sequence: u16,
    /// How long the binding lasts, in units of 4 s.
    pub lifetime: u16,
    /// After how many units of 4 s it had better be refreshed (Binding Refresh Advice, §6.2.4).
    pub refresh: Option<u16>,
    /// Binding Authorization Data (§6.2.7).
    pub authenticator: Option<[u8; AUTHENTICATOR_LEN]>,
    /// What RFC 4285 adds between mobile node and home agent.
    pub authentication: Option<Authentication>,
}

impl Acknowledgement {
    /// Whether the binding was accepted.
    pub fn is_accepted(&self) -> bool {
        self.status < 128
    }
}

/// The subtype of an identifier that is a network access identifier (RFC 4283 §3.1).
const NAI: u8 = 1;
/// The subtype of an authentication between mobile node and home agent (RFC 4285 §5.1).
const MN_HA: u8 = 1;
/// Bytes before the authenticator there: subtype and index.
const PROOF: usize = 5;

const ACKNOWLEDGE: u16 = 0x8000;
const HOME_REGISTRATION: u16 = 0x4000;
const MAP_REGISTRATION: u16 = 0x0800;

impl Message {
    /// Its bytes between these two, which are the home addresses where home address option and routing header name some
    /// (RFC 6275 §6.1.1).
    pub fn encode(&self, source: Ipv6Addr, destination: Ipv6Addr) -> Vec<u8> {
        let mut bytes = self.encode_unsummed();
        let sum = checksum(source, destination, PROTOCOL, &bytes);
        bytes[CHECKSUM..HEADER_LEN].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    /// The message of these bytes between these two; none when they are something else or malformed.
    pub fn decode(bytes: &[u8], source: Ipv6Addr, destination: Ipv6Addr) -> Option<Self> {
        let [next, length, kind, ..] = *bytes else { return None };
        let is_whole = bytes.len() == (usize::from(length) + 1) * UNIT && next == NO_NEXT_HEADER;
        // Over bytes with their right checksum the sum is zero.
        if !is_whole || checksum(source, destination, PROTOCOL, bytes) != 0 {
            return None;
        }
        let message = decode_body(kind, &bytes[HEADER_LEN..])?;
        // Authenticators are worked out over what this module writes, so it has to be that, to the last byte of padding.
        let is_as_written = || message.encode(source, destination) == bytes;
        (!message.has_authenticator() || is_as_written()).then_some(message)
    }

    fn has_authenticator(&self) -> bool {
        let authenticator = match self {
            Self::Update(update) => update.authenticator,
            Self::Acknowledgement(acknowledgement) => acknowledgement.authenticator,
            _ => None,
        };
        authenticator.is_some() || self.authentication().is_some()
    }

    /// What RFC 4285 adds to it.
    pub(super) fn authentication(&self) -> Option<&Authentication> {
        match self {
            Self::Update(update) => update.authentication.as_ref(),
            Self::Acknowledgement(acknowledgement) => acknowledgement.authentication.as_ref(),
            _ => None,
        }
    }

    /// Adds it to an update or acknowledgement; others have none.
    pub(super) fn set_authentication(&mut self, authentication: Option<Authentication>) {
        match self {
            Self::Update(update) => update.authentication = authentication,
            Self::Acknowledgement(acknowledgement) => acknowledgement.authentication = authentication,
            _ => {}
        }
    }

    /// What is authenticated of an update or acknowledgement: all but the checksum, which counts as zero, and the
    /// authenticator itself, which is the last of it (RFC 6275 §6.2.7, RFC 4285 §5.1).
    pub(super) fn authenticated(&self) -> Vec<u8> {
        let mut bytes = self.encode_unsummed();
        bytes.truncate(bytes.len() - AUTHENTICATOR_LEN);
        bytes
    }

    fn encode_unsummed(&self) -> Vec<u8> {
        let mut bytes = vec![NO_NEXT_HEADER, 0, self.kind(), 0, 0, 0];
        match self {
            Self::RefreshRequest => bytes.extend([0; 2]),
            Self::HomeTestInit { cookie } | Self::CareOfTestInit { cookie } => {
                bytes.extend([0; 2]);
                bytes.extend(cookie.to_be_bytes());
            }
            Self::HomeTest(test) | Self::CareOfTest(test) => {
                bytes.extend(test.nonce.to_be_bytes());
                bytes.extend(test.cookie.to_be_bytes());
                bytes.extend(test.token.to_be_bytes());
            }
            Self::Update(update) => update.encode(&mut bytes),
            Self::Acknowledgement(acknowledgement) => acknowledgement.encode(&mut bytes),
            Self::Error { status, home } => {
                bytes.extend([*status, 0]);
                bytes.extend(home.octets());
            }
        }
        options::pad_to(&mut bytes, UNIT, 0);
        bytes[1] = (bytes.len() / UNIT - 1) as u8;
        bytes
    }

    fn kind(&self) -> u8 {
        match self {
            Self::RefreshRequest => 0,
            Self::HomeTestInit { .. } => 1,
            Self::CareOfTestInit { .. } => 2,
            Self::HomeTest(_) => 3,
            Self::CareOfTest(_) => 4,
            Self::Update(_) => 5,
            Self::Acknowledgement(_) => 6,
            Self::Error { .. } => 7,
        }
    }

    /// What it is, for people: `BU 7`.
    pub fn summary(&self) -> String {
        match self {
            Self::RefreshRequest => "BRR".to_owned(),
            Self::HomeTestInit { .. } => "HoTI".to_owned(),
            Self::CareOfTestInit { .. } => "CoTI".to_owned(),
            Self::HomeTest(_) => "HoT".to_owned(),
            Self::CareOfTest(_) => "CoT".to_owned(),
            Self::Update(update) => format!("BU {}", update.sequence),
            Self::Acknowledgement(acknowledgement) => {
                format!("BAck {} status {}", acknowledgement.sequence, acknowledgement.status)
            }
            Self::Error { status, .. } => format!("BE status {status}"),
        }
    }
}

impl Update {
    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.sequence.to_be_bytes());
        let flags = [
            (self.acknowledge, ACKNOWLEDGE),
            (self.home_registration, HOME_REGISTRATION),
            (self.map_registration, MAP_REGISTRATION),
        ];
        let flags: u16 = flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag).sum();
        bytes.extend(flags.to_be_bytes());
        bytes.extend(self.lifetime.to_be_bytes());
        if let Some(care_of) = self.care_of {
            options::push(bytes, options::ALTERNATE_CARE_OF, &care_of.octets());
        }
        if let Some([home, care_of]) = self.nonces {
            options::push(
                bytes,
                options::NONCE_INDICES,
                &[home.to_be_bytes(), care_of.to_be_bytes()].concat(),
            );
        }
        if let Some(authenticator) = &self.authenticator {
            options::push(bytes, options::AUTHORIZATION, authenticator);
        }
        if let Some(authentication) = &self.authentication {
            authentication.encode(bytes);
        }
    }
}

impl Authentication {
    fn encode(&self, bytes: &mut Vec<u8>) {
        let identifier = [&[NAI], self.identifier.as_bytes()].concat();
        options::push(bytes, options::IDENTIFIER, &identifier);
        let proof = [&[MN_HA], &self.spi.to_be_bytes()[..], &self.authenticator].concat();
        options::push(bytes, options::AUTHENTICATION, &proof);
    }
}

impl Acknowledgement {
    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend([self.status, 0]);
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend(self.lifetime.to_be_bytes());
        if let Some(refresh) = self.refresh {
            options::push(bytes, options::REFRESH_ADVICE, &refresh.to_be_bytes());
        }
        if let Some(authenticator) = &self.authenticator {
            options::push(bytes, options::AUTHORIZATION, authenticator);
        }
        if let Some(authentication) = &self.authentication {
            authentication.encode(bytes);
        }
    }
}

/// The message of this type, of what follows the checksum.
fn decode_body(kind: u8, body: &[u8]) -> Option<Message> {
    let short = |at: usize| Some(u16::from_be_bytes(*body.get(at..)?.first_chunk()?));
    let long = |at: usize| Some(u64::from_be_bytes(*body.get(at..)?.first_chunk()?));
    let test = || Some(Test { nonce: short(0)?, cookie: long(2)?, token: long(10)? });
    // How long the fixed part is, so that the options behind it can be looked at.
    let (message, fixed) = match kind {
        0 => (Message::RefreshRequest, 2),
        1 => (Message::HomeTestInit { cookie: long(2)? }, 10),
        2 => (Message::CareOfTestInit { cookie: long(2)? }, 10),
        3 => (Message::HomeTest(test()?), 18),
        4 => (Message::CareOfTest(test()?), 18),
        5 => {
            let flags = short(2)?;
            let update = Update {
                sequence: short(0)?,
                acknowledge: flags & ACKNOWLEDGE != 0,
                home_registration: flags & HOME_REGISTRATION != 0,
                map_registration: flags & MAP_REGISTRATION != 0,
                lifetime: short(4)?,
                ..Update::default()
            };
            (Message::Update(update), 6)
        }
        6 => {
            let [status, _] = *body.first_chunk()?;
            let (sequence, lifetime) = (short(2)?, short(4)?);
            let acknowledgement =
                Acknowledgement { status, sequence, lifetime, ..Acknowledgement::default() };
            (Message::Acknowledgement(acknowledgement), 6)
        }
        7 => {
            let octets: [u8; 16] = *body.get(2..)?.first_chunk()?;
            (Message::Error { status: body[0], home: octets.into() }, 18)
        }
        _ => return None,
    };
    with_options(message, body.get(fixed..)?)
}

/// Reads the options of a message into it.
fn with_options(mut message: Message, bytes: &[u8]) -> Option<Message> {
    let (mut identifier, mut is_over) = (None, false);
    for option in Options(bytes) {
        let (kind, value) = option?;
        if is_over {
            // Nothing may follow an authenticator (RFC 6275 §6.2.7, RFC 4285 §5.1).
            return None;
        }
        if let (options::IDENTIFIER, Some((&NAI, name))) = (kind, value.split_first()) {
            identifier = String::from_utf8(name.to_vec()).ok();
        }
        match &mut message {
            Message::Update(update) => match kind {
                options::ALTERNATE_CARE_OF => {
                    update.care_of = Some(<[u8; 16]>::try_from(value).ok()?.into());
                }
                options::NONCE_INDICES => {
                    let [a, b, c, d] = value.try_into().ok()?;
                    update.nonces = Some([u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]);
                }
                options::AUTHORIZATION => update.authenticator = Some(value.try_into().ok()?),
                options::AUTHENTICATION => {
                    update.authentication = Some(authentication(identifier.take()?, value)?);
                }
                _ => {}
            },
            Message::Acknowledgement(acknowledgement) => match kind {
                options::REFRESH_ADVICE => {
                    acknowledgement.refresh = Some(u16::from_be_bytes(value.try_into().ok()?));
                }
                options::AUTHORIZATION => acknowledgement.authenticator = Some(value.try_into().ok()?),
                options::AUTHENTICATION => {
                    acknowledgement.authentication = Some(authentication(identifier.take()?, value)?);
                }
                _ => {}
            },
            _ => {}
        }
        is_over = matches!(kind, options::AUTHORIZATION | options::AUTHENTICATION);
    }
    Some(message)
}

/// An authentication of whom the option before it names. One of another kind than between mobile node and home agent is
/// for nobody here, so the whole message is void.
fn authentication(identifier: String, value: &[u8]) -> Option<Authentication> {
    let ([MN_HA, spi @ ..], authenticator) = value.split_first_chunk::<PROOF>()? else { return None };
    let spi = u32::from_be_bytes(*spi);
    Some(Authentication { identifier, spi, authenticator: authenticator.try_into().ok()? })
}
