//! A place outside this host: a network namespace behind a veth pair, which the host reaches by a
//! route and a cluster only through the host.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::process::Command;
use std::thread;

use anyhow::{Context as _, Result, anyhow};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::process;

/// Of a documentation range (RFC 5737): nothing else on a host has it.
const HOST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const THERE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);

const NAMESPACE: &str = "imo-outside";
const NEAR: &str = "imo-near";
const FAR: &str = "imo-far";

/// The namespace and the link to it, of which a host has one; gone when dropped.
#[derive(Debug)]
pub struct Outside(());

impl Outside {
    /// Makes the namespace. One that a killed run left behind is replaced.
    ///
    /// # Errors
    /// What `ip` said.
    pub fn new() -> Result<Self> {
        remove();
        let outside = Self(());
        let (host, there) = (format!("{HOST}/30"), format!("{THERE}/30"));
        for words in [
            &["netns", "add", NAMESPACE][..],
            &["link", "add", NEAR, "type", "veth", "peer", "name", FAR],
            &["link", "set", FAR, "netns", NAMESPACE],
            // No IPv6 address that comes a moment later: the host must look the same all along.
            &["link", "set", NEAR, "addrgenmode", "none"],
            &["address", "add", &host, "dev", NEAR],
            &["link", "set", NEAR, "up"],
            &["-netns", NAMESPACE, "address", "add", &there, "dev", FAR],
            &["-netns", NAMESPACE, "link", "set", FAR, "up"],
        ] {
            process::text(Command::new("ip").args(words), None)?;
        }
        Ok(outside)
    }

    /// A server's socket out there. There is no route back from it but to the near end, so packets that
    /// keep the address of a node or a pod get no answer.
    ///
    /// # Errors
    /// When the namespace is gone or has no free port.
    pub fn listen(&self) -> Result<TcpListener> {
        let namespace = fs_err::File::open(format!("/run/netns/{NAMESPACE}"))?;
        // A socket belongs to the namespace of the thread that makes it, for good.
        let socket = thread::spawn(move || -> Result<TcpListener> {
            move_into_link_name_space(
                std::os::fd::AsFd::as_fd(namespace.file()),
                Some(LinkNameSpaceType::Network),
            )?;
            Ok(TcpListener::bind(SocketAddrV4::new(THERE, 0))?)
        });
        socket
            .join()
            .map_err(|_| anyhow!("the thread in the namespace panicked"))?
            .context("failed to listen outside")
    }
}

fn remove() {
    for words in [["link", "del", NEAR], ["netns", "del", NAMESPACE]] {
        // Fails when there is nothing to remove.
        drop(process::output(Command::new("ip").args(words), None));
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        remove();
    }
}
