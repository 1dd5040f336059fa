//! A flood of requests: what somebody sends who neither backs off nor sends again, and how it is answered.

use crate::sip::{Contact, Headers, Host, Method, NameAddr, Request, Response, Uri, Via};
use crate::transaction::ack;
use bytes::Bytes;
use samp_model::flood::{FloodRequest, PATIENCE};
use samp_model::record::{Answers, FloodNumber};
use samp_model::topology::SIP_DOMAIN;
use samp_model::{Event, Time, flood};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// How the Call-IDs of floods begin.
const CALL_ID: &str = "flood.";
/// What is due within so long of the last wake-up waits for the next: above 1,000 requests a second they go in groups.
const STEP: Duration = Duration::from_millis(1);
/// So many made-up users take turns, so that a server's bindings of them are no more either.
const USERS: u64 = 1_000;
/// How long a made-up user's binding is to last, in seconds.
const EXPIRES: u32 = 60;

/// Whether a Call-ID is a flood's. Single messages of floods are not recorded: they would be most of a run's records, and a
/// cost that the flood itself does not have.
pub(crate) fn is_of_flood(call_id: &str) -> bool {
    call_id.starts_with(CALL_ID)
}

/// A flood of one SIP server.
///
/// The driver calls [`send_due`](Self::send_due) when [`next_due`](Self::next_due) says, and ends with
/// [`ended`](Self::ended) when that says none.
#[derive(Debug)]
pub struct Flood {
    number: FloodNumber,
    to: String,
    flood: flood::Flood,
    server: SocketAddr,
    own: SocketAddr,
    began: Time,
    /// When it was last seen to what is due.
    looked: Option<Time>,
    /// The next request.
    next: u64,
    sent: u64,
    /// The requests that are not answered yet and may still be, with when they were sent.
    waiting: BTreeMap<u64, Time>,
    /// How many there were of each final status.
    answers: BTreeMap<u16, u64>,
    unanswered: u64,
}

impl Flood {
    /// One that begins now, from the address `own` to that of the server with the name `to`.
    pub fn new(
        number: FloodNumber,
        to: &str,
        flood: flood::Flood,
        server: SocketAddr,
        own: SocketAddr,
        now: Time,
    ) -> Self {
        Self {
            number,
            to: to.to_owned(),
            flood,
            server,
            own,
            began: now,
            looked: None,
            next: 0,
            sent: 0,
            waiting: BTreeMap::new(),
            answers: BTreeMap::new(),
            unanswered: 0,
        }
    }

    /// Where its requests go.
    pub fn server(&self) -> SocketAddr {
        self.server
    }

    /// Whence they come, and where it is answered.
    pub fn own(&self) -> SocketAddr {
        self.own
    }

    /// That it begins.
    pub fn began(&self) -> Event {
        Event::FloodBegan { number: self.number, to: self.to.clone(), flood: self.flood }
    }

    /// What came of it.
    pub fn ended(&self) -> Event {
        Event::FloodEnded {
            number: self.number,
            to: self.to.clone(),
            sent: self.sent,
            answers: self.answers.iter().map(|(&status, &count)| Answers { status, count }).collect(),
            unanswered: self.unanswered + self.waiting.len() as u64,
        }
    }

    /// When there is something to do again; none when all is sent and answered, or has had its time.
    pub fn next_due(&self) -> Option<Time> {
        if self.next < self.flood.requests() {
            let due = self.began + self.flood.due(self.next);
            return Some(self.looked.map_or(due, |looked| due.max(looked + STEP)));
        }
        self.waiting.values().next().map(|&sent| sent + PATIENCE)
    }

    /// Sends what is due; `send` says whether a request has left. One that has not is not sent again.
    pub fn send_due(&mut self, now: Time, mut send: impl FnMut(Request) -> bool) {
        self.looked = Some(now);
        while self.next < self.flood.requests() && self.began + self.flood.due(self.next) <= now {
            if send(self.request(self.next)) {
                self.sent += 1;
                self.waiting.insert(self.next, now);
            }
            self.next += 1;
        }
        while let Some(oldest) = self.waiting.first_entry().filter(|oldest| *oldest.get() + PATIENCE <= now) {
            oldest.remove();
            self.unanswered += 1;
        }
    }

