//! Temporary credentials. A session's token is all that is known of it, sealed: nobody keeps it, every gateway can
//! open it, and what it gives is looked up anew at every request, so it goes with what it was made from.

use super::seal::Sealer;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use meta::identity::PolicyText;
use rt::rng::Rng;
use serde::{Deserialize, Serialize};

/// What tokens are sealed for: nothing else that is sealed opens as one.
const PURPOSE: &str = "session token";

/// What a session was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// `GetSessionToken` with this key; it goes with the key, as well as with its user.
    Key { id: String, holder: String },
    /// `AssumeRole` of the role with this name and unique id.
    Role { name: String, id: String, session: String },
    /// `GetFederationToken` with this key, for whoever the user calls so; it goes with the key and its user too.
    Federation { id: String, holder: String, name: String },
}

/// One session.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    pub key_id: String,
    pub secret: String,
    pub account: String,
    pub origin: Origin,
    pub issued_ms: u64,
    pub expires_ms: u64,
    /// Policies that limit it.
    pub policies: Vec<PolicyText>,
}

impl Session {
    pub fn token(&self, sealer: &Sealer, rng: &mut impl Rng) -> String {
        let text = serde_json::to_string(self).expect("a struct of texts and numbers is always JSON");
        STANDARD.encode(sealer.seal(rng, PURPOSE, &text).0)
    }

    /// The session of a token; `None` if it isn't one of this pool's.
    pub fn open(sealer: &Sealer, token: &str) -> Option<Self> {
        let sealed = STANDARD.decode(token).ok()?;
        serde_json::from_str(&sealer.open(PURPOSE, &sealed)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::seal::of_key;
    use proto::control::PoolToken;
    use rt::rng::SystemRng;

    #[test]
    fn a_token_opens_as_it_was_made_and_nothing_else_does() {
        let sealer = Sealer::new(&PoolToken([1; proto::limits::TOKEN_BYTES]));
        let session = Session {
            key_id: "ASIA".into(),
            secret: "s".into(),
            account: "1".into(),
            origin: Origin::Key { id: "AKIA".into(), holder: "1".into() },
            issued_ms: 1,
            expires_ms: 2,
            policies: vec![],
        };
        let token = session.token(&sealer, &mut SystemRng);
        assert!(Session::open(&sealer, &token).is_some_and(|opened| opened == session));
        let other = Sealer::new(&PoolToken([2; proto::limits::TOKEN_BYTES]));
        assert!(Session::open(&other, &token).is_none());
        let json = serde_json::to_string(&session).unwrap();
        let key = sealer.seal(&mut SystemRng, &of_key("AKIA"), &json);
        assert!(Session::open(&sealer, &STANDARD.encode(key.0)).is_none(), "a key's secret is no token");
        for bad in ["", "x", &token[1..], &token[..token.len() - 4], &STANDARD.encode(json)] {
            assert!(Session::open(&sealer, bad).is_none(), "{bad}");
        }
    }
}
