//! A client of the sidecar: starts it, sends requests, and hands each reply to its request. README.md shows its use.

mod client;
mod core;
mod entries;
mod json;
mod process;
mod requests;
pub mod types;

pub use client::{Event, Options, Sidecar};
pub use json::{Either, Raw, TypedAction};
pub use requests::{Call, Canceller, Failure, RequestOptions};
