//! Adapters against Hugging Face PEFT, and against their own manuals.
#![recursion_limit = "256"]

mod faults;
mod promises;
mod replays;
mod support;
