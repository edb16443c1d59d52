//! A port of this host's loopback that leads to a Service, for as long as the installation needs it:
//! the way into clusters whose nodes this host cannot reach.

use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::cluster::Kubectl;
use crate::poll::{self, Answer};
use crate::problem::{OrProblem as _, Problem};

const OPEN_DEADLINE: Duration = Duration::from_secs(30);

/// An open tunnel; closed when dropped.
#[derive(Debug)]
pub(super) struct Tunnel(Child);

impl Tunnel {
    /// Leads `port` of 127.0.0.1 to port 80 of a Service.
    pub(super) fn open(
        kubectl: &Kubectl,
        namespace: &str,
        service: &str,
        port: u16,
    ) -> anyhow::Result<Self> {
        let what = format!("service/{service}");
        let ports = format!("{port}:80");
        let words = ["-n", namespace, "port-forward", what.as_str(), &ports];
        let child = kubectl
            .command(&words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .or_problem(|| Problem::new("failed to start kubectl port-forward"))?;
        let mut tunnel = Self(child);
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port).into();
        let awaited = format!("the way to {namespace}/{service} through {address}");
        poll::until(&awaited, OPEN_DEADLINE, || {
            if let Some(status) = tunnel.0.try_wait()? {
                let message = format!("kubectl port-forward to {namespace}/{service} {status}");
                return Err(Problem::new(message)
                    .hint(format!("see whether port {port} is free: --git-port"))
                    .into());
            }
            Ok(
                match TcpStream::connect_timeout(&address, Duration::from_millis(500)) {
                    Ok(_) => Answer::Done(()),
                    Err(error) => Answer::NotYet(error.to_string()),
                },
            )
        })?;
        Ok(tunnel)
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
