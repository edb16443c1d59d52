//! The generated code is that of the Protobuf file. `IMMUOPS_GENERATE=1` writes it instead.

use std::path::Path;

const PROTO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
const CODE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/schema/generated.rs");

fn generate(into: &Path) -> Result<String, Box<dyn std::error::Error>> {
    let files = protox::compile(["immudb.proto"], [PROTO])?;
    tonic_prost_build::configure()
        .build_server(false)
        .build_transport(false)
        .out_dir(into)
        .compile_fds(files)?;
    Ok(fs_err::read_to_string(into.join("immudb.schema.rs"))?)
}

#[test]
fn code_is_that_of_the_protobuf_file() {
    let directory = tempfile::tempdir().unwrap();
    let code = generate(directory.path()).unwrap();
    if std::env::var_os("IMMUOPS_GENERATE").is_some() {
        fs_err::write(CODE, &code).unwrap();
    }
    assert!(
        fs_err::read_to_string(CODE).unwrap() == code,
        "{CODE} is not current; hint: IMMUOPS_GENERATE=1 cargo test -p immudb code_is"
    );
}
