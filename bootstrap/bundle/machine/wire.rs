//! What `bootstrap` and a virtual machine say to each other over a serial port: lines of text, each
//! with the session it belongs to.
//!
//! ```text
//! host   <session> run <word>...            guest  <session> out <bytes>
//!        <session> in <bytes>                      <session> err <bytes>
//!        <session> eof                             <session> exit <code>
//!        <session> put <path> <mode> <bytes>       <session> done
//!                                                  <session> failed <why>
//! ```
//!
//! Fields are base64 (RFC 4648), so a line never contains a foreign line end. What is left in the
//! port of a session that broke off carries another session's name and is skipped: no answer is ever
//! taken for that of another question. Used by both sides; no crate, because the guest's side is
//! compiled alone.

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// Chosen by the host for each question.
    pub(crate) session: String,
    /// What is asked or told.
    pub(crate) verb: String,
    /// The rest.
    pub(crate) fields: Vec<Vec<u8>>,
}

impl Message {
    /// A message of a session.
    pub(crate) fn new(session: &str, verb: &str, fields: &[&[u8]]) -> Self {
        Self {
            session: session.to_owned(),
            verb: verb.to_owned(),
            fields: fields.iter().map(|field| field.to_vec()).collect(),
        }
    }

    /// The line, with its end.
    pub(crate) fn line(&self) -> String {
        let mut line = format!("{} {}", self.session, self.verb);
        for field in &self.fields {
            line.push(' ');
            encode(field, &mut line);
        }
        line.push('\n');
        line
    }

    /// Reads a line; `None` for anything that is none of ours.
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?;
        let mut words = line.trim_end_matches(['\r', '\n']).split(' ');
        let session = words.next().filter(|word| !word.is_empty())?.to_owned();
        let verb = words.next()?.to_owned();
        let fields = words.map(decode).collect::<Option<_>>()?;
        Some(Self {
            session,
            verb,
            fields,
        })
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn encode(bytes: &[u8], into: &mut String) {
    for chunk in bytes.chunks(3) {
        let at = |index: usize| u32::from(chunk.get(index).copied().unwrap_or_default());
        let group = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            let digit = group >> (18 - 6 * place) & 63;
            let letter = ALPHABET.get(digit as usize).copied().unwrap_or(b'=');
            into.push(char::from(if place > chunk.len() { b'=' } else { letter }));
        }
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.as_bytes();
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for chunk in text.chunks(4) {
        let padding = chunk
            .iter()
            .rev()
            .take_while(|&&letter| letter == b'=')
            .count();
        let mut group = 0;
        for &letter in chunk {
            let digit = match letter {
                b'A'..=b'Z' => letter - b'A',
                b'a'..=b'z' => letter - b'a' + 26,
                b'0'..=b'9' => letter - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                b'=' => 0,
                _ => return None,
            };
            group = group << 6 | u32::from(digit);
        }
        let [_, first, second, third] = group.to_be_bytes();
        bytes.extend(
            [first, second, third]
                .iter()
                .take(3_usize.checked_sub(padding)?),
        );
    }
    Some(bytes)
}
