//! Overload: what would take too long is refused at once, so that the rest does not have to wait for it, too.
//!
//! Only what opens something new is refused: REGISTER, and requests outside of a dialog. What continues or ends
//! something (ACK, BYE, CANCEL, requests within a dialog), and what keeps the ring together, is always taken.

use super::SampServer;
use crate::sip::{Method, Request, status};
use std::net::IpAddr;

/// Retry-After is drawn from so many seconds, the first being 1, so that those refused do not all come back at once.
const SPREAD: usize = 4;

impl SampServer {
    fn is_overloaded(&self) -> bool {
        self.lag > self.settings.overload_lag || self.transactions.len() >= self.settings.max_transactions
    }

    /// Refuses a request when there is too much to do (RFC 3261 §21.5.4); says whether it has. A mobile node that looks
    /// for an anchor hears nothing from this server then.
    pub(super) fn refuse_overload(&mut self, to: IpAddr, request: &Request) -> bool {
        let continues = match request.method {
            Method::Ack | Method::Cancel | Method::Bye | Method::Overlay => true,
            Method::Register => false,
            _ => request.headers.to.tag().is_some(),
        };
        if continues || !self.is_overloaded() {
            return false;
        }
        if to.is_multicast() {
            return true;
        }
        let mut response = request.response(status::UNAVAILABLE, &self.stateless_tag(request));
        let seconds = 1 + self.random.index("retry after", SPREAD);
        response.headers.set("Retry-After", seconds.to_string());
        self.send_response(response);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::{Input, Node};
    use crate::sip::{Message, Response, Transport, parse};
    use samp_model::Time;
    use samp_model::settings::SampSettings;
    use std::time::Duration;

    fn server(settings: SampSettings) -> SampServer {
        SampServer::new("10.0.0.1:5060".parse().unwrap(), None, settings, None, 1, Time::ZERO)
    }

    /// What the server answers to this request, if anything.
    fn answer(server: &mut SampServer, method: &str, to_tag: &str, branch: u32) -> Option<Response> {
        let text = format!(
            "{method} sip:10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.9.9.9;branch=z9hG4bK{branch}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:mn1@samp.test>;tag=a\r\nTo: <sip:mn1@samp.test>{to_tag}\r\n\
             Call-ID: c\r\nCSeq: {branch} {method}\r\nContact: <sip:mn1@10.9.9.9>\r\n\r\n"
        );
        let input = Input::Message {
            from: "10.9.9.9:5060".parse().unwrap(),
            to: "10.0.0.1".parse().unwrap(),
            transport: Transport::Udp,
            message: parse(text.as_bytes()).unwrap(),
            bytes: 0,
        };
        server.handle_input(Time::ZERO, input);
        let sent = std::iter::from_fn(|| server.poll_transmit());
        sent.filter_map(|transmit| match &*transmit.message {
            Message::Response(response) => Some(response.clone()),
            Message::Request(_) => None,
        })
        .last()
    }

    #[test]
    fn a_server_that_lags_behind_refuses_what_is_new_and_says_when_to_come_back() {
        let mut server = server(SampSettings::default());
        server.handle_input(Time::ZERO, Input::Lag(Duration::from_secs(1)));
        for (branch, (method, to_tag, refused)) in [
            ("REGISTER", "", true),
            ("INVITE", "", true),
            ("OPTIONS", "", true),
            ("INVITE", ";tag=b", false),
            ("BYE", ";tag=b", false),
            ("ACK", ";tag=b", false),
        ]
        .into_iter()
        .enumerate()
        {
            let answer = answer(&mut server, method, to_tag, branch as u32);
            let retry_after = answer.as_ref().and_then(|answer| answer.headers.get("Retry-After"));
            assert_eq!(retry_after.is_some(), refused, "{method} {answer:?}");
            if let (Some(answer), Some(seconds)) = (&answer, retry_after) {
                assert_eq!(answer.status, 503);
                assert!((1..=SPREAD).contains(&seconds.parse().unwrap()));
            }
        }
        server.handle_input(Time::ZERO, Input::Lag(Duration::ZERO));
        assert_eq!(answer(&mut server, "REGISTER", "", 99).map(|answer| answer.status), Some(200));
    }

    #[test]
    fn a_server_with_too_many_transactions_takes_no_more() {
        let mut server = server(SampSettings { max_transactions: 3, ..SampSettings::default() });
        let mut statuses = |range: std::ops::Range<u32>| -> Vec<u16> {
            range
                .filter_map(|branch| answer(&mut server, "REGISTER", "", branch))
                .map(|it| it.status)
                .collect()
        };
        assert_eq!(statuses(1..6), [200, 200, 200, 503, 503]);
        assert_eq!(server.transactions.len(), 3);
    }
}
