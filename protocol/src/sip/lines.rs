//! The head of a message, line by line (RFC 3261 §7.3.1), within bounds.

use super::codec::ParseError;
use memchr::{memchr, memmem};
use std::borrow::Cow;

/// The longest header field, in bytes, with all that is folded into it.
const LINE_MAX: usize = 8 * 1024;
/// Lines that may be folded into one field.
const FOLDS_MAX: usize = 16;

/// Lines of a head, those that begin with white space joined to the ones before.
#[derive(Clone, Debug)]
pub(super) struct Lines<'a> {
    rest: &'a str,
}

impl<'a> Lines<'a> {
    /// The lines of the datagram's head, and what comes behind it.
    ///
    /// # Errors
    /// The head does not end, or is no text.
    pub(super) fn split(datagram: &'a [u8]) -> Result<(Self, &'a [u8]), ParseError> {
        let end = memmem::find(datagram, b"\r\n\r\n").ok_or(ParseError::Framing)?;
        // The last line keeps its end, as all others.
        let head = std::str::from_utf8(&datagram[..end + 2]).map_err(|_| ParseError::Framing)?;
        Ok((Self { rest: head }, &datagram[end + 4..]))
    }

    /// The next line as it was sent, without its end. A CR or LF alone ends no line: elements would disagree about it.
    fn line(&mut self) -> Result<&'a str, ParseError> {
        let end = memchr(b'\r', self.rest.as_bytes()).ok_or(ParseError::Framing)?;
        let line = &self.rest[..end];
        self.rest = self.rest[end..].strip_prefix("\r\n").ok_or(ParseError::Framing)?;
        if memchr(b'\n', line.as_bytes()).is_some() || line.len() > LINE_MAX {
            return Err(ParseError::Framing);
        }
        Ok(line)
    }

    fn is_folded(&self) -> bool {
        self.rest.starts_with([' ', '\t'])
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Result<Cow<'a, str>, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let line = match self.line() {
            Ok(line) => line,
            Err(error) => return Some(Err(error)),
        };
        if !self.is_folded() {
            return Some(Ok(Cow::Borrowed(line)));
        }
        let mut joined = line.to_owned();
        for _ in 0..FOLDS_MAX {
            match self.line() {
                Ok(line) => {
                    joined.push(' ');
                    joined.push_str(line.trim_start_matches([' ', '\t']));
                }
                Err(error) => return Some(Err(error)),
            }
            if !self.is_folded() {
                let is_long = joined.len() > LINE_MAX;
                return Some(if is_long { Err(ParseError::Framing) } else { Ok(Cow::Owned(joined)) });
            }
        }
        Some(Err(ParseError::Framing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(datagram: &str) -> Option<Vec<String>> {
        let (lines, _) = Lines::split(datagram.as_bytes()).ok()?;
        lines.map(|line| line.ok().map(Cow::into_owned)).collect()
    }

    #[test]
    fn folded_lines_are_joined() {
        assert_eq!(lines("a\r\nb: 1\r\n  2\r\n\t3\r\nc: 4\r\n\r\n").unwrap(), ["a", "b: 1 2 3", "c: 4"]);
    }

    #[test]
    fn heads_that_do_not_end_or_end_lines_in_other_ways_are_refused() {
        for head in ["", "a", "a\r\n", "a\nb\r\n\r\n", "a\rb\r\n\r\n", "a\r\r\n\r\n", "a\n\r\n\r\n"] {
            assert_eq!(lines(head), None, "{head:?}");
        }
        assert!(Lines::split(b"\xff\r\n\r\n").is_err());
    }

    #[test]
    fn lines_and_folds_have_a_limit() {
        let long = |length| format!("{}\r\n\r\n", "x".repeat(length));
        assert!(lines(&long(LINE_MAX)).is_some());
        assert!(lines(&long(LINE_MAX + 1)).is_none());
        let folded = |count| format!("a{}\r\n\r\n", "\r\n b".repeat(count));
        assert!(lines(&folded(FOLDS_MAX)).is_some());
        assert!(lines(&folded(FOLDS_MAX + 1)).is_none());
        assert!(
            lines(&format!("a{}\r\n\r\n", format!("\r\n {}", "b".repeat(LINE_MAX / 2)).repeat(3))).is_none()
        );
    }
}
