//! Which of several final responses a proxy passes on (RFC 3261 §16.7, points 6 and 7).

use crate::sip::{Method, Response, status};

/// The final responses so far, of which one will be passed on.
#[derive(Debug, Default)]
pub(super) struct BestResponse {
    best: Option<Response>,
    /// What all 401 and 407 ask for, as fields.
    challenges: Vec<(String, String)>,
}

/// The fields in which credentials are asked for.
const CHALLENGES: [&str; 2] = ["WWW-Authenticate", "Proxy-Authenticate"];

impl BestResponse {
    /// Takes in a final response of 300–699.
    pub(super) fn add(&mut self, response: Response) {
        if matches!(response.status, 401 | 407) {
            let fields = response.headers.other.iter();
            let is_challenge = |name: &str| CHALLENGES.iter().any(|field| field.eq_ignore_ascii_case(name));
            self.challenges.extend(fields.filter(|(name, _)| is_challenge(name)).cloned());
        }
        if self.best.as_ref().is_none_or(|best| rank(response.status) < rank(best.status)) {
            self.best = Some(response);
        }
    }

    /// Whether nothing that comes can be better.
    pub(super) fn is_global_refusal(&self) -> bool {
        self.best.as_ref().is_some_and(|best| best.status >= 600)
    }

    /// What to answer a request of this method with, when nothing more can come: none is right for a non-INVITE that
    /// nobody answered in time (RFC 4320 §4.2).
    ///
    /// # Errors
    /// The status of a response that this proxy has to make itself.
    pub(super) fn take(&mut self, method: &Method) -> Result<Option<Response>, u16> {
        let Some(mut best) = self.best.take() else { return Err(status::REQUEST_TIMEOUT) };
        match best.status {
            status::REQUEST_TIMEOUT if *method != Method::Invite => Ok(None),
            // Only this branch cannot serve: the caller is not to take this proxy for overloaded.
            status::UNAVAILABLE => Err(status::SERVER_ERROR),
            401 | 407 => {
                CHALLENGES.iter().for_each(|field| best.headers.remove(field));
                best.headers.other.append(&mut self.challenges);
                Ok(Some(best))
            }
            _ => Ok(Some(best)),
        }
    }
}

/// The lower the better: 6xx, then the lowest class; within 4xx what helps the caller to ask again, and silence last.
fn rank(code: u16) -> (u16, u8) {
    let class = if code >= 600 { 0 } else { code / 100 };
    let within = match code {
        401 | 407 | 415 | 420 | 484 => 0,
        status::REQUEST_TIMEOUT => 2,
        _ => 1,
    };
    (class, within)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::tests::request as test_request;

    fn response(code: u16) -> Response {
        test_request(Method::Invite).response(code, "t")
    }

    type Chosen = Result<Option<u16>, u16>;

    fn best_of(codes: &[u16], method: &Method) -> Chosen {
        let mut best = BestResponse::default();
        codes.iter().for_each(|&code| best.add(response(code)));
        best.take(method).map(|response| response.map(|response| response.status))
    }

    #[test]
    fn the_best_response_is_chosen() {
        let table: [(&[u16], Chosen); 9] = [
            (&[486], Ok(Some(486))),
            (&[486, 404], Ok(Some(486))),
            (&[500, 486], Ok(Some(486))),
            (&[486, 302], Ok(Some(302))),
            (&[302, 603, 486], Ok(Some(603))),
            (&[404, 401, 486], Ok(Some(401))),
            (&[500, 503], Ok(Some(500))),
            (&[503], Err(500)),
            (&[], Err(408)),
        ];
        for (codes, expected) in table {
            assert_eq!(best_of(codes, &Method::Invite), expected, "of {codes:?}");
        }
        assert_eq!(best_of(&[408], &Method::Invite), Ok(Some(408)));
        assert_eq!(best_of(&[408], &Method::Bye), Ok(None), "RFC 4320 §4.2");
        assert_eq!(best_of(&[408, 486], &Method::Bye), Ok(Some(486)));
    }

    #[test]
    fn challenges_are_put_together() {
        let mut best = BestResponse::default();
        for (code, field, realm) in [
            (407, "Proxy-Authenticate", "a"),
            (486, "Proxy-Authenticate", "of no challenge"),
            (401, "WWW-Authenticate", "b"),
        ] {
            let mut response = response(code);
            response.headers.set(field, realm);
            best.add(response);
        }
        let chosen = best.take(&Method::Invite).unwrap().unwrap();
        assert_eq!(chosen.status, 407);
        assert_eq!(chosen.headers.get("Proxy-Authenticate"), Some("a"));
        assert_eq!(chosen.headers.get("WWW-Authenticate"), Some("b"));
    }
}
