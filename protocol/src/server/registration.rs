//! Registration with this server, as anchor or as home, and the discovery that comes before.

use super::registrar::Registrar;
use super::{INSTANCE, MINTED_FOR, PATH, SampServer, join};
use crate::node::Transmit;
use crate::overlay::wire::OverlayRoute;
use crate::sip::{Contact, Host, Message, NameAddr, Request, Response, Transport, Uri, status};
use crate::transaction::{Hop, ServerKey};
use samp_model::Time;
use std::net::SocketAddr;
use std::sync::Arc;

impl SampServer {
    /// A mobile node looks for an anchor: anyone that hears it offers itself, by unicast to the source.
    pub(super) fn answer_discovery(&mut self, now: Time, from: SocketAddr, request: &Request) {
        let mut response = request.response(status::OK, &self.stateless_tag(request));
        if let Some(contact) = request.headers.contact_address() {
            self.confirmations.offer(now, request);
            response.headers.contact.push(Contact::Address(NameAddr::new(contact.uri.clone())));
            self.add_minted(&mut response);
        }
        let message = Arc::new(Message::Response(response));
        self.transmits.push_back(Transmit::new(from, Transport::Udp, message));
    }

    pub(super) fn handle_register(&mut self, now: Time, mut request: Request) {
        if self.is_leaving() && OverlayRoute::of(&request.headers).is_none() {
            return self.reply(&request, status::UNAVAILABLE);
        }
        if request.uri.host == Host::Ip(self.me.address.ip()) {
            return self.register(now, &request, RegisterAt::Anchor);
        }
        let for_another_anchor = matches!(request.uri.host, Host::Ip(_));
        if let (true, None, Some(registrar)) =
            (for_another_anchor, OverlayRoute::of(&request.headers), Hop::of(&request.uri))
        {
            // Not this registrar's domain (§10.3, point 1).
            return self.forward(request, registrar);
        }
        // The Route to this server, if any, has done its work (RFC 3261 §16.4).
        self.pop_own_route(&mut request);
        match self.overlay_step(&mut request) {
            Ok(None) if self.is_leaving() => self.reply(&request, status::UNAVAILABLE),
            Ok(None) if for_another_anchor => self.vouch(now, &request),
            Ok(None) => self.register(now, &request, RegisterAt::Home),
            Ok(Some(peer)) => self.forward(request, peer.address),
            Err(code) => self.reply(&request, code),
        }
    }

    fn register(&mut self, now: Time, request: &Request, at: RegisterAt) {
        if let Some(required) = request.headers.get("Require") {
            // None is supported (§10.3, point 2).
            let mut response = request.response(status::BAD_EXTENSION, &self.stateless_tag(request));
            response.headers.set("Unsupported", required);
            return self.send_response(response);
        }
        let to = &request.headers.to.uri;
        if to.user.is_none() || at == RegisterAt::Home && to.host != request.uri.host {
            // No address-of-record of this domain (§10.3, point 5).
            return self.reply(request, status::NOT_FOUND);
        }
        if self.authorize(now, request, at)
            && let Some(key) = self.transactions.accept(request)
        {
            self.apply_register(now, &key, request, at);
        }
    }

    pub(super) fn registrar(&self, at: RegisterAt) -> &Registrar {
        match at {
            RegisterAt::Anchor => &self.anchored,
            RegisterAt::Home => &self.home,
        }
    }

    pub(super) fn registrar_mut(&mut self, at: RegisterAt) -> &mut Registrar {
        match at {
            RegisterAt::Anchor => &mut self.anchored,
            RegisterAt::Home => &mut self.home,
        }
    }

    /// Applies a REGISTER that its user may send, and answers it.
    pub(super) fn apply_register(&mut self, now: Time, key: &ServerKey, request: &Request, at: RegisterAt) {
        let (epoch, user) = (self.epoch, request.headers.to.uri.address_of_record());
        let tag = self.random.token("tag");
        let registrar = self.registrar_mut(at);
        let result = registrar.register(now, request, epoch);
        let mut response = request.response(result.err().unwrap_or(status::OK), &tag);
        if result == Err(status::INTERVAL_TOO_BRIEF) {
            response.headers.set("Min-Expires", registrar.min_expires().to_string());
        }
        if result.is_ok() {
            response.headers.contact = registrar.contacts(now, &user);
            if let Some(info) = self.authentication_info(now, &user) {
                response.headers.set("Authentication-Info", info);
            }
            let mut path = request.servers_passed();
            path.push(self.me.address.ip());
            response.headers.set(PATH, join(&path));
            if at == RegisterAt::Anchor {
                self.add_minted(&mut response);
            }
        }
        // What was used to sign a request is copied even when nothing else comes of it.
        let is_written = result.is_ok() && !request.headers.contact.is_empty() || self.auth.is_some();
        if at == RegisterAt::Home && is_written {
            return self.respond_when_held(now, key, user, response);
        }
        self.transactions.respond(now, key, response);
    }

    /// Tells the node the URI that goes with each of its contacts.
    fn add_minted(&self, response: &mut Response) {
        let to = response.headers.to.uri.clone();
        for contact in &mut response.headers.contact {
            if let Contact::Address(address) = contact {
                let minted = self.mint(&to, &address.uri);
                address.params.set("pub-gruu", Some(format!("\"{minted}\"")));
            }
        }
    }

    /// The URI by which this anchor, and only it, knows the terminal: local moves never change it.
    fn mint(&self, address_of_record: &Uri, contact: &Uri) -> Uri {
        let mut uri = Uri::at(address_of_record.user.as_deref(), self.me.address);
        uri.params.set(MINTED_FOR, Some(address_of_record.host.to_string()));
        if let Some(instance) = contact.params.get(INSTANCE) {
            uri.params.set(INSTANCE, Some(instance.to_owned()));
        }
        uri
    }
}

/// The URI that an anchor minted for this contact, from the 200 to its REGISTER.
pub(crate) fn minted_uri(response: &Response, contact: &Uri) -> Option<Uri> {
    let mut addresses = response.headers.contact.iter().filter_map(|listed| match listed {
        Contact::Address(address) if address.uri == *contact => Some(address),
        _ => None,
    });
    addresses.next()?.params.get("pub-gruu")?.trim_matches('"').parse().ok()
}

/// In which of its two parts a server registers somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RegisterAt {
    Anchor,
    Home,
}
