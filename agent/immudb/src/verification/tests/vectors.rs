//! Proofs that real servers gave, in `tests/vectors/`.
//!
//! `recorded` makes them, with the address of a server in `IMMUDB` and a name for the file in `VECTOR`:
//! `long-linear` is from immudb 1.11.1 on `test/data_long_linear_proof` of immudb's own source, a database
//! of immudb 1.4 whose trees lag; the others are from fresh databases of the version they are named after.

use std::fmt::Write as _;

use prost::Message as _;
use serde::{Deserialize, Serialize};

use super::{assert_no_bit_can_change, schema};
use crate::client::Client;
use crate::database::DatabaseName;
use crate::login::Login;
use crate::state::State;
use crate::verification::{DualProof, Refusal};

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors");

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    source: State,
    target: State,
    /// The message `DualProof` in hexadecimal digits.
    proof: String,
}

fn hex(bytes: &[u8]) -> String {
    let mut digits = String::new();
    for byte in bytes {
        write!(digits, "{byte:02x}").unwrap();
    }
    digits
}

fn unhex(digits: &str) -> Vec<u8> {
    let (pairs, []) = digits.as_bytes().as_chunks::<2>() else {
        panic!("an odd number of digits");
    };
    let value = |digit: u8| char::from(digit).to_digit(16).unwrap();
    pairs
        .iter()
        .map(|&[high, low]| u8::try_from(value(high) << 4 | value(low)).unwrap())
        .collect()
}

fn vectors() -> Vec<(String, Vec<Vector>)> {
    let mut files: Vec<_> = fs_err::read_dir(DIRECTORY)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    let read = |path: std::path::PathBuf| {
        let text = fs_err::read_to_string(&path).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (name, serde_json::from_str(&text).unwrap())
    };
    files.into_iter().map(read).collect()
}

fn decode(vector: &Vector) -> (Vec<u8>, DualProof) {
    let bytes = unhex(&vector.proof);
    let proof = schema::DualProof::decode(bytes.as_slice()).unwrap();
    (bytes, DualProof::try_from(proof).unwrap())
}

#[test]
fn what_real_servers_prove_is_proved() {
    for (name, vectors) in vectors() {
        for vector in &vectors {
            let (_, proof) = decode(vector);
            let outcome = proof.verify(&vector.source, &vector.target);
            assert_eq!(
                outcome,
                Ok(()),
                "{name}: {} to {}",
                vector.source,
                vector.target
            );
        }
    }
}

#[test]
fn vectors_use_every_part_of_a_proof() {
    let all: Vec<_> = vectors()
        .iter()
        .flat_map(|(_, vectors)| vectors.iter().map(|vector| decode(vector).1))
        .collect();
    assert!(all.iter().any(|proof| !proof.inclusion.is_empty()));
    assert!(all.iter().any(|proof| !proof.consistency.is_empty()));
    assert!(all.iter().any(|proof| proof.linear.terms.len() > 2));
    assert!(all.iter().any(|proof| proof.advance.is_some()));
    assert!(all.iter().any(|proof| proof.source == proof.target));
    assert!(all.iter().any(|proof| proof.source.tree_size == 0));
}

#[test]
fn no_bit_of_a_real_proof_can_change() {
    for (_, vectors) in vectors() {
        for (first, vector) in vectors.iter().enumerate() {
            let (bytes, proof) = decode(vector);
            let states = (&vector.source, &vector.target);
            assert_no_bit_can_change(&proof, &bytes, states, first);
        }
    }
}

/// What the clients of immudb before 1.4.1 accepted: the part that ties the tree to the chain is missing.
#[test]
fn a_real_proof_without_its_advance_is_refused() {
    let mut found = 0;
    for (_, vectors) in vectors() {
        for vector in &vectors {
            let (_, mut proof) = decode(vector);
            if proof.advance.take().is_some() {
                found += 1;
                let outcome = proof.verify(&vector.source, &vector.target);
                assert_eq!(outcome, Err(Refusal::Advance));
            }
        }
    }
    assert!(found > 0);
}

/// Writes a file of proofs between transactions spread over the database.
#[tokio::test]
#[ignore = "records from a server; see the head of this file"]
async fn recorded() {
    let server = std::env::var("IMMUDB").unwrap().parse().unwrap();
    let name = std::env::var("VECTOR").unwrap();
    let login = Login::new("immudb", "immudb");
    let mut client = Client::new(&server, login, std::time::Duration::from_secs(10)).unwrap();
    let database = DatabaseName::default_database();
    while client.state(&database).await.unwrap().tx < 40 {
        client.set(&database, b"key", b"value").await.unwrap();
    }
    let last = client.state(&database).await.unwrap();
    let mut chosen = vec![1, 2, 5, 16, 17, last.tx / 2, last.tx];
    chosen.retain(|tx| (1..=last.tx).contains(tx));
    chosen.sort_unstable();
    chosen.dedup();
    let mut vectors = Vec::new();
    for (at, &target) in chosen.iter().enumerate() {
        for &source in &chosen[..=at] {
            let proof = client.dual_proof(&database, source, target).await.unwrap();
            let target = client.header(&database, target).await.unwrap().unwrap();
            let source = client.header(&database, source).await.unwrap().unwrap();
            vectors.push(Vector {
                source: source.state(),
                target: target.state(),
                proof: hex(&proof.encode_to_vec()),
            });
        }
    }
    let lines: Vec<_> = vectors
        .iter()
        .map(|vector| serde_json::to_string(vector).unwrap())
        .collect();
    let text = format!("[\n{}\n]\n", lines.join(",\n"));
    fs_err::write(format!("{DIRECTORY}/{name}.json"), text).unwrap();
}
