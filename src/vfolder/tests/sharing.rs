use futures_util::future::join_all;
use uuid::Uuid;

use super::*;

#[test]
fn an_invitation_is_made_seen_and_accepted() {
    run(|w| async move {
        w.folder("data").await;
        let users = ["3", "2", "2", "1", "99", "x'; --"].map(str::to_owned);
        let invited = w.folders.invite("OWNER", "data", Permission::ReadWrite, &users).await.unwrap();
        assert_eq!(invited, ["3", "2"], "not the owner, nobody unknown, nobody twice");
        assert!(w.folders.invite("OWNER", "data", Permission::ReadOnly, &users).await.unwrap().is_empty());
        let all = w.folders.invitations("GUEST2").await.unwrap();
        let [invitation] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!((invitation.inviter.as_deref(), invitation.state.as_str()), (Some("1"), "pending"));
        assert_eq!(invitation.permission, Permission::ReadWrite);
        assert_eq!(Some(invitation.vfolder), w.folders.list("OWNER").await.unwrap().first().map(|it| it.id));
        assert!(w.folders.list("GUEST").await.unwrap().is_empty(), "nothing before it is accepted");
        let accept = async |caller: &str, key: &str| w.folders.accept(caller, invitation.id, key).await;
        assert!(matches!(accept("THIRD", "THIRD").await, Err(Error::NoInvitation)));
        assert!(matches!(accept("GUEST", "THIRD").await, Err(Error::NotYourKey)));
        assert!(matches!(accept("NOBODY", "NOBODY").await, Err(Error::NotYourKey)));
        accept("GUEST", "GUEST2").await.unwrap();
        assert!(matches!(accept("GUEST", "GUEST").await, Err(Error::NoInvitation)), "once only");
        let seen = w.folders.list("GUEST2").await.unwrap();
        assert_eq!((seen[0].is_owner, seen[0].permission), (false, Permission::ReadWrite));
        assert!(w.folders.list("GUEST").await.unwrap().is_empty(), "the key that was let in, no other");
        assert!(w.folders.invitations("GUEST").await.unwrap().is_empty());
        let again = w.folders.invite("OWNER", "data", Permission::ReadOnly, &["2".to_owned()]).await.unwrap();
        assert!(again.is_empty(), "let in already");
    });
}

#[test]
fn only_the_owner_invites_and_removes() {
    run(|w| async move {
        w.folder("data").await;
        w.let_in("data", Permission::WriteDelete, "2", "GUEST").await;
        let users = ["3".to_owned()];
        assert!(matches!(w.folders.invite("GUEST", "data", Permission::ReadOnly, &users).await, Err(Error::NotOwner)));
        assert!(matches!(w.folders.invite("THIRD", "data", Permission::ReadOnly, &users).await, Err(Error::NotFound)));
        assert!(matches!(w.folders.delete("GUEST", "data", true).await, Err(Error::NotOwner)));
        w.folders.delete("OWNER", "data", false).await.unwrap();
        assert!(w.folders.list("GUEST").await.unwrap().is_empty());
        assert_eq!(w.sql("SELECT count(*) FROM vfolder_permissions"), "0");
        assert_eq!(w.sql("SELECT count(*) FROM vfolder_invitations"), "0");
    });
}

#[test]
fn an_invitation_is_refused_by_the_invited_or_taken_back_by_the_owner() {
    run(|w| async move {
        w.folder("data").await;
        for who in ["GUEST2", "OWNER"] {
            let invited = w.folders.invite("OWNER", "data", Permission::ReadOnly, &["2".to_owned()]).await.unwrap();
            assert_eq!(invited, ["2"]);
            let id = w.folders.invitations("GUEST").await.unwrap()[0].id;
            for stranger in ["THIRD", "NOBODY"] {
                assert!(matches!(w.folders.refuse(stranger, id).await, Err(Error::NoInvitation)));
            }
            w.folders.refuse(who, id).await.unwrap();
            assert!(matches!(w.folders.refuse(who, id).await, Err(Error::NoInvitation)));
            assert!(matches!(w.folders.accept("GUEST", id, "GUEST").await, Err(Error::NoInvitation)));
            assert!(w.folders.invitations("GUEST").await.unwrap().is_empty());
        }
        assert!(matches!(w.folders.refuse("GUEST", Uuid::new_v4()).await, Err(Error::NoInvitation)));
    });
}

