//! Images and aliases, one at a time.

use super::*;

fn with_images() -> Cluster {
    let cluster = Cluster::current();
    cluster.file(
        "i.yml",
        "images:\n- {name: py, tags: [[latest, aa], ['3', bb]], slots: {cpu: 1, mem: 0.5, gpu: 0}}\n\
         - {name: py-gpu, tags: [[latest-gpu, cc]], slots: {cpu: 2, mem: 1, gpu: 0.5}}\n",
    );
    cluster.file("a.yml", "aliases:\n- [snake, 'py:3']\n- [three, 'py:3']\n- [none, 'rust:1']\n");
    cluster.run("etcd update-images -f @i.yml").unwrap();
    cluster.run("etcd update-aliases -f @a.yml").unwrap();
    cluster
}

#[test]
fn images_are_listed_as_gateways_see_them() {
    let cluster = with_images();
    let expected = "NAME    TAG         CPU  MEM   GPU  ALIASES       HASH\n\
                    py      3           1    512   0    snake, three  bb\n\
                    py      latest      1    512   0                  aa\n\
                    py-gpu  latest-gpu  2    1024  0.5                cc\n";
    assert_eq!(cluster.run("image list").unwrap(), expected);
    assert_eq!(cluster.json("image list --limit 1 --offset 1")[0]["tag"], "latest");
    let expected = "ALIAS  TARGET  KNOWN\nnone   rust:1  false\nsnake  py:3    true\nthree  py:3    true\n";
    assert_eq!(cluster.run("alias list").unwrap(), expected);
    assert_eq!(cluster.json("alias list --offset 2")[0]["alias"], "three");
}

#[test]
fn an_image_is_added_with_its_slots_and_then_a_tag_or_a_slot_alone() {
    let cluster = Cluster::current();
    let refused = cluster.run("image add git --hash aa").unwrap_err();
    assert!(refused.contains("no image git yet") && refused.contains("--cpu"), "{refused}");
    let added = cluster.run("image add git --hash aa --cpu 2 --mem 0.25").unwrap();
    let expected =
        "images/git 1\nimages/git/cpu 2\nimages/git/mem 256\nimages/git/gpu 0.00\nimages/git/tags/latest aa\n";
    assert_eq!(added, expected);
    let keys =
        ["images/git=1", "images/git/cpu=2", "images/git/gpu=0.00", "images/git/mem=256", "images/git/tags/latest=aa"];
    assert_eq!(cluster.keys(), keys);
    assert_eq!(cluster.run("image add git:2 --hash bb").unwrap(), "images/git/tags/2 bb\n");
    let changed = cluster.run("image add git:2 --hash cc --cpu 4").unwrap();
    assert_eq!(changed, "images/git/cpu 2 -> 4\nimages/git/tags/2 bb -> cc\n");
    assert_eq!(cluster.run("image add git:2 --hash cc").unwrap(), "git:2 is so already\n");
    for bad in ["a/b", "_aliases", ":1", "a:", "a:b:c"] {
        assert!(cluster.run(&format!("image add {bad} --hash x")).unwrap_err().contains("NAME:TAG"), "{bad}");
    }
}

#[test]
fn removing_a_tag_or_an_image_says_what_goes_and_which_aliases_hang() {
    let cluster = with_images();
    let removed = cluster.run("image remove py:3 --yes").unwrap();
    assert_eq!(removed, "removed py:3\nalias snake stands for nothing now\nalias three stands for nothing now\n");
    assert!(cluster.run("etcd get images/py/tags/3").is_err() && cluster.run("etcd get images/py/tags/latest").is_ok());
    assert!(cluster.run("image remove py:3 --yes").unwrap_err().starts_with("there is no image py:3"));
    assert_eq!(cluster.run("image remove py:latest --yes").unwrap(), "removed py with 1 tag: latest\n", "the last tag");
    assert_eq!(cluster.json("etcd ls images/py"), serde_json::json!([]));
    assert_eq!(cluster.json("image list")[0]["name"], "py-gpu", "no other image");
    assert!(cluster.run("image remove py --yes").unwrap_err().starts_with("there is no image py"));
}

#[test]
fn an_alias_stands_for_an_image_that_is_there_until_it_is_removed() {
    let cluster = with_images();
    assert_eq!(cluster.run("alias add p py").unwrap(), "p -> py\n");
    assert_eq!(cluster.run("alias add p py:3").unwrap(), "p -> py:3 (was py)\n");
    assert_eq!(cluster.run("etcd get images/_aliases/p").unwrap(), "py:3\n");
    for unknown in ["py:9", "rust", "snake"] {
        let refused = cluster.run(&format!("alias add q {unknown}")).unwrap_err();
        assert!(refused.starts_with(&format!("there is no image {unknown}")), "{refused}");
    }
    assert!(cluster.run("alias add a/b py").unwrap_err().contains("no spaces"));
    assert_eq!(cluster.run("alias remove p --yes").unwrap(), "removed p -> py:3\n");
    assert_eq!(cluster.run("alias remove p --yes").unwrap_err(), "there is no alias p");
}
