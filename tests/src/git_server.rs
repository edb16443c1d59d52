//! Real git over smart HTTP: `git http-backend` behind a few lines of HTTP, with or without a
//! password, and a work tree to commit from.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, bail};

/// A repository and the server that offers it.
#[derive(Debug)]
pub struct GitServer {
    directory: PathBuf,
    address: SocketAddr,
    requests: Arc<AtomicU64>,
}

/// Who may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Open,
    /// Who sends this `user:password`, base64-encoded.
    Basic(String),
}

impl GitServer {
    /// Makes an empty repository below `directory` and serves it as `/repo.git`.
    ///
    /// # Errors
    /// If git is missing or the port cannot be opened.
    pub fn start(directory: &Path, access: Access) -> anyhow::Result<Self> {
        Self::serve(directory, access, TcpListener::bind("127.0.0.1:0")?)
    }

    /// [`GitServer::start`] on a socket of the caller's.
    ///
    /// # Errors
    /// If git is missing.
    pub fn serve(directory: &Path, access: Access, listener: TcpListener) -> anyhow::Result<Self> {
        let server = Self {
            directory: directory.to_owned(),
            address: listener.local_addr()?,
            requests: Arc::new(AtomicU64::new(0)),
        };
        fs_err::create_dir_all(server.work_tree())?;
        server.git(&[
            "init",
            "--quiet",
            "--bare",
            "--initial-branch=main",
            "../repo.git",
        ])?;
        server.git(&["init", "--quiet", "--initial-branch=main", "."])?;
        server.git(&["remote", "add", "origin", "../repo.git"])?;
        let root = directory.to_owned();
        let requests = Arc::clone(&server.requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                requests.fetch_add(1, Ordering::Relaxed);
                let (root, access) = (root.clone(), access.clone());
                std::thread::spawn(move || drop(serve(&stream, &root, &access)));
            }
        });
        Ok(server)
    }

    /// Address of the repository.
    pub fn url(&self) -> String {
        format!("http://{}/repo.git", self.address)
    }

    /// Requests so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// The work tree that [`GitServer::push`] commits from.
    pub fn work_tree(&self) -> PathBuf {
        self.directory.join("work")
    }

    /// Runs git in the work tree.
    ///
    /// # Errors
    /// If it fails, with what it said.
    pub fn git(&self, args: &[&str]) -> anyhow::Result<String> {
        let output = Command::new("git")
            .args(args)
            .current_dir(self.work_tree())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.directory)
            .env("GIT_AUTHOR_NAME", "test")
            .env("GIT_AUTHOR_EMAIL", "test@example.com")
            .env("GIT_COMMITTER_NAME", "test")
            .env("GIT_COMMITTER_EMAIL", "test@example.com")
            .output()
            .context("cannot run git")?;
        if !output.status.success() {
            bail!("git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Writes files (an empty text removes one), commits and pushes. Returns the commit id.
    ///
    /// # Errors
    /// If git fails.
    pub fn push(&self, files: &[(&str, &str)]) -> anyhow::Result<String> {
        for (path, text) in files {
            let path = self.work_tree().join(path);
            if text.is_empty() {
                fs_err::remove_file(path)?;
                continue;
            }
            if let Some(folder) = path.parent() {
                fs_err::create_dir_all(folder)?;
            }
            fs_err::write(path, text)?;
        }
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--allow-empty", "--message", "change"])?;
        self.git(&["push", "--quiet", "--force", "origin", "HEAD:main"])?;
        self.git(&["rev-parse", "HEAD"])
    }
}

struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Answers one request and closes.
fn serve(mut stream: &TcpStream, root: &Path, access: &Access) -> anyhow::Result<()> {
    let request = read_request(stream)?;
    if let Access::Basic(expected) = access
        && request.header("authorization") != Some(&format!("Basic {expected}"))
    {
        let answer = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"git\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        return Ok(stream.write_all(answer.as_bytes())?);
    }
    let (path, query) = request
        .target
        .split_once('?')
        .unwrap_or((&request.target, ""));
    let mut child = Command::new("git")
        .arg("http-backend")
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*")
        .env("REQUEST_METHOD", &request.method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env(
            "CONTENT_TYPE",
            request.header("content-type").unwrap_or_default(),
        )
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .env(
            "GIT_PROTOCOL",
            request.header("git-protocol").unwrap_or_default(),
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    child
        .stdin
        .take()
        .context("no input")?
        .write_all(&request.body)?;
    let mut output = Vec::new();
    child
        .stdout
        .take()
        .context("no output")?
        .read_to_end(&mut output)?;
    child.wait()?;
    answer(stream, &output)
}

fn read_request(stream: &TcpStream) -> anyhow::Result<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let method = words.next().context("no method")?.to_owned();
    let target = words.next().context("no target")?.to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((key, value)) = line.trim().split_once(':') else {
            break;
        };
        headers.push((key.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut request = Request {
        method,
        target,
        headers,
        body: Vec::new(),
    };
    let length: usize = request.header("content-length").unwrap_or("0").parse()?;
    request.body.resize(length, 0);
    reader.read_exact(&mut request.body)?;
    Ok(request)
}

/// Turns CGI output into an HTTP answer.
fn answer(mut stream: &TcpStream, output: &[u8]) -> anyhow::Result<()> {
    let end = output
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .context("no header")?;
    let (head, body) = output.split_at(end + 4);
    let head = String::from_utf8_lossy(head);
    let status = head
        .lines()
        .find_map(|line| line.strip_prefix("Status: "))
        .unwrap_or("200 OK");
    let mut text = format!("HTTP/1.1 {status}\r\n");
    for line in head
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with("Status: "))
    {
        text.push_str(line);
        text.push_str("\r\n");
    }
    let length = body.len();
    write!(
        stream,
        "{text}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(body)?;
    Ok(())
}
