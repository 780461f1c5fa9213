//! Tables `vfolder_invitations` and `vfolder_permissions`.
//!
//! Users are meant by `keypairs.user_id` as text. Whoever is invited is a user; whoever is let in is one of the
//! user's key pairs.

use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{
    store::postgres::{PgError, Postgres, vfolders::permission},
    vfolder::Permission,
};

/// An invitation that waits for an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Invitation {
    /// Its id.
    pub id: Uuid,
    /// The user that invites.
    pub inviter: Option<String>,
    /// What whoever accepts may do.
    pub permission: Permission,
    /// `pending`, `accepted` or `rejected`.
    pub state: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// The folder.
    pub vfolder: Uuid,
}

/// What became of accepting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accept {
    /// The key may use the folder.
    Done,
    /// There is no such invitation that waits for this user.
    NotFound,
    /// The key to let in is not the user's.
    NotYours,
    /// That key has, or was let into, a folder of that name.
    Exists,
}

/// Invites users into a folder that a key owns; those that were invited now. Left out are users without an active
/// key, the owner, and whoever is invited or let in already.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn invite(
    postgres: &Postgres,
    folder: Uuid,
    owner_key: &str,
    permission: Permission,
    users: &[String],
) -> Result<Vec<String>, PgError> {
    const SQL: &str = "\
        WITH folder AS (
            SELECT vfolders.id, owner.user_id::text AS owner FROM vfolders
            JOIN keypairs AS owner ON owner.access_key = vfolders.belongs_to
            WHERE vfolders.id = $1 AND vfolders.belongs_to = $2
        ), invitees AS (
            SELECT DISTINCT folder.id, folder.owner, user_id::text AS invitee FROM folder, keypairs
            WHERE is_active AND user_id::text = ANY($4) AND user_id::text IS DISTINCT FROM folder.owner
              AND NOT EXISTS (
                SELECT FROM vfolder_permissions AS given JOIN keypairs AS let_in USING (access_key)
                WHERE given.vfolder = folder.id AND let_in.user_id = keypairs.user_id)
        )
        INSERT INTO vfolder_invitations (vfolder, inviter, invitee, permission)
        SELECT id, owner, invitee, $3::text::vfolderpermission FROM invitees
        ON CONFLICT (vfolder, invitee) WHERE state = 'pending' DO NOTHING
        RETURNING invitee";
    let rows = postgres.query(SQL, &[&folder, &owner_key, &permission.as_str(), &users]).await?;
    let invited: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    // In the order in which they were named.
    Ok(users
        .iter()
        .enumerate()
        .filter(|(at, it)| invited.contains(it) && !named_before(users, *at, it))
        .map(|(_, it)| it.clone())
        .collect())
}

fn named_before(users: &[String], at: usize, user: &String) -> bool {
    users.iter().take(at).any(|it| it == user)
}

/// The invitations that wait for the user of a key, oldest first.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn invitations(postgres: &Postgres, access_key: &str) -> Result<Vec<Invitation>, PgError> {
    const SQL: &str = "SELECT vfolder_invitations.id, inviter, permission::text, state, \
         vfolder_invitations.created_at, vfolder \
         FROM vfolder_invitations JOIN keypairs ON user_id::text = invitee \
         WHERE access_key = $1 AND state = 'pending' ORDER BY vfolder_invitations.created_at, vfolder_invitations.id";
    let rows = postgres.query(SQL, &[&access_key]).await?;
    Ok(rows.iter().map(invitation).collect())
}

/// Lets a key of the caller's user into the folder of an invitation.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn accept(postgres: &Postgres, id: Uuid, caller: &str, access_key: &str) -> Result<Accept, PgError> {
    const SQL: &str = "SELECT backendai_vfolder_accept($1, $2, $3)";
    let row = postgres.query_opt(SQL, &[&id, &caller, &access_key]).await?;
    Ok(match row.as_ref().map_or("", |row| row.get(0)) {
        "ok" => Accept::Done,
        "exists" => Accept::Exists,
        "not-yours" => Accept::NotYours,
        _ => Accept::NotFound,
    })
}

/// Ends an invitation that waits: refused by whom it is for, or taken back by the folder's owner. Whether there was
/// one.
///
/// # Errors
/// PostgreSQL is away or refuses.
pub async fn refuse(postgres: &Postgres, id: Uuid, caller: &str) -> Result<bool, PgError> {
    const SQL: &str = "UPDATE vfolder_invitations SET state = 'rejected' FROM keypairs AS caller \
         WHERE vfolder_invitations.id = $1 AND state = 'pending' AND caller.access_key = $2 \
           AND (caller.user_id::text = invitee OR EXISTS (SELECT FROM vfolders \
                WHERE vfolders.id = vfolder AND belongs_to = caller.access_key)) \
         RETURNING vfolder_invitations.id";
    Ok(postgres.query_opt(SQL, &[&id, &caller]).await?.is_some())
}

fn invitation(row: &Row) -> Invitation {
    Invitation {
        id: row.get(0),
        inviter: row.get(1),
        permission: permission(row.get(2)),
        state: row.get(3),
        created_at: row.get(4),
        vfolder: row.get(5),
    }
}
