//! The configuration in etcd, as a cluster has it; every case of it is tested beside the checks.

use super::*;

#[test]
fn what_is_wrong_in_etcd_is_named() {
    run(async {
        let cluster = Cluster::healthy().await;
        cluster.put("images/_aliases/r", "R:4").await;
        cluster.put("images/half/cpu", "1").await;
        cluster.put("config/overbook/mem", "much").await;
        let found = cluster.examine().await;
        found.says("aliases", State::Warning, "r (R:4)");
        found.says("images", State::Failed, "images/half/mem is missing");
        let garbage = found.says("settings", State::Failed, "config/overbook/mem is not");
        assert!(garbage.mend.contains("etcd put config/overbook/mem VALUE"), "{garbage:?}");
        found.failed(&["images", "settings"]);
    });
}

#[test]
fn the_configuration_of_another_namespace_is_another() {
    run(async {
        let mut cluster = Cluster::healthy().await;
        cluster.to.namespace = "other".into();
        let found = cluster.examine().await;
        found.says("images", State::Failed, "there is no image");
    });
}
