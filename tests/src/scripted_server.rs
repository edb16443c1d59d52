//! An HTTP server that answers with bytes that were written down: for what no real server can be made to
//! do, such as breaking off in the middle of an answer.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// A running server. It ends with the test program.
#[derive(Debug)]
pub struct ScriptedServer {
    /// Its address.
    pub address: String,
    seen: Arc<Mutex<Vec<String>>>,
}

/// An answer: everything from the status line to the end, then the connection is closed.
pub type Answer = Vec<u8>;

impl ScriptedServer {
    /// Starts one. `script` gets method, target and `Authorization` of each request.
    ///
    /// # Errors
    /// If there is no port.
    pub fn start(
        script: impl Fn(&str, &str, &str) -> Answer + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = format!("http://{}", listener.local_addr()?);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that gives up is a part of the test.
                drop(serve(&stream, &script, &noted));
            }
        });
        Ok(Self { address, seen })
    }

    /// Every request so far, as `method target`.
    pub fn seen(&self) -> Vec<String> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// A whole answer with a JSON body.
pub fn json(status: u16, headers: &str, body: &str) -> Answer {
    format!(
        "HTTP/1.1 {status} Scripted\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn serve(
    mut stream: &TcpStream,
    script: &impl Fn(&str, &str, &str) -> Answer,
    seen: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let method = words.next().unwrap_or_default().to_owned();
    let target = words.next().unwrap_or_default().to_owned();
    let (mut authorization, mut length) = (String::new(), 0_usize);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.trim_end().split_once(':') else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => value.trim().clone_into(&mut authorization),
            "content-length" => length = value.trim().parse().unwrap_or_default(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    seen.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(format!("{method} {target}"));
    stream.write_all(&script(&method, &target, &authorization))?;
    stream.shutdown(Shutdown::Write)
}
