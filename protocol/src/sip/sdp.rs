//! The one thing that samp-lab says and reads in SDP (RFC 8866): where an audio stream is received.

use std::net::{IpAddr, SocketAddr};

/// An audio stream's receiving end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaDescription {
    /// Address and port of the RTP receiver.
    pub address: SocketAddr,
}

impl MediaDescription {
    /// The media type of the body.
    pub const CONTENT_TYPE: &str = "application/sdp";

    /// The session description of one PCMU stream.
    pub fn to_sdp(self) -> String {
        let family = if self.address.is_ipv4() { "IP4" } else { "IP6" };
        let (ip, port) = (self.address.ip(), self.address.port());
        format!(
            "v=0\r\no=- 0 0 IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
        )
    }

    /// The first audio stream of a session description; its own connection line beats the session's (§5.7).
    pub fn from_sdp(body: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(body).ok()?;
        let (mut ip, mut port) = (None, None);
        for line in text.lines() {
            if let Some(media) = line.strip_prefix("m=") {
                if port.is_some() {
                    break;
                }
                let mut words = media.split(' ');
                if words.next() == Some("audio") {
                    port = Some(words.next()?.split('/').next()?.parse().ok()?);
                }
            } else if let Some(connection) = line.strip_prefix("c=IN ") {
                ip = Some(connection.split(' ').nth(1)?.parse::<IpAddr>().ok()?);
            }
        }
        Some(Self { address: SocketAddr::new(ip?, port?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_foreign_descriptions() {
        for address in ["10.0.1.2:40000", "[2001:db8::2]:40000"] {
            let media = MediaDescription { address: address.parse().unwrap() };
            assert_eq!(MediaDescription::from_sdp(media.to_sdp().as_bytes()), Some(media));
        }
        let own_connection = b"v=0\r\nc=IN IP4 1.1.1.1\r\nm=audio 9 RTP/AVP 0\r\nc=IN IP4 2.2.2.2\r\nm=audio 8 RTP/AVP 0\r\nc=IN IP4 3.3.3.3\r\n";
        assert_eq!(
            MediaDescription::from_sdp(own_connection).unwrap().address,
            "2.2.2.2:9".parse::<SocketAddr>().unwrap()
        );
        assert_eq!(MediaDescription::from_sdp(b"v=0\r\nm=audio x RTP/AVP 0\r\n"), None);
    }
}
