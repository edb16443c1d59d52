//! What the servers of this test cannot be made to do, as answers that were recorded or written down.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, ensure};
use forge::credentials::Credentials;
use forge::fault::{Fault, Remedy, Role};
use forge::github::{Api, GitHub};
use forge::http::{Address, Http, Plain, Trust};
use forge::image::ImageName;
use forge::registry::{Registry, Scheme};
use forge::seam;
use forge::version::ImageTag;
use tests::scripted_server::{ScriptedServer, json};

fn run<T>(work: impl Future<Output = T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(work))
}

fn api(server: &ScriptedServer, role: Role) -> Result<Api> {
    let http = Http::new(Trust::Web)?;
    let address = Address::parse(&server.address, Plain::Loopback)?;
    Ok(Api::new(http, address, Credentials::token("t0ken")?, role))
}

fn releases(server: &ScriptedServer) -> Result<Result<forge::release::Releases, Fault>> {
    run(async { Ok(api(server, Role::Releases)?.releases("o", "r").await) })?
}

fn open(server: &ScriptedServer) -> Result<Fault> {
    let result = run(async {
        let forge = GitHub::new(api(server, Role::Forge)?, "o", "r", "main");
        anyhow::Ok(seam::open(&forge, "b", "t", "x").await)
    })??;
    result.err().context("it was opened")
}

fn registry(server: &ScriptedServer, credentials: Credentials) -> Result<Registry> {
    let host = server.address.replace("http://", "");
    let image = ImageName::parse(&format!("{host}/o/r"))?;
    Ok(Registry::new(
        Http::new(Trust::Web)?,
        image,
        Scheme::Http,
        credentials,
    ))
}

#[test]
fn pages_are_followed_on_the_same_host_only() -> Result<()> {
    let other = ScriptedServer::start(|_, _, _| json(200, "", "[{\"tag_name\":\"v9.9.9\"}]"))?;
    for next in [
        format!("{}/repos/o/r/releases", other.address),
        "/repos/o/r".to_owned(),
    ] {
        let server = ScriptedServer::start(move |_, _, _| {
            let link = format!("Link: <{next}>; rel=\"next\", <{next}>; rel=\"last\"\r\n");
            // A field that GitHub adds is no error.
            json(200, &link, "[{\"tag_name\":\"v1.0.0\",\"new_field\":{}}]")
        })?;
        let found = releases(&server)?.context("the first page")?;
        ensure!(found.list.len() == 1 && !found.truncated, "{found:?}");
        ensure!(server.seen().len() == 1);
    }
    ensure!(other.seen().is_empty(), "the token went to another host");
    Ok(())
}

#[test]
fn a_list_without_end_is_cut() -> Result<()> {
    let address = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
    let own = std::sync::Arc::clone(&address);
    let count = AtomicUsize::new(0);
    let server = ScriptedServer::start(move |_, _, _| {
        let number = count.fetch_add(1, Ordering::Relaxed);
        let own = own.get().map(String::as_str).unwrap_or_default();
        let link = format!("Link: <{own}/repositories/1/releases?page={number}>; rel=\"next\"\r\n");
        json(200, &link, &format!("[{{\"tag_name\":\"v1.0.{number}\"}}]"))
    })?;
    drop(address.set(server.address.clone()));
    let found = releases(&server)?.context("ten pages")?;
    ensure!(found.truncated && found.list.len() == 10, "{found:?}");
    Ok(())
}

