//! SIP messages as typed values, and their wire form (RFC 3261 §7).

mod codec;
mod equivalence;
mod framing;
mod grammar;
mod lines;
mod message;
mod refusal;
mod sdp;
mod uri;

pub use codec::{ParseError, parse};
pub use framing::{Framer, FramingError};
pub use message::{Contact, Headers, Message, Method, Request, Response, status};
pub use refusal::refusal;
pub use sdp::{MediaDescription, Origin};
pub use uri::{Host, NameAddr, Params, Transport, Uri, Via};
