//! Creates machines, makes a Kubernetes cluster of them and installs immuops.
//!
//! A library beside the binary so that the tests and benchmarks of the workspace use the same code
//! as the command line: they open the bundle and drive clusters through it.

pub mod bundle;
pub mod cli;
pub mod cluster;
pub mod command;
mod digest;
pub mod edge;
pub mod image;
pub mod install;
pub mod kubeadm;
pub mod machine;
pub mod network;
pub mod pace;
pub mod pki;
pub mod poll;
pub mod problem;
pub mod provider;
mod random;
pub mod reporter;
pub mod state;
pub mod topology;
