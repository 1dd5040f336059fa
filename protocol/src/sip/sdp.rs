//! What samp-lab says and reads in SDP (RFC 8866): one audio stream, PCMU, offered and answered as RFC 3264 wants it.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

/// Streams in a session description at most; more are not read.
const MAX_STREAMS: usize = 16;

/// An audio stream's receiving end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaDescription {
    /// Address and port of the RTP receiver.
    pub address: SocketAddr,
}

/// Names a session and the state of its description (RFC 8866 §5.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The session, the same as long as the call lasts.
    pub id: u32,
    /// Rises with each change of the description (RFC 3264 §8).
    pub version: u32,
}

/// One `m=` line, and what belongs to it.
struct Stream<'a> {
    kind: &'a str,
    port: Option<u16>,
    protocol: &'a str,
    formats: Vec<&'a str>,
    address: Option<IpAddr>,
    direction: Option<&'a str>,
}

impl MediaDescription {
    /// The media type of the body.
    pub const CONTENT_TYPE: &str = "application/sdp";

    /// An offer of one PCMU stream.
    pub fn offer(self, origin: Origin) -> String {
        self.head(origin) + &self.accepted(None)
    }

    /// The answer to an offer (RFC 3264 §6): the first PCMU stream is taken, all others are refused.
    ///
    /// None when there is none to take.
    pub fn answer(self, origin: Origin, offer: &[u8]) -> Option<String> {
        let streams = streams(std::str::from_utf8(offer).ok()?);
        let taken = streams.iter().position(|stream| stream.receiver().is_some())?;
        let mut answer = self.head(origin);
        for (index, stream) in streams.iter().enumerate() {
            if index == taken {
                answer += &self.accepted(stream.direction);
            } else {
                let format = stream.formats.first().unwrap_or(&"0");
                // Writing to a String cannot fail.
                let _ = write!(answer, "m={} 0 {} {format}\r\n", stream.kind, stream.protocol);
            }
        }
        Some(answer)
    }

    /// The first PCMU stream of a session description; its own connection line beats the session's (RFC 8866 §5.7).
    pub fn from_sdp(body: &[u8]) -> Option<Self> {
        let streams = streams(std::str::from_utf8(body).ok()?);
        streams.iter().find_map(Stream::receiver).map(|address| Self { address })
    }

    fn head(self, Origin { id, version }: Origin) -> String {
        let family = if self.address.is_ipv4() { "IP4" } else { "IP6" };
        let ip = self.address.ip();
        format!("v=0\r\no=- {id} {version} IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n")
    }

    /// Its stream, in the direction that fits the peer's (RFC 3264 §6.1).
    fn accepted(self, theirs: Option<&str>) -> String {
        let direction = match theirs {
            Some("sendonly") => "a=recvonly\r\n",
            Some("recvonly") => "a=sendonly\r\n",
            Some("inactive") => "a=inactive\r\n",
            _ => "",
        };
        format!("m=audio {} RTP/AVP 0\r\n{direction}", self.address.port())
    }
}

impl Stream<'_> {
    /// Where it is received, when it is one that samp-lab can send.
    fn receiver(&self) -> Option<SocketAddr> {
        let is_pcmu = self.kind == "audio" && self.protocol == "RTP/AVP" && self.formats.contains(&"0");
        let port = self.port.filter(|port| *port != 0)?;
        is_pcmu.then(|| self.address.map(|ip| SocketAddr::new(ip, port)))?
    }
}

fn streams(text: &str) -> Vec<Stream<'_>> {
    let mut session = (None, None);
    let mut streams: Vec<Stream<'_>> = Vec::new();
    for line in text.lines() {
        if let Some(media) = line.strip_prefix("m=") {
            let mut words = media.split(' ');
            let kind = words.next().unwrap_or_default();
            let port = words.next().and_then(|port| port.split('/').next()?.parse().ok());
            let protocol = words.next().unwrap_or_default();
            let (address, direction) = session;
            streams.push(Stream { kind, port, protocol, formats: words.collect(), address, direction });
            if streams.len() == MAX_STREAMS {
                break;
            }
            continue;
        }
        let (address, direction) = match streams.last_mut() {
            Some(stream) => (&mut stream.address, &mut stream.direction),
            None => (&mut session.0, &mut session.1),
        };
        if let Some(connection) = line.strip_prefix("c=IN ") {
            *address = connection.split(' ').nth(1).and_then(|ip| ip.split('/').next()?.parse().ok());
        } else if let Some(word @ ("sendrecv" | "sendonly" | "recvonly" | "inactive")) =
            line.strip_prefix("a=")
        {
            *direction = Some(word);
        }
    }
    streams
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: Origin = Origin { id: 7, version: 1 };

    #[test]
    fn round_trip_and_foreign_descriptions() {
        for address in ["10.0.1.2:40000", "[2001:db8::2]:40000"] {
            let media = MediaDescription { address: address.parse().unwrap() };
            assert_eq!(MediaDescription::from_sdp(media.offer(ORIGIN).as_bytes()), Some(media));
        }
        let own_connection = b"v=0\r\nc=IN IP4 1.1.1.1\r\nm=audio 9 RTP/AVP 8\r\nm=audio 9 RTP/AVP 8 0\r\nc=IN IP4 2.2.2.2\r\nm=audio 8 RTP/AVP 0\r\nc=IN IP4 3.3.3.3\r\n";
        assert_eq!(
            MediaDescription::from_sdp(own_connection).unwrap().address,
            "2.2.2.2:9".parse::<SocketAddr>().unwrap()
        );
        for none in
            ["m=audio x RTP/AVP 0\r\n", "c=IN IP4 1.1.1.1\r\nm=audio 0 RTP/AVP 0\r\n", "", "m=", "c=IN"]
        {
            assert_eq!(MediaDescription::from_sdp(none.as_bytes()), None, "{none}");
        }
    }

    #[test]
    fn an_answer_has_a_line_for_each_stream_of_the_offer() {
        let own = MediaDescription { address: "10.0.0.1:40000".parse().unwrap() };
        let offer = "v=0\r\nc=IN IP4 1.1.1.1\r\nm=video 5 RTP/AVP 31\r\nm=audio 6 RTP/AVP 8 0\r\na=sendonly\r\n\
                     m=audio 7 RTP/AVP 0\r\n";
        let answer = own.answer(ORIGIN, offer.as_bytes()).unwrap();
        let streams: Vec<_> = answer.lines().skip_while(|line| !line.starts_with("m=")).collect();
        assert_eq!(
            streams,
            ["m=video 0 RTP/AVP 31", "m=audio 40000 RTP/AVP 0", "a=recvonly", "m=audio 0 RTP/AVP 0"]
        );
        assert!(answer.starts_with("v=0\r\no=- 7 1 IN IP4 10.0.0.1\r\n"), "{answer}");
        assert_eq!(own.answer(ORIGIN, b"v=0\r\nc=IN IP4 1.1.1.1\r\nm=audio 6 RTP/AVP 8\r\n"), None);
    }
}