    /// Counts an answer. What is returned is to be sent: without its ACK the server would repeat a refusal of an
    /// INVITE (RFC 3261 §17.2.1), which would be another flood.
    pub fn handle_response(&mut self, response: &Response) -> Option<Request> {
        let number = self.number_of(response).filter(|_| response.status >= 200)?;
        if self.waiting.remove(&number).is_some() {
            *self.answers.entry(response.status).or_default() += 1;
        }
        let is_refusal = response.status >= 300 && self.flood.request == FloodRequest::Invite;
        is_refusal.then(|| ack(&self.request(number), response))
    }

    /// The request that a response answers, if it is one of this flood's.
    fn number_of(&self, response: &Response) -> Option<u64> {
        let branch = response.headers.via.first()?.branch();
        let number = branch.strip_prefix(&self.branch())?.parse().ok()?;
        (number < self.next).then_some(number)
    }

    /// How the branches of this flood's requests begin.
    fn branch(&self) -> String {
        format!("z9hG4bKflood{}-", self.number)
    }

    fn request(&self, number: u64) -> Request {
        let (user, round) = (format!("flood-{}-{}", self.number, number % USERS), number / USERS);
        let domain = Host::Name(SIP_DOMAIN.to_owned());
        let made_up = Uri::new(Some(&user), domain);
        let server = Uri::new(None, Host::Ip(self.server.ip()));
        let contact = || vec![Contact::Address(NameAddr::new(Uri::at(Some(&user), self.own)))];
        let (method, uri, contact, expires) = match self.flood.request {
            FloodRequest::Register => (Method::Register, server, contact(), Some(EXPIRES)),
            FloodRequest::Options => (Method::Options, server, Vec::new(), None),
            FloodRequest::Invite => (Method::Invite, made_up.clone(), contact(), None),
        };
        let to = if method == Method::Options { uri.clone() } else { made_up.clone() };
        Request {
            headers: Headers {
                via: vec![Via::new(self.own, &format!("{}{number}", self.branch()))],
                from: NameAddr::new(made_up).with("tag", Some(format!("{number}"))),
                to: NameAddr::new(to),
                call_id: format!("{}{}.{}", CALL_ID, self.number, number % USERS),
                cseq: round as u32 + 1,
                cseq_method: method.clone(),
                max_forwards: Some(70),
                route: Vec::new(),
                contact,
                expires,
                other: Vec::new(),
            },
            method,
            uri,
            body: Bytes::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::{Input, Node};
    use crate::server::SampServer;
    use crate::sip::{Message, Transport, parse, status};
    use samp_model::settings::SampSettings;

    const SERVER: &str = "10.0.0.1:5060";

    fn flood(request: FloodRequest, rate: u32, lasts: Duration) -> Flood {
        let flood = flood::Flood { request, rate, lasts };
        let [server, own] = [SERVER, "10.0.0.2:50001"].map(|text| text.parse().unwrap());
        Flood::new(1, "s1", flood, server, own, Time::ZERO)
    }

    /// What is sent, with when, by a driver that is never late.
    fn sent(flood: &mut Flood, until: Duration) -> Vec<(Time, Request)> {
        let mut sent = Vec::new();
        while let Some(due) = flood.next_due().filter(|due| *due <= Time::ZERO + until) {
            flood.send_due(due, |request| {
                sent.push((due, request));
                true
            });
        }
        sent
    }

    fn counts(flood: &Flood) -> (u64, Vec<(u16, u64)>, u64) {
        let Event::FloodEnded { sent, answers, unanswered, .. } = flood.ended() else { panic!("it ends") };
        (sent, answers.iter().map(|it| (it.status, it.count)).collect(), unanswered)
    }

    /// What a server that is alone on its ring answers.
    fn answers(server: &mut SampServer, request: &Request) -> Vec<Response> {
        let message = parse(&Message::Request(request.clone()).to_bytes()).expect("a SIP message");
        let (from, to) = ("10.0.0.2:50001".parse().unwrap(), "10.0.0.1".parse().unwrap());
        server.handle_input(
            Time::ZERO,
            Input::Message { from, to, transport: Transport::Udp, message, bytes: 0 },
        );
        let transmits = std::iter::from_fn(|| server.poll_transmit());
        let responses = transmits.filter_map(|transmit| match &*transmit.message {
            Message::Response(response) => Some(response.clone()),
            Message::Request(_) => None,
        });
        responses.collect()
    }

    #[test]
    fn requests_keep_to_their_rate_and_go_in_groups_where_it_is_high() {
        let mut slow = flood(FloodRequest::Register, 400, Duration::from_secs(1));
        let times: Vec<_> = sent(&mut slow, Duration::from_secs(1)).into_iter().map(|(at, _)| at).collect();
        assert_eq!(times.len(), 400);
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] == Duration::from_micros(2_500)));
        let mut fast = flood(FloodRequest::Register, 20_000, Duration::from_secs(1));
        let mut times: Vec<_> =
            sent(&mut fast, Duration::from_secs(2)).into_iter().map(|(at, _)| at).collect();
        assert_eq!(times.len(), 20_000);
        times.dedup();
        assert!((1_000..=1_001).contains(&times.len()), "{}", times.len());
    }

    #[test]
    fn who_wakes_late_sends_all_that_is_due() {
        let mut flood = flood(FloodRequest::Options, 100, Duration::from_secs(1));
        let mut count = 0;
        flood.send_due(Time::ZERO + Duration::from_millis(500), |_| {
            count += 1;
            count != 1
        });
        assert_eq!(count, 51);
        assert_eq!(counts(&flood), (50, vec![], 50), "one has not left");
        assert_eq!(flood.next_due(), Some(Time::ZERO + Duration::from_millis(510)));
    }

    #[test]
    fn answers_are_counted_once_and_in_time() {
        let mut flood = flood(FloodRequest::Register, 1_000, Duration::from_millis(4));
        let requests = sent(&mut flood, Duration::from_secs(1));
        let answer = |number: usize, code| requests[number].1.response(code, "tag");
        for (number, code) in [(0, 100), (0, 200), (0, 200), (1, 503)] {
            assert_eq!(flood.handle_response(&answer(number, code)), None);
        }
        let mut stranger = answer(2, 200);
        stranger.headers.via[0].params.set("branch", Some("z9hG4bKflood1-999".to_owned()));
        flood.handle_response(&stranger);
        assert_eq!(flood.next_due(), Some(Time::ZERO + Duration::from_millis(2) + PATIENCE));
        sent(&mut flood, Duration::from_secs(3));
        flood.handle_response(&answer(2, 200));
        assert_eq!(flood.next_due(), None);
        assert_eq!(counts(&flood), (4, vec![(200, 1), (503, 1)], 2));
    }

    #[test]
    fn a_server_understands_what_it_is_flooded_with() {
        for (request, expected) in [
            (FloodRequest::Register, status::OK),
            (FloodRequest::Options, status::OK),
            (FloodRequest::Invite, status::NOT_FOUND),
        ] {
            let mut server =
                SampServer::new(SERVER.parse().unwrap(), None, SampSettings::default(), None, 1, Time::ZERO);
            let mut flood = flood(request, 10, Duration::from_millis(200));
            for (_, request) in sent(&mut flood, Duration::from_millis(200)) {
                for response in answers(&mut server, &request) {
                    if let Some(ack) = flood.handle_response(&response) {
                        assert_eq!(
                            (ack.method.clone(), ack.headers.cseq),
                            (Method::Ack, request.headers.cseq)
                        );
                        assert_eq!(answers(&mut server, &ack), []);
                    }
                }
            }
            assert_eq!(counts(&flood), (2, vec![(expected, 2)], 0), "{request:?}");
        }
    }
}
