//! A request on its way to a handler, with all that was found out.

use std::rc::Rc;

use bytes::Bytes;

use super::{Api, fields::Fields};
use crate::{
    auth::ApiVersion,
    http::{Kind, Problem, Request},
    registry::{Actor, Session},
    store::postgres::{audit::Via, keypairs::Keypair},
};

/// What a handler gets.
pub struct Call {
    /// The worker's API.
    pub api: Rc<Api>,
    /// The request, its body read.
    pub request: Request,
    /// The version that the client speaks: the path's, or the header's.
    pub version: ApiVersion,
    /// Who asks, on a route that wants to know.
    pub key: Option<Rc<Keypair>>,
    /// For whom: the caller's access key, or the one that an admin acts for.
    pub owner: Rc<str>,
    /// The body.
    pub body: Bytes,
    /// The path's parameter, as sent.
    pub param: Option<String>,
    /// The session that the path names.
    pub session: Option<Rc<Session>>,
    /// Its queries, this one included.
    pub queries: u64,
    /// How the run in the body stands, where it goes on.
    pub run_status: Option<String>,
}

impl Call {
    /// Of anybody.
    pub fn open(api: Rc<Api>, request: Request, version: ApiVersion) -> Self {
        Call {
            api,
            request,
            version,
            key: None,
            owner: "".into(),
            body: Bytes::new(),
            param: None,
            session: None,
            queries: 0,
            run_status: None,
        }
    }

    /// Of a key's owner.
    pub fn of_key(
        api: Rc<Api>,
        request: Request,
        version: ApiVersion,
        key: Rc<Keypair>,
        owner: Rc<str>,
        body: Bytes,
    ) -> Self {
        Call { key: Some(key), owner, body, ..Call::open(api, request, version) }
    }

    /// The path's parameter, decoded; what is no UTF-8 becomes U+FFFD.
    pub fn param(&self) -> String {
        let sent = self.param.as_deref().unwrap_or_default();
        percent_encoding::percent_decode_str(sent).decode_utf8_lossy().into_owned()
    }

    /// The query as sent, without its question mark.
    pub fn query(&self) -> &str {
        self.request.path_and_query().split_once('?').map_or("", |(_, query)| query)
    }

    /// Who asks, as the audit log names it: the key that signed, whomever it acts for.
    pub fn actor(&self, via: Via) -> Actor {
        Actor {
            access_key: self.key.as_ref().map_or_else(String::new, |key| key.access_key.to_string()),
            via,
            source: self.request.client.to_string(),
            request_id: self.request.id.to_string(),
        }
    }

    /// The session that the path names.
    ///
    /// # Errors
    /// The route names none.
    pub fn session(&self) -> Result<&Rc<Session>, Problem> {
        self.session.as_ref().ok_or_else(|| Kind::KernelNotFound.into())
    }

    /// The body's JSON object.
    ///
    /// # Errors
    /// 400: it is none.
    pub fn fields(&self) -> Result<Fields, Problem> {
        Fields::parse(&self.body, Kind::InvalidApiParams)
    }
}

/// For whom a request acts: its caller, or the owner that an admin's `owner_access_key` names.
///
/// # Errors
/// 401 where the caller is no admin.
pub fn owner(request: &Request, key: &Keypair) -> Result<Rc<str>, Problem> {
    let query = request.path_and_query().split_once('?').map_or("", |(_, query)| query);
    let named = query.split('&').find_map(|pair| pair.strip_prefix("owner_access_key="));
    match named {
        Some(owner) if *owner != *key.access_key => {
            if !key.is_admin {
                return Err(Kind::AuthFailed.into());
            }
            let owner = percent_encoding::percent_decode_str(owner).decode_utf8_lossy();
            // PostgreSQL takes no NUL, so no key has one.
            if owner.contains('\0') {
                return Err(Kind::AuthFailed.into());
            }
            Ok(owner.as_ref().into())
        }
        _ => Ok(key.access_key.clone()),
    }
}
