//! Response contexts: requests that this server forwards statefully, to one target after the other or to several at
//! once (RFC 3261 §16.6–§16.10).
//!
//! ```text
//! request ─▶ targets ─┬▶ branch ──1xx──▶ passed on
//!                     ├▶ branch ──2xx──▶ passed on, and the other branches are cancelled
//!                     ├▶ branch ──3xx──▶ at a caller's anchor in redirect mode: more targets
//!                     └▶ branch ──3xx–6xx, silence──▶ kept; when all have ended, the best is passed on
//! ```
//!
//! Targets of equal q are tried at once, those of a lower one when the others have ended (§16.6).

use super::best_response::BestResponse;
use super::proxy::{Next, note_path};
use super::{CACHE, FORKED, MINTED_FOR, PATH, REDIRECTED, SampServer, join, loops, path_of};
use crate::cache::Learned;
use crate::sip::{Contact, Host, Method, NameAddr, Request, Response, Uri, status};
use crate::transaction::{ClientKey, ServerKey};
use samp_model::Time;
use samp_model::settings::ServerMode;
use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

/// Contexts at most; what comes above is answered by 503.
const MAX_CONTEXTS: usize = 100_000;
/// Targets of one request at most.
const MAX_TARGETS: usize = 16;
/// How often in a row a request is redirected at most.
pub(super) const MAX_REDIRECTIONS: usize = 5;
/// Timer C: how long an INVITE may ring without a word; more than 3 minutes (RFC 3261 §16.6, point 11).
const TIMER_C: Duration = Duration::from_secs(181);

/// A request and what became of it so far.
#[derive(Debug)]
pub(super) struct Context {
    /// As it came.
    request: Request,
    /// This server is the caller's anchor: it asks its cache, and follows redirections.
    is_anchor: bool,
    /// The hash of its way, for loop detection.
    way: String,
    /// Branches at once at most.
    breadth: u32,
    /// The most wanted first.
    waiting: VecDeque<Target>,
    branches: BTreeMap<ClientKey, Target>,
    /// Every target so far: none is tried twice.
    tried: Vec<Uri>,
    /// There were several contacts at once.
    is_fork: bool,
    best: BestResponse,
    cache: CacheUse,
    /// A 2xx has been passed on.
    is_answered: bool,
    /// There are to be no more branches.
    is_closed: bool,
    is_cancelled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CacheUse {
    Miss,
    Hit,
    Stale,
}

/// A URI that the request is to be sent to.
#[derive(Clone, Debug)]
struct Target {
    uri: Uri,
    /// How much it is wanted, in thousandths.
    q: u16,
    from_cache: bool,
    /// It was silent for too long, so that another way is tried, too; it may still answer.
    is_given_up: bool,
    /// The ways of the requests that were redirected before, as [`REDIRECTED`] names them.
    redirected: Vec<String>,
    /// The callee's anchor, when the way there is known to lead over it.
    anchor: Option<SocketAddr>,
}

impl Target {
    fn new(uri: Uri) -> Self {
        let (from_cache, is_given_up) = (false, false);
        Self { uri, q: NameAddr::Q_MAX, from_cache, is_given_up, redirected: Vec::new(), anchor: None }
    }
}

/// Timers of contexts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// Of an INVITE's branch: timer C.
    C(ClientKey),
    /// Of an INVITE's branch to where the cache points: when it is given up.
    Stale(ClientKey),
    /// When a non-INVITE without an answer gets its 100 (RFC 4320 §4.1).
    Trying(ServerKey),
    /// When no more 2xx can come.
    End(ServerKey),
}

impl Context {
    fn next_target(&mut self) -> Option<Target> {
        let is_room = self.branches.len() < self.breadth as usize;
        let q = self.waiting.front()?.q;
        let is_its_turn = self.branches.values().all(|branch| branch.q <= q);
        if is_room && is_its_turn && !self.is_closed { self.waiting.pop_front() } else { None }
    }

