//! The messages and calls of `proto/immudb.proto`, generated; `tests/it/generated.rs` makes them.

#![expect(
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    unreachable_pub,
    unused_qualifications,
    reason = "generated code"
)]

include!("schema/generated.rs");
