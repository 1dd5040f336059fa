//! The proxy side of a SAMP server: what it refuses, where a request goes next, and the way back (RFC 3261 §16).

use super::{MINTED_FOR, PATH, SampServer, join, loops};
use crate::overlay::wire::OverlayRoute;
use crate::sip::{Host, Method, NameAddr, Request, Response, Uri, status};
use crate::transaction::Hop;
use samp_model::Time;
use samp_model::settings::ServerMode;

/// Where a request goes from here.
pub(super) enum Next {
    /// To another server, or to the mobile node.
    Hop(Hop),
    /// This server has the callee's bindings: to these, the preferred one first.
    Contacts(Vec<NameAddr>),
}

impl SampServer {
    /// Passes a request on towards its target.
    pub(super) fn proxy(&mut self, now: Time, mut request: Request) {
        self.pop_own_route(&mut request);
        let way = loops::way_of(&request);
        if let Some(code) = self.proxy_refusal(&request, &way) {
            return self.refuse_to_proxy(&request, code);
        }
        if self.is_for_callers_anchor(&request) {
            return self.open_context(now, request, way, None);
        }
        match self.next(now, &mut request) {
            Ok(Next::Hop(hop)) => self.forward_on(request, hop, &way),
            Ok(Next::Contacts(contacts)) => self.forward_to_contacts(now, request, way, contacts),
            Err(code) => self.reply(&request, code),
        }
    }

    /// What a proxy looks at first (RFC 3261 §16.3; Max-Forwards has been looked at).
    fn proxy_refusal(&self, request: &Request, way: &str) -> Option<u16> {
        if matches!(request.method, Method::Ack | Method::Cancel) {
            return None;
        }
        if loops::is_loop(request, self.me.address, way) {
            return Some(status::LOOP_DETECTED);
        }
        if loops::breadth_of(request) == 0 {
            return Some(status::MAX_BREADTH_EXCEEDED);
        }
        request.headers.get("Proxy-Require").map(|_| status::BAD_EXTENSION)
    }

    fn refuse_to_proxy(&mut self, request: &Request, code: u16) {
        let mut response = request.response(code, &self.stateless_tag(request));
        if let (status::BAD_EXTENSION, Some(required)) = (code, request.headers.get("Proxy-Require")) {
            response.headers.set("Unsupported", required);
        }
        self.send_response(response);
    }

    /// A request that enters SAMP here. In redirect mode all of these are followed on the caller's behalf, so that a
    /// caller that does not follow redirections works, too.
    fn is_for_callers_anchor(&self, request: &Request) -> bool {
        let is_followed = match request.method {
            Method::Invite => true,
            Method::Ack | Method::Cancel => false,
            _ => self.settings.mode == ServerMode::Redirect,
        };
        is_followed
            && matches!(request.uri.host, Host::Name(_))
            && request.headers.route.is_empty()
            && OverlayRoute::of(&request.headers).is_none()
    }

    /// Where the request goes, by its Route or else by its Request-URI (RFC 3261 §16.5, §16.6 points 6 and 7).
    pub(super) fn next(&mut self, now: Time, request: &mut Request) -> Result<Next, u16> {
        if let Some(route) = request.headers.route.first() {
            let hop = Hop::of(&route.uri).ok_or(status::NOT_FOUND)?;
            if route.uri.params.get("lr").is_none() {
                // A strict router, of RFC 2543.
                let route = request.headers.route.remove(0);
                let target = std::mem::replace(&mut request.uri, route.uri);
                request.headers.route.push(NameAddr::new(target));
            }
            return Ok(Next::Hop(hop));
        }
        if let Host::Name(_) = request.uri.host {
            if let Some(peer) = self.overlay_step(request)? {
                return Ok(Next::Hop(peer.address.into()));
            }
            OverlayRoute::erase(&mut request.headers);
            let mut contacts = Vec::new();
            for anchor in self.home.targets(now, &request.uri.address_of_record()) {
                match self.minted_for(&anchor.uri) {
                    Some(own) => contacts.extend(self.anchored.targets(now, &own)),
                    None => contacts.push(anchor),
                }
            }
            return if contacts.is_empty() { Err(status::NOT_FOUND) } else { Ok(Next::Contacts(contacts)) };
        }
        if let Some(address_of_record) = self.minted_for(&request.uri) {
            let contacts = self.anchored.targets(now, &address_of_record);
            return if contacts.is_empty() { Err(status::NOT_FOUND) } else { Ok(Next::Contacts(contacts)) };
        }
        let hop = Hop::of(&request.uri).filter(|hop| hop.address != self.me.address);
        hop.map(Next::Hop).ok_or(status::NOT_FOUND)
    }

    /// One contact needs no state; several do.
    fn forward_to_contacts(&mut self, now: Time, mut request: Request, way: String, contacts: Vec<NameAddr>) {
        if self.settings.mode == ServerMode::Redirect {
            return self.redirect(&request, contacts);
        }
        match (&request.method, &contacts[..]) {
            (_, [contact]) | (Method::Ack, [contact, ..]) => match Hop::of(&contact.uri) {
                Some(hop) => {
                    request.uri = contact.uri.clone();
                    self.forward_on(request, hop, &way);
                }
                None => self.reply(&request, status::NOT_FOUND),
            },
            // Its INVITE has no context any more.
            (Method::Cancel, _) => self.reply(&request, status::NO_SUCH_CALL),
            _ => self.open_context(now, request, way, Some(contacts)),
        }
    }

    /// The address-of-record for which this server minted the URI, if it did.
    fn minted_for(&self, uri: &Uri) -> Option<String> {
        let domain = uri.params.get(MINTED_FOR)?;
        let user = uri.user.as_ref()?;
        (uri.host == Host::Ip(self.me.address.ip())).then(|| format!("sip:{user}@{domain}"))
    }

    /// A response that this server forwarded the request of statelessly.
    pub(super) fn pass_back(&mut self, mut response: Response) {
        let mine = response.headers.via.first().is_some_and(|via| {
            via.host == Host::Ip(self.me.address.ip()) && via.port.unwrap_or(5060) == self.me.address.port()
        });
        if !mine || response.headers.via.len() < 2 {
            return;
        }
        note_path(&mut response);
        response.headers.via.remove(0);
        self.send_response(response);
    }
}

/// The first server that a callee's answer meets sees the whole way in the Via values, and writes it down.
pub(super) fn note_path(response: &mut Response) {
    if response.headers.cseq_method == Method::Invite && response.headers.get(PATH).is_none() {
        let path = join(&response.servers_passed());
        response.headers.set(PATH, path);
    }
}
