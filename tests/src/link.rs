//! A network link between two processes of this host that can be cut and mended.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::Result;

/// Passes connections on to a port of this host while it is whole.
#[derive(Debug)]
pub struct Link {
    port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    whole: bool,
    connections: Vec<TcpStream>,
}

impl Link {
    /// A link to a port.
    ///
    /// # Errors
    /// If no port is free for its near end.
    pub fn to(port: u16) -> Result<Self> {
        Self::from(Ipv4Addr::LOCALHOST.into(), port)
    }

    /// The same with its near end at an address of this host, for those who are not on its loopback.
    ///
    /// # Errors
    /// If this host does not have the address, or no port is free there.
    pub fn from(near: IpAddr, port: u16) -> Result<Self> {
        let listener = TcpListener::bind((near, 0))?;
        let near = listener.local_addr()?.port();
        let state = Arc::new(Mutex::new(State {
            whole: true,
            connections: Vec::new(),
        }));
        let shared = Arc::clone(&state);
        // Ends with the test program.
        thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                drop(accept(&shared, connection, port));
            }
        });
        Ok(Self { port: near, state })
    }

    /// The port of the near end.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends every connection, and every new one at once.
    pub fn cut(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.whole = false;
        for connection in state.connections.drain(..) {
            drop(connection.shutdown(Shutdown::Both));
        }
    }

    /// Passes connections on again.
    pub fn mend(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.whole = true;
    }
}

fn accept(state: &Mutex<State>, near: TcpStream, port: u16) -> io::Result<()> {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    if !state.whole {
        return Ok(());
    }
    let far = TcpStream::connect(("127.0.0.1", port))?;
    for (from, to) in [(&near, &far), (&far, &near)] {
        let (from, to) = (from.try_clone()?, to.try_clone()?);
        thread::spawn(move || pass_on(from, to));
    }
    state.connections.extend([near, far]);
    Ok(())
}

fn pass_on(mut from: TcpStream, mut to: TcpStream) {
    // A connection that breaks is what a link that is cut is for.
    drop(io::copy(&mut from, &mut to));
    drop(from.shutdown(Shutdown::Both));
    drop(to.shutdown(Shutdown::Both));
}
