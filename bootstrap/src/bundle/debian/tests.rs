//! Which sources count, and what becomes of a tree.

use tar::EntryType;

use super::*;

#[test]
fn only_debian_hosts_have_a_release() {
    let cases = [
        (
            "PRETTY_NAME=\"Debian\"\nVERSION_CODENAME=bookworm\nID=debian\n",
            "bookworm",
        ),
        ("ID=ubuntu\nVERSION_CODENAME=noble\nID_LIKE=debian\n", ""),
        ("", ""),
    ];
    for (os, expected) in cases {
        assert_eq!(release(os), expected, "{os:?}");
    }
}

#[test]
fn lines_of_other_suites_are_left_out() {
    let text = "# deb http://a.invalid bookworm main\n\
        deb http://a.invalid bookworm main\n\
        deb-src http://a.invalid bookworm main\n\
        deb [arch=amd64 signed-by=/k.gpg] http://a.invalid bookworm-updates main\n\
        deb http://b.invalid cloud-bookworm main\n\
        deb http://b.invalid bookwormish main\n";
    assert_eq!(
        lines_for("bookworm", text),
        "deb http://a.invalid bookworm main\n\
         deb [arch=amd64 signed-by=/k.gpg] http://a.invalid bookworm-updates main\n"
    );
    assert_eq!(lines_for("", text), "");
}

#[test]
fn stanzas_of_other_suites_are_left_out() {
    let text = "Types: deb\n# a comment\nURIs: http://a.invalid\nSuites: bookworm bookworm-updates\n\n\
        Types: deb\nURIs: http://b.invalid\nSuites: nodistro\n\n\
        Types: deb\nSuites: bookworm\nEnabled: no\n\n\
        Types: deb-src\nSuites: bookworm\n";
    assert_eq!(
        stanzas_for("bookworm", text),
        "Types: deb\nURIs: http://a.invalid\nSuites: bookworm bookworm-updates\n\n"
    );
}

#[test]
fn packages_are_read_from_the_names_of_downloads() {
    assert_eq!(
        package("git_1%3a2.39.5-0+deb12u2_amd64.deb").as_deref(),
        Some("git=1:2.39.5-0+deb12u2")
    );
    assert_eq!(package("lock"), None);
}

const RECIPE: Debian = Debian {
    packages: &["git"],
    without: &["dev", "usr/bin/perl*", "usr/share/doc", "var"],
    layer: "l",
    authorities: "a",
};

#[test]
fn a_link_to_what_is_left_out_is_an_error() {
    let tree = |target: &str| {
        let mut tree = Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(EntryType::Link);
        header.set_mode(0o755);
        header.set_size(0);
        tree.append_link(&mut header, "./usr/bin/link", target)
            .unwrap();
        tree.into_inner().unwrap()
    };
    filter(&RECIPE, tree("./usr/bin/git").as_slice(), std::io::sink()).unwrap();
    let error = filter(
        &RECIPE,
        tree("./usr/bin/perl5.36").as_slice(),
        std::io::sink(),
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "usr/bin/link is a link to what is left out"
    );
}

#[test]
fn a_tree_becomes_a_layer_without_times_devices_and_manuals() {
    let mut tree = Builder::new(Vec::new());
    let mut add = |kind: EntryType, path: &str, content: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_mtime(1_700_000_000);
        header.set_uid(7);
        header.set_size(content.len() as u64);
        tree.append_data(&mut header, path, content.as_bytes())
            .unwrap();
    };
    add(EntryType::Directory, "./", "");
    add(EntryType::Char, "./dev/null", "");
    add(EntryType::Regular, "./usr/bin/git", "elf");
    add(EntryType::Regular, "./usr/bin/perl5.36", "elf");
    add(
        EntryType::Regular,
        "./usr/share/ca-certificates/mozilla/B.crt",
        "B\n",
    );
    add(
        EntryType::Regular,
        "./usr/share/ca-certificates/mozilla/A.crt",
        "A\n",
    );
    add(EntryType::Regular, "./usr/share/doc/git/README", "text");
    add(
        EntryType::Regular,
        "./var/cache/apt/archives/git_1_amd64.deb",
        "ar",
    );
    let tree = tree.into_inner().unwrap();

    let mut layer = Vec::new();
    let filtered = filter(&RECIPE, tree.as_slice(), &mut layer).unwrap();
    assert_eq!(filtered.packages, ["git=1"]);
    assert_eq!(filtered.authorities, b"A\nB\n");
    let mut archive = tar::Archive::new(layer.as_slice());
    let names: Vec<_> = archive
        .entries()
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let header = entry.header();
            assert_eq!((header.mtime().unwrap(), header.uid().unwrap()), (0, 0));
            entry.path().unwrap().display().to_string()
        })
        .collect();
    assert_eq!(
        names,
        [
            "usr/bin/git",
            "usr/share/ca-certificates/mozilla/B.crt",
            "usr/share/ca-certificates/mozilla/A.crt",
        ]
    );
}
