use super::{
    super::{
        client::{Client, Edit},
        keys,
    },
    rig::{NAMESPACE, Rig},
};
use crate::{config::HostPort, testing::free_port};

#[test]
fn keys_are_put_read_listed_and_deleted_below_the_namespace() {
    let rig = Rig::start();
    let mut client = rig.client();
    rig.runtime.block_on(async {
        let edits = [("images/a", "1"), ("images/b", "2"), ("config/x", "3")];
        let edits = edits.map(|(key, value)| Edit::Put(key.into(), value.into()));
        client.apply(&edits).await.unwrap();
        client.apply(&[Edit::Delete("images/a".into()), Edit::Put("images/c".into(), "4".into())]).await.unwrap();
        let listed: Vec<_> = client.list("images/").await.unwrap().into_iter().collect();
        assert_eq!(listed, [("images/b".into(), "2".into()), ("images/c".into(), "4".into())]);
        assert_eq!(client.get("config/x").await.unwrap().as_deref(), Some("3"));
        assert!(client.delete("config/x").await.unwrap());
        assert!(!client.delete("config/x").await.unwrap());
        assert_eq!(client.get("config/x").await.unwrap(), None);
        let mut raw = etcd_client::Client::connect([rig.addr.to_string()], None).await.unwrap();
        let stored = raw.get("/sorna/test/images/b", None).await.unwrap();
        assert_eq!(stored.kvs()[0].value(), b"2");
        let mut other = Client::connect(std::slice::from_ref(&rig.addr), "tes").await.unwrap();
        assert!(other.list("").await.unwrap().is_empty(), "a namespace is no prefix of another");
    });
}

#[test]
fn a_transaction_that_etcd_refuses_writes_nothing_and_says_why() {
    let rig = Rig::start();
    let mut client = rig.client();
    rig.runtime.block_on(async {
        let edits: Vec<_> = (0..200).map(|n| Edit::Put(keys::image_tag("a", &n.to_string()), "h".into())).collect();
        let error = client.apply(&edits).await.unwrap_err().to_string();
        assert_eq!(error, format!("etcd at {}: etcdserver: too many operations in txn request", rig.addr));
        assert!(client.list("").await.unwrap().is_empty());
    });
}

#[test]
fn the_first_endpoint_that_answers_is_taken_and_none_is_one_clear_line() {
    let rig = Rig::start();
    let down: HostPort = format!("127.0.0.1:{}", free_port()).parse().unwrap();
    rig.runtime.block_on(async {
        Client::connect(&[down.clone(), rig.addr.clone()], NAMESPACE).await.unwrap().put("a", "1").await.unwrap();
        let error = Client::connect(std::slice::from_ref(&down), NAMESPACE).await.err().unwrap().to_string();
        assert_eq!(error, format!("etcd at {down}: tcp connect error: Connection refused (os error 111)"));
        let error = Client::connect(&[], NAMESPACE).await.err().unwrap().to_string();
        assert_eq!(error, "no etcd endpoint is given");
    });
}