#[test]
fn names_stay_unique_among_what_a_key_owns_or_was_let_into() {
    run(|w| async move {
        let name: FolderName = "data".parse().unwrap();
        w.folder("data").await;
        w.folders.create("GUEST", &name, None).await.unwrap();
        w.folders.invite("OWNER", "data", Permission::ReadOnly, &["2".to_owned()]).await.unwrap();
        let id = w.folders.invitations("GUEST").await.unwrap()[0].id;
        assert!(matches!(w.folders.accept("GUEST", id, "GUEST").await, Err(Error::AlreadyExists)));
        w.folders.accept("GUEST", id, "GUEST2").await.unwrap();
        assert!(matches!(w.folders.create("GUEST2", &name, None).await, Err(Error::AlreadyExists)));
    });
}

#[test]
fn accepting_and_making_one_name_at_once_gives_one_folder() {
    run(|w| async move {
        let other = w.worker().await;
        for n in 0..12 {
            let name: FolderName = format!("race{n}").parse().unwrap();
            w.folder(name.as_str()).await;
            w.folders.invite("OWNER", name.as_str(), Permission::ReadOnly, &["2".to_owned()]).await.unwrap();
            let id = w.folders.invitations("GUEST").await.unwrap()[0].id;
            let accept = w.folders.accept("GUEST", id, "GUEST");
            let (accepted, created) = futures_util::join!(accept, other.create("GUEST", &name, None));
            assert!(accepted.is_ok() != created.is_ok(), "{accepted:?} {created:?}");
            let same = w.folders.list("GUEST").await.unwrap().iter().filter(|it| it.name == name.as_str()).count();
            assert_eq!(same, 1);
            if accepted.is_err() {
                w.folders.refuse("GUEST", id).await.unwrap();
            }
        }
    });
}

#[test]
fn permissions_hold_for_every_action() {
    run(|w| async move {
        for (permission, user, key) in [
            (Permission::ReadOnly, "2", "GUEST"),
            (Permission::ReadWrite, "2", "GUEST2"),
            (Permission::WriteDelete, "3", "THIRD"),
        ] {
            let name = permission.as_str();
            w.folder(name).await;
            put(&w.folders, "OWNER", name, &[("f", b"x")]).await.unwrap();
            w.let_in(name, permission, user, key).await;
            let f = &w.folders;
            let refused = |result: Result<(), Error>| match result {
                Ok(()) => false,
                Err(Error::NotPermitted(_)) => true,
                Err(error) => panic!("{error}"),
            };
            let reads = join_all([
                Box::pin(async { f.info(key, name).await.map(drop) }) as std::pin::Pin<Box<dyn Future<Output = _>>>,
                Box::pin(async { f.files(key, name, None).await.map(drop) }),
                Box::pin(async { get(f, key, name, "f").await.map(drop) }),
            ]);
            assert!(reads.await.into_iter().all(|it| !refused(it)));
            let may_write = permission.allows(Permission::ReadWrite);
            assert_eq!(refused(put(f, key, name, &[("g", b"x")]).await.map(drop)), !may_write);
            assert_eq!(refused(f.make_directory(key, name, p("d")).await), !may_write);
            let may_delete = permission.allows(Permission::WriteDelete);
            assert_eq!(refused(f.delete_files(key, name, vec![p("f")], false).await), !may_delete);
        }
        assert!(matches!(get(&w.folders, "OWNER", "none", "f").await, Err(Error::NotFound)));
    });
}
