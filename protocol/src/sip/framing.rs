//! Messages in a stream of bytes (RFC 3261 §18.3, §7.5): each ends where its Content-Length says.

/// The longest head, in bytes: start line and header fields.
const MAX_HEAD: usize = 16 * 1024;
/// The longest body, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// The stream cannot be cut into messages any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// A head or body above the limit.
    #[error("a message is too long")]
    TooLong,
    /// Content-Length is missing, no number, or there twice with different values.
    #[error("Content-Length is missing or malformed")]
    ContentLength,
}

/// Cuts a stream into messages; keeps one message at most.
#[derive(Debug, Default)]
pub struct Framer {
    buffer: Vec<u8>,
    /// Up to here there is no end of a head.
    searched: usize,
}

impl Framer {
    /// Takes in what has arrived and hands out the messages that are complete now.
    ///
    /// # Errors
    /// The peer breaks the rules; nothing more can be read from it.
    pub fn push(&mut self, bytes: &[u8], mut message: impl FnMut(&[u8])) -> Result<(), FramingError> {
        self.buffer.extend_from_slice(bytes);
        let mut start = 0;
        loop {
            // Empty lines before a message keep the connection alive (§7.5, RFC 5626 §3.5.1).
            let rest = &self.buffer[start..];
            let empty = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            start += empty;
            let rest = &self.buffer[start..];
            let from = self.searched.saturating_sub(empty).min(rest.len());
            let Some(head) = find(&rest[from..], b"\r\n\r\n").map(|at| from + at + 4) else {
                self.searched = rest.len().saturating_sub(3);
                if rest.len() > MAX_HEAD {
                    return Err(FramingError::TooLong);
                }
                break;
            };
            self.searched = head - 4;
            if head > MAX_HEAD {
                return Err(FramingError::TooLong);
            }
            let body = content_length(&rest[..head])?;
            if body > MAX_BODY {
                return Err(FramingError::TooLong);
            }
            let Some(whole) = rest.get(..head + body) else { break };
            message(whole);
            start += whole.len();
            self.searched = 0;
        }
        self.buffer.drain(..start);
        Ok(())
    }

    /// Whether a message has begun that is not complete.
    pub fn is_inside_message(&self) -> bool {
        !self.buffer.is_empty()
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// The value of Content-Length, which a message in a stream must have (RFC 3261 §18.3).
fn content_length(head: &[u8]) -> Result<usize, FramingError> {
    let mut found = None;
    let text = String::from_utf8_lossy(head);
    // A line that begins with white space continues the one before (§7.3.1).
    let unfolded = text.replace("\r\n ", " ").replace("\r\n\t", " ");
    for line in unfolded.split("\r\n").skip(1) {
        let Some((name, value)) = line.split_once(':') else { continue };
        let name = name.trim_end();
        if !name.eq_ignore_ascii_case("Content-Length") && !name.eq_ignore_ascii_case("l") {
            continue;
        }
        let value = value.trim();
        if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(FramingError::ContentLength);
        }
        let value = value.parse::<usize>().map_err(|_| FramingError::TooLong)?;
        if found.is_some_and(|found| found != value) {
            return Err(FramingError::ContentLength);
        }
        found = Some(value);
    }
    found.ok_or(FramingError::ContentLength)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TWO: &str = "\r\n\r\nOPTIONS sip:a SIP/2.0\r\nContent-Length: 4\r\n\r\n\r\n\r\nSIP/2.0 200 OK\r\nl :\r\n 0\r\n\r\n";

    fn frames(parts: &[&[u8]]) -> Result<Vec<Vec<u8>>, FramingError> {
        let (mut framer, mut frames) = (Framer::default(), Vec::new());
        for part in parts {
            framer.push(part, |frame| frames.push(frame.to_vec()))?;
        }
        assert!(!framer.is_inside_message());
        Ok(frames)
    }

    #[test]
    fn a_stream_split_at_every_byte_gives_the_same_messages() {
        let whole = frames(&[TWO.as_bytes()]).unwrap();
        assert_eq!(whole.len(), 2);
        assert!(whole[0].ends_with(b"\r\n\r\n\r\n\r\n"), "its body is four bytes of line ends");
        for at in 0..TWO.len() {
            let (left, right) = TWO.as_bytes().split_at(at);
            assert_eq!(frames(&[left, right]).as_ref(), Ok(&whole), "split at {at}");
        }
        let bytes: Vec<_> = TWO.as_bytes().chunks(1).collect();
        assert_eq!(frames(&bytes), Ok(whole));
    }

    #[test]
    fn what_breaks_the_rules_ends_the_stream() {
        let push = |text: &str| Framer::default().push(text.as_bytes(), |_| {});
        let head = |field: &str| format!("OPTIONS sip:a SIP/2.0\r\n{field}\r\n\r\n");
        assert_eq!(push(&head("From: x")), Err(FramingError::ContentLength));
        for value in ["", "x", "-1", "+1", "1 2"] {
            assert_eq!(push(&head(&format!("Content-Length: {value}"))), Err(FramingError::ContentLength));
        }
        let twice = head("Content-Length: 1\r\nl: 2");
        assert_eq!(push(&twice), Err(FramingError::ContentLength));
        assert_eq!(push(&head("Content-Length: 99999999999999999999")), Err(FramingError::TooLong));
        assert_eq!(push(&head("Content-Length: 65537")), Err(FramingError::TooLong));
        assert_eq!(push(&"x".repeat(MAX_HEAD + 1)), Err(FramingError::TooLong));
    }

    proptest! {
        #[test]
        fn however_a_stream_is_split(bodies in proptest::collection::vec(0_usize..200, 1..6), cuts in proptest::collection::vec(1_usize..50, 1..40)) {
            let message = |body: &usize| format!("OPTIONS sip:a SIP/2.0\r\nContent-Length: {body}\r\n\r\n{}", "\r\n".repeat(*body).split_at(*body).0);
            let expected: Vec<_> = bodies.iter().map(|body| message(body).into_bytes()).collect();
            let stream = expected.concat();
            let (mut framer, mut got, mut rest) = (Framer::default(), Vec::new(), &stream[..]);
            let mut cuts = cuts.iter().cycle();
            while !rest.is_empty() {
                let (part, tail) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                framer.push(part, |frame| got.push(frame.to_vec())).unwrap();
                rest = tail;
            }
            prop_assert_eq!(got, expected);
        }

        #[test]
        fn no_bytes_break_it(parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..10)) {
            let mut framer = Framer::default();
            for part in &parts {
                if framer.push(part, |_| {}).is_err() {
                    break;
                }
                prop_assert!(framer.buffer.len() <= MAX_HEAD + MAX_BODY);
            }
        }
    }
}
