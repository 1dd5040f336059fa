//! Options of Mobility Headers and of destination options headers, which share one form (RFC 6275 §6.2, RFC 8200 §4.2).

/// One byte of padding.
pub(super) const PAD1: u8 = 0;
/// Two or more bytes of padding.
pub(super) const PADN: u8 = 1;
/// Binding Refresh Advice (RFC 6275 §6.2.4).
pub(super) const REFRESH_ADVICE: u8 = 2;
/// Alternate Care-of Address (§6.2.5).
pub(super) const ALTERNATE_CARE_OF: u8 = 3;
/// Nonce Indices (§6.2.6).
pub(super) const NONCE_INDICES: u8 = 4;
/// Binding Authorization Data (§6.2.7).
pub(super) const AUTHORIZATION: u8 = 5;
/// Mobile Node Identifier (RFC 4283 §3).
pub(super) const IDENTIFIER: u8 = 8;
/// Mobility Message Authentication (RFC 4285 §5).
pub(super) const AUTHENTICATION: u8 = 9;
/// The Home Address destination option (§6.3).
pub(super) const HOME_ADDRESS: u8 = 201;

/// Adds an option where its alignment wants it: at such a multiple of so many bytes, and so many more.
pub(super) fn push(bytes: &mut Vec<u8>, kind: u8, value: &[u8]) {
    let (multiple, more) = match kind {
        REFRESH_ADVICE | NONCE_INDICES => (2, 0),
        IDENTIFIER => (1, 0),
        AUTHORIZATION => (8, 2),
        // 4n + 1 is enough for it, but so nothing has to follow, as nothing may.
        AUTHENTICATION => (8, 5),
        _ => (8, 6),
    };
    pad_to(bytes, multiple, more);
    bytes.extend([kind, value.len() as u8]);
    bytes.extend(value);
}

/// Adds the padding after which the length is such a multiple and so much more.
pub(super) fn pad_to(bytes: &mut Vec<u8>, multiple: usize, more: usize) {
    match (multiple + more - bytes.len() % multiple) % multiple {
        0 => {}
        1 => bytes.push(PAD1),
        missing => {
            bytes.extend([PADN, (missing - 2) as u8]);
            bytes.extend(std::iter::repeat_n(0, missing - 2));
        }
    }
}

/// The options in some bytes, each as its type and value, padding included; an error ends them.
pub(super) struct Options<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Options<'a> {
    type Item = Option<(u8, &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        let (&kind, rest) = self.0.split_first()?;
        if kind == PAD1 {
            self.0 = rest;
            return Some(Some((PAD1, &[])));
        }
        let length = rest.first().map_or(usize::MAX, |&length| usize::from(length) + 1);
        match rest.split_at_checked(length) {
            Some((option, others)) => {
                self.0 = others;
                Some(Some((kind, &option[1..])))
            }
            None => {
                self.0 = &[];
                Some(None)
            }
        }
    }
}