    /// Adds targets that have not been tried, for `from`; says how many these are.
    fn add(&mut self, addresses: impl IntoIterator<Item = NameAddr>, from: &Target) -> usize {
        let mut added = 0;
        for address in addresses {
            // A contact without q is as good as any.
            let (q, uri) = (address.q().unwrap_or(NameAddr::Q_MAX), address.uri);
            if self.tried.len() < MAX_TARGETS && !self.tried.contains(&uri) {
                self.tried.push(uri.clone());
                let minted = uri.params.get(MINTED_FOR).and_then(|_| uri.socket_address());
                self.waiting.push_back(Target { uri, q, anchor: minted.or(from.anchor), ..from.clone() });
                added += 1;
            }
        }
        self.waiting.make_contiguous().sort_by_key(|target| Reverse(target.q));
        self.is_fork |= added > 1;
        added
    }

    fn close(&mut self) {
        self.is_closed = true;
        self.waiting.clear();
    }
}

impl SampServer {
    /// Takes charge of a request, for these contacts or, as the caller's anchor, for its Request-URI.
    pub(super) fn open_context(
        &mut self,
        now: Time,
        request: Request,
        way: String,
        contacts: Option<Vec<NameAddr>>,
    ) {
        let room = self.contexts.len() < MAX_CONTEXTS;
        let Some(server) = room.then(|| self.transactions.accept(&request)).flatten() else {
            return self.reply(&request, status::UNAVAILABLE);
        };
        let is_invite = request.method == Method::Invite;
        if is_invite {
            self.transactions.respond(now, &server, request.response(status::TRYING, ""));
        } else {
            self.timers.set(Timer::Trying(server), now + self.time_to_t2());
        }
        let callee = request.uri.address_of_record();
        let is_anchor = contacts.is_none();
        let cached = if is_anchor && is_invite { self.tier2.get(now, &callee) } else { None };
        let mut context = Context {
            is_anchor,
            way,
            breadth: loops::breadth_of(&request),
            waiting: VecDeque::new(),
            branches: BTreeMap::new(),
            tried: Vec::new(),
            is_fork: false,
            best: BestResponse::default(),
            cache: if cached.is_some() { CacheUse::Hit } else { CacheUse::Miss },
            is_answered: false,
            is_closed: false,
            is_cancelled: false,
            request,
        };
        let first = Target::new(context.request.uri.clone());
        match cached {
            Some(anchor) => {
                let mut uri = Uri::at(context.request.uri.user.as_deref(), anchor);
                uri.params.set(MINTED_FOR, Some(context.request.uri.host.to_string()));
                context.add([NameAddr::new(uri)], &Target { from_cache: true, ..first });
            }
            None => {
                context.add(contacts.unwrap_or_else(|| vec![NameAddr::new(first.uri.clone())]), &first);
            }
        }
        self.contexts.insert(server, context);
        self.pursue(now, server);
    }

    /// When timer E of who sent a request has grown to T2 (RFC 4320 §4.1).
    fn time_to_t2(&self) -> Duration {
        let (mut interval, mut passed) = (self.settings.t1, Duration::ZERO);
        while interval < self.settings.t2 {
            passed += interval;
            interval *= 2;
        }
        passed
    }

    /// Starts what may be started, and ends what has come to its end.
    fn pursue(&mut self, now: Time, server: ServerKey) {
        while let Some(target) = self.contexts.get_mut(&server).and_then(Context::next_target) {
            self.start_branch(now, server, target);
        }
        self.conclude(now, server);
    }

    fn start_branch(&mut self, now: Time, server: ServerKey, target: Target) {
        let Some(context) = self.contexts.get(&server) else { return };
        let mut request = context.request.clone();
        request.uri = target.uri.clone();
        let alike = context.waiting.iter().filter(|waiting| waiting.q == target.q).count();
        let at_once = (context.branches.len() + alike + 1) as u32;
        loops::set_breadth(&mut request, (context.breadth / at_once).max(1));
        let branch = format!("{}.{}", self.random.branch(), context.way);
        match self.next(now, &mut request) {
            Ok(Next::Hop(hop)) => {
                let is_invite = request.method == Method::Invite;
                self.prepare_forward(&mut request, &branch, hop.address);
                let key = self.transactions.send(now, request, hop, None);
                if target.from_cache {
                    self.timers.set(Timer::Stale(key), now + self.settings.stale_deadline);
                }
                if is_invite {
                    self.timers.set(Timer::C(key), now + TIMER_C);
                }
                self.branches.insert(key, server);
                if let Some(context) = self.contexts.get_mut(&server) {
                    context.branches.insert(key, target);
                }
            }
            Ok(Next::Contacts(contacts)) => {
                let added =
                    self.contexts.get_mut(&server).map_or(0, |context| context.add(contacts, &target));
                if added == 0 {
                    self.end_branch(now, server, &target, Err(status::LOOP_DETECTED));
                }
            }
            Err(code) => self.end_branch(now, server, &target, Err(code)),
        }
    }

