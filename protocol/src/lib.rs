//! SIP, Chord and SAMP as sans-IO state machines: time, randomness and input are arguments.
#![forbid(unsafe_code)]

mod admission;
pub mod cache;
pub mod dhcp;
mod digest;
mod flood;
mod keys;
mod media;
pub mod mobile_ip;
pub mod mobile_node;
pub mod node;
pub mod overlay;
mod random;
mod recorded;
pub mod server;
pub mod sip;
pub mod slaac;
mod timers;
mod transaction;

pub use admission::Admission;
pub use flood::Flood;
pub use keys::{RingKey, shared_secret};
pub use media::Media;
pub use mobile_node::MobileNode;
pub use node::{Census, Input, MediaCommand, Node, Output, Transmit};
pub use server::SampServer;

use mobile_ip::{Agent, Association, Host, HostSettings};
use samp_model::Time;
use samp_model::agent::{AgentConfig, Mobility, Role};

/// The UDP port at which every mobile node receives RTP.
pub const RTP_PORT: u16 = 40_000;

/// Why a configuration makes no node.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BuildError {
    /// A mobile node's address-of-record is no SIP URI.
    #[error(transparent)]
    AddressOfRecord(#[from] sip::ParseError),
    /// Access routers and floods are none.
    #[error("this is no protocol node")]
    NoNode,
}

/// The node that a configuration describes.
///
/// # Errors
/// See [`BuildError`].
pub fn build(config: &AgentConfig, now: Time) -> Result<Box<dyn Node>, BuildError> {
    let samp = config.samp.clone();
    Ok(match &config.role {
        Role::SipServer { address, join, .. } => {
            let key = config.secret.as_deref().map(RingKey::new);
            Box::new(SampServer::new(*address, *join, samp, key, config.seed, now))
        }
        Role::MobileNode { address_of_record, mobility, .. } => {
            let (user, password): (sip::Uri, _) = (address_of_record.parse()?, config.secret.clone());
            // One of several terminals of a user needs a name besides the user's.
            let instance = (user.user.as_ref() != Some(&config.name)).then(|| config.name.clone());
            let lifetime = samp.registration_lifetime;
            match *mobility {
                Mobility::Samp => Box::new(MobileNode::new(user, instance, samp, password, config.seed)),
                Mobility::Sip { registrar } => {
                    let node = MobileNode::new(user, instance, samp, password, config.seed);
                    Box::new(node.with_registrar(registrar))
                }
                Mobility::MobileIp { home, home_agent, hierarchical, route_optimization, .. } => {
                    let secret = config.secret.as_deref();
                    let association = secret.map(|secret| Association::new(&config.name, secret));
                    let settings = HostSettings {
                        home,
                        home_agent,
                        hierarchical,
                        route_optimization,
                        lifetime,
                        association,
                    };
                    let user_agent = MobileNode::stationary(user, samp, home.into(), config.seed);
                    Box::new(Host::new(user_agent, settings, config.seed))
                }
            }
        }
        Role::MobilityAgent(settings) => Box::new(Agent::new(settings.clone(), config.secret.as_deref())),
        Role::AccessRouter { .. } | Role::Flooder { .. } => return Err(BuildError::NoNode),
    })
}
