//! What an operator can do about a database that cannot be reached, or that refuses.

use crate::store::StoreError;

/// What became of a connection, and what to do. The words for TLS are those of the TLS library: there is
/// nothing else to tell its errors by.
pub(super) fn told(error: &sqlx::Error) -> StoreError {
    let (said, code) = match error {
        sqlx::Error::Database(found) => (found.message().to_owned(), found.code()),
        other => (other.to_string(), None),
    };
    let said = match remedy(&said, code.as_deref()) {
        Some(remedy) => format!("{said}: {remedy}"),
        None => said,
    };
    match error {
        sqlx::Error::Database(_) => StoreError::Unusable(format!("the database refuses the connection: {said}")),
        sqlx::Error::Tls(_) => StoreError::Unusable(format!("there is no TLS with the database: {said}")),
        _ => StoreError::Unavailable(said),
    }
}

fn remedy(said: &str, code: Option<&str>) -> Option<&'static str> {
    let remedies = [
        ("UnknownIssuer", "give the certificate of the authority that signed the database's own as `ca`"),
        ("BadSignature", "give the certificate of the authority that signed the database's own as `ca`"),
        ("not valid for name", "set `host` to a name that the database's certificate says"),
        // What pgbouncer says of a wrong password.
        ("SASL authentication failed", "correct the password in `password_file`, or `user`"),
        ("expired", "renew the database's certificate"),
        ("does not support TLS", "turn `ssl` on in the database, or in the pooler before it"),
        ("refused", "is it running, and are `host` and `port` right?"),
        ("No such file", "is it running, and are `host` (the socket's directory) and `port` right?"),
        ("failed to lookup", "correct `host`"),
    ];
    match code {
        // invalid_password, invalid_authorization_specification, invalid_catalog_name; too_many_connections.
        Some("28P01") => Some("correct the password in `password_file`, or `user`"),
        Some("28000") => Some("correct `user`, or what pg_hba.conf asks of it"),
        Some("3D000") => Some("correct `database`, or make it"),
        Some("53300") => Some("raise max_connections, or lower `readers`"),
        _ => remedies.iter().find(|(words, _)| said.contains(words)).map(|(_, remedy)| *remedy),
    }
}
