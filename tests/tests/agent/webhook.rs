//! A push is applied at once when the forge tells about it, and only the forge can tell.

use std::time::{Duration, Instant};

use anyhow::ensure;
use ring::hmac;
use serde_json::json;
use tests::agent_process::{Agent, HOOK_TOKEN};
use tests::git_server::{Access, GitServer};

use super::fixtures::{config_map, spec, with};

fn sign(body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, HOOK_TOKEN.as_bytes());
    let tag = hmac::sign(&key, body.as_bytes());
    tag.as_ref()
        .iter()
        .fold(String::new(), |digits, byte| format!("{digits}{byte:02x}"))
}

#[test]
fn a_signed_push_is_applied_at_once() -> anyhow::Result<()> {
    let agent = Agent::start("webhook")?;
    let git = GitServer::start(&agent.directory, Access::Open)?;
    let first = git.push(&[("a.yaml", &config_map("webhook", "default", "one"))])?;
    agent.sync("app", &with(spec(&git, "."), json!({ "interval": "1h" })))?;
    agent.ready("app", &first)?;

    let body = r#"{"ref":"refs/heads/main"}"#;
    ensure!(agent.hook("/hook/app", None, body)? == 401);
    ensure!(agent.hook("/hook/app", Some(&sign("other")), body)? == 401);
    ensure!(agent.hook("/hook/app", Some(&sign("[]")), "[]")? == 400);
    let other = r#"{"ref":"refs/heads/other"}"#;
    ensure!(agent.hook("/hook/app", Some(&sign(other)), other)? == 200);
    ensure!(agent.hook("/hook/nobody", Some(&sign(body)), body)? == 200);
    let large = " ".repeat(4 << 20);
    ensure!(
        agent
            .hook("/hook/app", Some(&sign(&large)), &large)
            .is_ok_and(|code| code == 413)
    );

    let mut times = Vec::new();
    for number in 0..20 {
        let text = config_map("webhook", "default", &format!("value-{number}"));
        git.push(&[("a.yaml", &text)])?;
        let started = Instant::now();
        ensure!(agent.hook("/hook/app", Some(&sign(body)), body)? == 202);
        loop {
            let object = agent
                .client
                .get("/api/v1/namespaces/default/configmaps/webhook")?;
            if object.pointer("/data/key") == Some(&json!(format!("value-{number}"))) {
                break;
            }
            ensure!(
                started.elapsed() < Duration::from_secs(30),
                "push {number} is not applied"
            );
        }
        times.push(started.elapsed());
        // The burst of the rate limit is 20 calls.
        std::thread::park_timeout(Duration::from_millis(100));
    }
    times.sort();
    println!("20 pushes: p50 {:?}, max {:?}", times.get(10), times.last());
    ensure!(
        times
            .get(10)
            .is_some_and(|p50| *p50 < Duration::from_secs(1))
    );
    Ok(())
}