    pub(super) fn handle_branch_response(&mut self, now: Time, key: ClientKey, mut response: Response) {
        let Some(&server) = self.branches.get(&key) else { return };
        let is_invite = response.headers.cseq_method == Method::Invite;
        note_path(&mut response);
        let target = self.contexts.get(&server).and_then(|context| context.branches.get(&key));
        if let Some(target) = target.filter(|target| is_invite && !target.redirected.is_empty()) {
            response.headers.set(REDIRECTED, target.redirected.join(", "));
        }
        response.headers.via.remove(0);
        match response.status {
            // The caller has had its own 100; a 100 is never passed on, nor any other to a non-INVITE (RFC 4320).
            status::TRYING => {}
            ..=199 if is_invite => {
                self.timers.set(Timer::C(key), now + TIMER_C);
                if let Some(context) = self.contexts.get_mut(&server) {
                    context.branches.entry(key).and_modify(|target| target.is_given_up = false);
                }
                self.transactions.respond(now, &server, response);
            }
            ..=199 => {}
            200..=299 => self.handle_branch_success(now, server, key, response),
            300.. => {
                if let Some(target) = self.take_branch(server, key) {
                    self.end_branch(now, server, &target, Ok(response));
                    self.pursue(now, server);
                }
            }
        }
    }

    /// Nobody answered on a branch, or it could not be reached (RFC 3261 §16.8, §16.9), which counts as this code.
    pub(super) fn handle_branch_failure(&mut self, now: Time, key: ClientKey, code: u16) {
        let Some(&server) = self.branches.get(&key) else { return };
        let Some(target) = self.take_branch(server, key) else { return };
        let is_cancelled = self.contexts.get(&server).is_some_and(|context| context.is_cancelled);
        let code = if is_cancelled { status::REQUEST_TERMINATED } else { code };
        self.end_branch(now, server, &target, Err(code));
        self.pursue(now, server);
    }

    /// Nobody has said a word where the cache points. That proves little within a short time, so the ring is asked as
    /// well, and the branch goes on.
    fn give_up(&mut self, now: Time, key: ClientKey) {
        let Some(&server) = self.branches.get(&key).filter(|_| self.transactions.unheard(&key).is_some())
        else {
            return;
        };
        let Some(context) = self.contexts.get_mut(&server).filter(|context| !context.is_closed) else {
            return;
        };
        if context.breadth == 1 {
            self.transactions.forget(&key);
            return self.handle_branch_failure(now, key, status::REQUEST_TIMEOUT);
        }
        if let Some(target) = context.branches.get_mut(&key) {
            target.is_given_up = true;
            self.ask_the_ring(server);
            self.pursue(now, server);
        }
    }

    /// The cached anchor does not have the callee any more: its home server knows who does.
    fn ask_the_ring(&mut self, server: ServerKey) {
        let Some(context) = self.contexts.get_mut(&server) else { return };
        self.tier2.forget(&context.request.uri.address_of_record());
        context.cache = CacheUse::Stale;
        let uri = context.request.uri.clone();
        context.add([NameAddr::new(uri.clone())], &Target::new(uri));
    }

