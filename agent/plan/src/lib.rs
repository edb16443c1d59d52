//! Desired and observed Kubernetes objects in, an ordered plan out.
//!
//! The pure half of the agent: what a revision of git declares ([`object`]), what the cluster was seen to hold
//! ([`live`]) and what a Sync may own ([`inventory`]) become a [`plan::Plan`] that leaves no choice to the one who carries
//! it out. The same package judges what happened afterwards: [`health`] of an object, [`drift`] from what was applied, and
//! whether a correction has become a [`fight`]. It knows no clock, no network and no file: time is an argument.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

pub mod check;
pub mod drift;
pub mod fight;
pub mod health;
pub mod immutable;
pub mod inventory;
pub mod live;
pub mod object;
pub mod plan;
