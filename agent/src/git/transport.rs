//! The smart-HTTP transport under libgit2: git's two requests, carried by a blocking rustls client.
//!
//! libgit2's own HTTPS would link OpenSSL. Ours is a plain request and answer: the caller writes the
//! request, the first read sends it. Timeouts, certificates and credentials are those of the
//! [`Access`] that the git thread has entered; there is no other way to a server.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::sync::Arc;

use git2::transport::{Service, SmartSubtransport, SmartSubtransportStream, Transport};
use git2::{Error, ErrorClass, ErrorCode};
use ureq::http::{Response, header};

use super::access::Access;

/// Largest request that is held in memory: the list of commits we have and want.
const REQUEST_LIMIT: usize = 4 << 20;

thread_local! {
    /// The server that this thread may talk to, and the last answer that was no success.
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
}

struct Current {
    access: Arc<Access>,
    client: ureq::Agent,
    refusal: Option<Refusal>,
}

/// What a server answered instead of the repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A status that is no success.
    Status(u16),
    /// A redirect, and where to.
    Redirect(String),
    /// The server does not speak git's smart protocol.
    NotGit,
    /// No answer at all, and why.
    Unreachable(String),
}

/// Registers the transport for `http://` and `https://`, once, before any thread uses libgit2.
#[expect(
    unsafe_code,
    reason = "libgit2 keeps its table of transports without a lock"
)]
pub(crate) fn register() -> Result<(), Error> {
    for scheme in ["http", "https"] {
        // SAFETY: `register` must not run while another thread creates a transport. `main` calls
        // this once, before it starts the git thread, which is the only one that connects.
        unsafe {
            git2::transport::register(scheme, |remote| Transport::smart(remote, true, Http))?;
        }
    }
    Ok(())
}

/// Runs `work` while this thread may talk to the server of `access`. Returns with its result what
/// the server refused, if anything: libgit2's errors have no room for that.
pub(crate) fn with_access<T>(
    access: Arc<Access>,
    work: impl FnOnce() -> T,
) -> (T, Option<Refusal>) {
    let client = access.client();
    CURRENT.with_borrow_mut(|slot| {
        *slot = Some(Current {
            access,
            client,
            refusal: None,
        });
    });
    let result = work();
    let refusal = CURRENT
        .with_borrow_mut(Option::take)
        .and_then(|current| current.refusal);
    (result, refusal)
}

/// One connection of libgit2; every request of it stands alone.
struct Http;

impl SmartSubtransport for Http {
    fn action(
        &self,
        url: &str,
        service: Service,
    ) -> Result<Box<dyn SmartSubtransportStream>, Error> {
        let base = url.trim_end_matches('/');
        let request = match service {
            Service::UploadPackLs => {
                Request::Advertisement(format!("{base}/info/refs?service=git-upload-pack"))
            }
            Service::UploadPack => Request::Pack {
                url: format!("{base}/git-upload-pack"),
                body: Vec::new(),
            },
            Service::ReceivePackLs | Service::ReceivePack => {
                return Err(failure("this program never pushes"));
            }
        };
        Ok(Box::new(Exchange {
            request,
            answer: None,
        }))
    }

    fn close(&self) -> Result<(), Error> {
        Ok(())
    }
}

enum Request {
    Advertisement(String),
    Pack { url: String, body: Vec<u8> },
}

/// One request and its answer.
struct Exchange {
    request: Request,
    answer: Option<Box<dyn Read + Send>>,
}

impl Write for Exchange {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.request {
            Request::Pack { body, .. } if body.len() + bytes.len() <= REQUEST_LIMIT => {
                body.extend_from_slice(bytes);
                Ok(bytes.len())
            }
            Request::Pack { .. } => Err(io::Error::other(
                "the request to the git server is too large",
            )),
            Request::Advertisement(_) => Err(io::Error::other("nothing to send in this request")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Exchange {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.answer.is_none() {
            self.answer = Some(send(&self.request)?);
        }
        match &mut self.answer {
            Some(answer) => answer.read(buffer),
            None => Ok(0),
        }
    }
}

/// Sends the request and returns the body of a good answer.
fn send(request: &Request) -> io::Result<Box<dyn Read + Send>> {
    let Some((client, authorization)) = CURRENT.with_borrow(|slot| {
        let current = slot.as_ref()?;
        Some((
            current.client.clone(),
            current.access.authorization().map(str::to_owned),
        ))
    }) else {
        return Err(io::Error::other(
            "no git server may be reached from this thread",
        ));
    };
    let (sent, content_type) = match request {
        Request::Advertisement(url) => {
            let mut call = client.get(url).header(header::PRAGMA, "no-cache");
            if let Some(value) = &authorization {
                call = call.header(header::AUTHORIZATION, value);
            }
            (call.call(), "application/x-git-upload-pack-advertisement")
        }
        Request::Pack { url, body } => {
            let mut call = client
                .post(url)
                .header(
                    header::CONTENT_TYPE,
                    "application/x-git-upload-pack-request",
                )
                .header(header::ACCEPT, "application/x-git-upload-pack-result");
            if let Some(value) = &authorization {
                call = call.header(header::AUTHORIZATION, value);
            }
            (
                call.send(body.as_slice()),
                "application/x-git-upload-pack-result",
            )
        }
    };
    let response = sent.map_err(|error| refuse(Refusal::Unreachable(error.to_string())))?;
    check(&response, content_type).map_err(refuse)?;
    Ok(Box::new(response.into_body().into_reader()))
}

fn check<B>(response: &Response<B>, content_type: &str) -> Result<(), Refusal> {
    let status = response.status();
    let field = |name| {
        response
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    if status.is_redirection() {
        return Err(Refusal::Redirect(
            field(header::LOCATION).unwrap_or("nowhere").to_owned(),
        ));
    }
    if !status.is_success() {
        return Err(Refusal::Status(status.as_u16()));
    }
    if field(header::CONTENT_TYPE) != Some(content_type) {
        return Err(Refusal::NotGit);
    }
    Ok(())
}

/// Keeps the refusal for [`with_access`] and makes libgit2 stop.
fn refuse(refusal: Refusal) -> io::Error {
    let text = format!("{refusal:?}");
    CURRENT.with_borrow_mut(|slot| {
        if let Some(current) = slot {
            current.refusal = Some(refusal);
        }
    });
    io::Error::other(text)
}

fn failure(message: &str) -> Error {
    Error::new(ErrorCode::GenericError, ErrorClass::Http, message)
}