    /// A server is gone: what was sent to it over the ring, and not answered by a word, takes the ring's new way instead
    /// of waiting for timer B.
    pub(super) fn reroute(&mut self, now: Time, gone: SocketAddr) {
        let is_lost = |key: &ClientKey| self.transactions.unheard(key) == Some(gone);
        let branches = self.branches.iter().map(|(&key, &server)| (key, server));
        let lost: Vec<_> = branches.filter(|(key, _)| is_lost(key)).collect();
        for (key, server) in lost {
            let Some(context) = self.contexts.get_mut(&server).filter(|context| !context.is_closed) else {
                continue;
            };
            let is_on_the_ring = |target: &&Target| matches!(target.uri.host, Host::Name(_));
            if let Some(target) = context.branches.get(&key).filter(is_on_the_ring).cloned() {
                context.waiting.push_front(target);
                self.take_branch(server, key);
                self.transactions.forget(&key);
                self.pursue(now, server);
            }
        }
    }

    fn take_branch(&mut self, server: ServerKey, key: ClientKey) -> Option<Target> {
        self.branches.remove(&key);
        self.timers.stop(&Timer::C(key));
        self.timers.stop(&Timer::Stale(key));
        self.contexts.get_mut(&server)?.branches.remove(&key)
    }

    /// A 2xx is passed on at once, an INVITE's also when it is not the first (RFC 3261 §16.7, point 5).
    fn handle_branch_success(
        &mut self,
        now: Time,
        server: ServerKey,
        key: ClientKey,
        mut response: Response,
    ) {
        self.timers.stop(&Timer::C(key));
        let Some(context) = self.contexts.get_mut(&server) else { return };
        let Some(target) = context.branches.get(&key) else { return };
        if context.is_fork {
            response.headers.set(FORKED, "yes");
        }
        if context.is_anchor && response.headers.cseq_method == Method::Invite {
            let port = self.me.address.port();
            let last = path_of(&response).last().map(|&ip| SocketAddr::new(ip, port));
            // Whose terminals are at several anchors must be looked up each time, or only one would ring.
            if let (Some(anchor), None) = (target.anchor.or(last), response.headers.get(FORKED)) {
                let callee = context.request.uri.address_of_record();
                self.tier2.learn(now, &callee, anchor, Learned::Found);
            }
            let outcome = match context.cache {
                CacheUse::Hit => "hit",
                CacheUse::Stale => "stale",
                CacheUse::Miss => "miss",
            };
            response.headers.set(CACHE, outcome);
        }
        let is_first = !std::mem::replace(&mut context.is_answered, true);
        context.close();
        let others: Vec<_> = context.branches.keys().copied().filter(|&other| other != key).collect();
        let is_invite = context.request.method == Method::Invite;
        self.transactions.respond(now, &server, response);
        if !is_invite {
            return self.end_context(server);
        }
        if is_first {
            self.cancel_all(now, &others);
            self.timers.set(Timer::End(server), now + 64 * self.settings.t1);
        }
    }

    /// A branch has brought no 2xx: a response of the callee's side, or a code of this server's.
    fn end_branch(&mut self, now: Time, server: ServerKey, target: &Target, outcome: Result<Response, u16>) {
        let tag = self.random.token("tag");
        let Some(context) = self.contexts.get_mut(&server).filter(|context| !context.is_answered) else {
            return;
        };
        let response = outcome.unwrap_or_else(|code| context.request.response(code, &tag));
        let is_gone =
            matches!(response.status, status::NOT_FOUND | status::REQUEST_TIMEOUT | status::UNAVAILABLE);
        if target.from_cache && is_gone && !context.is_closed && context.cache == CacheUse::Hit {
            // If the home server names it too, it is asked again.
            context.tried.retain(|tried| *tried != target.uri);
            return self.ask_the_ring(server);
        }
        let mut given_up = context.branches.values_mut().filter(|branch| branch.is_given_up);
        if response.status == status::LOOP_DETECTED
            && let Some(branch) = given_up.next()
        {
            // The callee has it already, by the branch that was given up: that one makes the call.
            branch.is_given_up = false;
            return;
        }
        let follows = context.is_anchor && self.settings.mode == ServerMode::Redirect && !context.is_closed;
        if follows && (300..400).contains(&response.status) && target.redirected.len() < MAX_REDIRECTIONS {
            let mut redirected = target.clone();
            let way: Vec<_> = path_of(&response).iter().map(ToString::to_string).collect();
            redirected.redirected.push(way.join(" "));
            if context.add(contacts_of(&response), &redirected) > 0 {
                return;
            }
        }
        context.best.add(response);
        if context.best.is_global_refusal() {
            context.close();
            let pending: Vec<_> = context.branches.keys().copied().collect();
            self.cancel_all(now, &pending);
        }
    }