#[test]
fn answers_that_are_none() -> Result<()> {
    let broken = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n[{\"tag_name\":\"v1.0.0\"}";
    let cases: [(Vec<u8>, &str, Remedy); 6] = [
        (broken.to_vec(), "the answer broke off", Remedy::Again),
        (Vec::new(), "release list 127.0.0.1", Remedy::Again),
        (
            b"SSH-2.0-OpenSSH\r\n".to_vec(),
            "release list 127.0.0.1",
            Remedy::Again,
        ),
        (
            json(200, "", "{\"message\":\"hello\"}"),
            "the answer makes no sense",
            Remedy::Again,
        ),
        (
            json(
                301,
                "Location: https://api.github.com/repositories/1\r\n",
                "{}",
            ),
            "it has moved to https://api.github.com/repositories/1",
            Remedy::Person,
        ),
        (
            json(503, "", ""),
            "a problem of its own (503)",
            Remedy::Again,
        ),
    ];
    for (bytes, text, remedy) in cases {
        let server = ScriptedServer::start(move |_, _, _| bytes.clone())?;
        let fault = releases(&server)?.err().context("it was taken")?;
        ensure!(fault.to_string().contains(text), "{fault}");
        ensure!(fault.remedy() == remedy, "{fault}");
        ensure!(!fault.to_string().contains("t0ken"), "{fault}");
        ensure!(
            server.seen().len() == 1,
            "nothing is sent twice: {:?}",
            server.seen()
        );
    }
    Ok(())
}

/// Bodies as GitHub sends them.
#[test]
fn refusals_of_a_pull_request() -> Result<()> {
    let duplicate = r#"{"message":"Validation Failed","errors":[{"resource":"PullRequest","code":"custom","message":"A pull request already exists for o:b."}],"documentation_url":"https://docs.github.com","status":"422"}"#;
    let nothing = r#"{"message":"Validation Failed","errors":[{"resource":"PullRequest","code":"custom","message":"No commits between main and b"}],"status":"422"}"#;
    let rights = r#"{"message":"Resource not accessible by personal access token","documentation_url":"https://docs.github.com","status":"403"}"#;
    let secondary = r#"{"message":"You have exceeded a secondary rate limit and have been temporarily blocked from content creation. Please retry your request again later."}"#;
    let archived = r#"{"message":"Repository was archived so is read-only.","status":"403"}"#;
    let seconds = std::time::Duration::from_secs;
    let cases = [
        (
            422,
            "",
            duplicate,
            "A pull request already exists for o:b.",
            Remedy::Again,
        ),
        (
            422,
            "",
            nothing,
            "No commits between main and b",
            Remedy::Person,
        ),
        (
            403,
            "",
            rights,
            "the right to write contents and pull requests",
            Remedy::Person,
        ),
        (
            403,
            "",
            archived,
            "archived so is read-only",
            Remedy::Person,
        ),
        (
            403,
            "",
            secondary,
            "too many requests",
            Remedy::After(seconds(60)),
        ),
        (
            403,
            "Retry-After: 5\r\n",
            "{}",
            "in 5 s",
            Remedy::After(seconds(5)),
        ),
        (
            401,
            "",
            r#"{"message":"Bad credentials"}"#,
            "refused (401)",
            Remedy::Person,
        ),
    ];
    for (status, headers, body, text, remedy) in cases {
        let server = ScriptedServer::start(move |_, _, _| json(status, headers, body))?;
        let fault = open(&server)?;
        ensure!(fault.to_string().contains(text), "{fault}");
        ensure!(fault.remedy() == remedy, "{fault}");
        ensure!(
            server.seen() == ["POST /repos/o/r/pulls"],
            "{:?}",
            server.seen()
        );
    }
    Ok(())
}

#[test]
fn a_registry_that_wants_a_token() -> Result<()> {
    let address = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
    let own = std::sync::Arc::clone(&address);
    let server = ScriptedServer::start(move |_, target, authorization| {
        let own = own.get().map(String::as_str).unwrap_or_default();
        match (target, authorization) {
            ("/token?service=images&scope=repository:o/r:pull", "") => {
                json(200, "", r#"{"access_token":"pull-token"}"#)
            }
            ("/v2/o/r/manifests/1.0.0", "Bearer pull-token") => json(
                200,
                &format!("Docker-Content-Digest: sha256:{}\r\n", "ab".repeat(32)),
                "",
            ),
            ("/v2/o/r/manifests/2.0.0", "Bearer pull-token") => json(404, "", ""),
            (_, "") => {
                let challenge = format!("Bearer realm=\"{own}/token\",service=\"images\"");
                json(401, &format!("WWW-Authenticate: {challenge}\r\n"), "")
            }
            _ => json(500, "", ""),
        }
    })?;
    drop(address.set(server.address.clone()));
    let find = |tag: &str| -> Result<String> {
        let registry = registry(&server, Credentials::None)?;
        let tag = ImageTag::parse(tag)?;
        Ok(format!("{:?}", run(registry.find(&tag))?))
    };
    let digest = format!(
        "Ok(Present {{ digest: Some(\"sha256:{}\") }})",
        "ab".repeat(32)
    );
    ensure!(find("1.0.0")? == digest, "{}", find("1.0.0")?);
    ensure!(find("2.0.0")? == "Ok(Missing)");
    Ok(())
}

#[test]
fn what_a_registry_does_not_say_is_no_no() -> Result<()> {
    let cases = [
        (json(401, "", ""), "refused (401)"),
        (
            json(401, "WWW-Authenticate: Basic realm=\"x\"\r\n", ""),
            "spec.image.secretRef",
        ),
        (
            json(
                401,
                "WWW-Authenticate: Bearer realm=\"http://h:0/t\",service=\"x\"\r\n",
                "",
            ),
            "registry 127.0.0.1",
        ),
        (
            json(401, "WWW-Authenticate: Bearer realm=\"nowhere\"\r\n", ""),
            "its token server is of no use",
        ),
        (json(403, "", ""), "not allowed (403)"),
        (json(429, "Retry-After: 9\r\n", ""), "in 9 s"),
        (json(500, "", ""), "(500)"),
        (
            json(307, "Location: https://elsewhere\r\n", ""),
            "moved to https://elsewhere",
        ),
    ];
    for (bytes, text) in cases {
        let server = ScriptedServer::start(move |_, _, _| bytes.clone())?;
        let registry = registry(&server, Credentials::None)?;
        let found = run(registry.find(&ImageTag::parse("1.0.0")?))?;
        let fault = found
            .err()
            .with_context(|| format!("{text}: it was taken"))?;
        ensure!(fault.to_string().contains(text), "{fault}");
    }
    Ok(())
}
