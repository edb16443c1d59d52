//! Where machines come from.
//!
//! A provider makes machines and makes a cluster of them; `native` is the one there is: namespaces
//! on this host.

pub mod native;
