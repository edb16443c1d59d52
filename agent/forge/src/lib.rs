//! Upgrade pull requests: which release comes next, whether its image is there, what to change in a
//! repository, and the pull request that asks for it.
//!
//! The core is pure: [`shortlist`](fn@shortlist::shortlist) sorts releases, [`decide`](fn@decide::decide)
//! turns everything that was seen into one [`Decision`](decide::Decision), [`yaml`] edits one scalar of a
//! file, [`body`] writes the text. Around it, [`github`], [`gitea`] and [`registry`] ask and act, and
//! [`round`] puts one poll together. Nothing here knows of Kubernetes.

pub mod body;
pub mod chain;
pub mod credentials;
pub mod decide;
pub mod facts;
pub mod fault;
pub mod gitea;
pub mod github;
pub mod http;
pub mod image;
pub mod notes;
pub mod policy;
pub mod pull_request;
pub mod registry;
pub mod release;
pub mod round;
pub mod seam;
pub mod shortlist;
pub mod version;
pub mod yaml;

pub use seam::Forge;