    fn cancel_all(&mut self, now: Time, branches: &[ClientKey]) {
        for key in branches {
            self.transactions.cancel(now, key);
        }
    }

    /// When all branches have ended: the best response.
    fn conclude(&mut self, now: Time, server: ServerKey) {
        let Some(context) = self.contexts.get_mut(&server) else { return };
        let is_pending = context.branches.values().any(|branch| !branch.is_given_up);
        if context.is_answered || is_pending || !context.waiting.is_empty() {
            return;
        }
        context.branches.keys().for_each(|key| self.transactions.forget(key));
        let tag = self.random.token("tag");
        let response = match context.best.take(&context.request.method) {
            Ok(Some(response)) => response,
            Ok(None) => {
                self.transactions.abandon(&server);
                return self.end_context(server);
            }
            Err(code) => context.request.response(code, &tag),
        };
        self.transactions.respond(now, &server, response);
        self.end_context(server);
    }

    fn end_context(&mut self, server: ServerKey) {
        let Some(context) = self.contexts.remove(&server) else { return };
        for key in context.branches.into_keys() {
            self.branches.remove(&key);
            self.timers.stop(&Timer::C(key));
            self.timers.stop(&Timer::Stale(key));
        }
        self.timers.stop(&Timer::Trying(server));
        self.timers.stop(&Timer::End(server));
    }

    pub(super) fn handle_context_timer(&mut self, now: Time, timer: Timer) {
        match timer {
            Timer::C(key) => self.cancel_all(now, &[key]),
            Timer::Stale(key) => self.give_up(now, key),
            Timer::Trying(server) => {
                if let Some(context) = self.contexts.get(&server) {
                    let trying = context.request.response(status::TRYING, "");
                    self.transactions.respond(now, &server, trying);
                }
            }
            Timer::End(server) => self.end_context(server),
        }
    }

    /// CANCEL is hop by hop where there is state (RFC 3261 §16.10), and follows its INVITE elsewhere.
    pub(super) fn handle_cancel(&mut self, now: Time, request: Request) {
        let Some(server) = self.transactions.cancelled_by(&request) else {
            return self.proxy(now, request);
        };
        if let Some(key) = self.transactions.accept(&request) {
            let tag = self.random.token("tag");
            self.transactions.respond(now, &key, request.response(status::OK, &tag));
        }
        let Some(context) = self.contexts.get_mut(&server).filter(|context| !context.is_answered) else {
            return;
        };
        context.is_cancelled = true;
        context.close();
        let pending: Vec<_> = context.branches.keys().copied().collect();
        self.cancel_all(now, &pending);
    }

    /// Says where the callee is, instead of going there (RFC 3261 §8.3); the preferred contact first.
    pub(super) fn redirect(&mut self, request: &Request, contacts: Vec<NameAddr>) {
        match request.method {
            Method::Ack => {}
            Method::Cancel => self.reply(request, status::NO_SUCH_CALL),
            _ => {
                let mut response = request.response(status::MOVED_TEMPORARILY, &self.stateless_tag(request));
                response.headers.contact = contacts.into_iter().map(Contact::Address).collect();
                let mut way = request.servers_passed();
                way.push(self.me.address.ip());
                response.headers.set(PATH, join(&way));
                self.send_response(response);
            }
        }
    }
}

/// The contacts of a redirection; only `sip:` URIs of addresses can be followed.
fn contacts_of(response: &Response) -> impl Iterator<Item = NameAddr> {
    response.headers.contact.iter().filter_map(|contact| match contact {
        Contact::Address(address) if matches!(address.uri.host, Host::Ip(_)) => Some(address.clone()),
        _ => None,
    })
}
