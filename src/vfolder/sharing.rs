//! Letting others into a folder.

use uuid::Uuid;

use super::{Error, Folders, Invitation, Permission};
use crate::store::postgres::vfolder_sharing::{self, Accept};

// === impl Folders ===

impl Folders {
    /// Invites users, by their user ids; those that were invited now.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotOwner`].
    pub async fn invite(
        &self,
        key: &str,
        name: &str,
        permission: Permission,
        users: &[String],
    ) -> Result<Vec<String>, Error> {
        let folder = self.find(key, name, Permission::ReadOnly).await?;
        if !folder.is_owner {
            return Err(Error::NotOwner);
        }
        Ok(vfolder_sharing::invite(&self.postgres, folder.id, key, permission, users).await?)
    }

    /// The invitations that wait for the user of a key.
    ///
    /// # Errors
    /// PostgreSQL is away.
    pub async fn invitations(&self, key: &str) -> Result<Vec<Invitation>, Error> {
        Ok(vfolder_sharing::invitations(&self.postgres, key).await?)
    }

    /// Lets one of the user's keys into the folder of an invitation.
    ///
    /// # Errors
    /// [`Error::NoInvitation`], [`Error::NotYourKey`], [`Error::AlreadyExists`].
    pub async fn accept(&self, key: &str, invitation: Uuid, let_in: &str) -> Result<(), Error> {
        match vfolder_sharing::accept(&self.postgres, invitation, key, let_in).await? {
            Accept::Done => Ok(()),
            Accept::NotFound => Err(Error::NoInvitation),
            Accept::NotYours => Err(Error::NotYourKey),
            Accept::Exists => Err(Error::AlreadyExists),
        }
    }

    /// Refuses an invitation, or, as the folder's owner, takes it back.
    ///
    /// # Errors
    /// [`Error::NoInvitation`].
    pub async fn refuse(&self, key: &str, invitation: Uuid) -> Result<(), Error> {
        let refused = vfolder_sharing::refuse(&self.postgres, invitation, key).await?;
        if refused { Ok(()) } else { Err(Error::NoInvitation) }
    }
}
