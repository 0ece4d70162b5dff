//! Adapters against Hugging Face PEFT, and against their own manuals.
#![recursion_limit = "256"]

mod equations;
mod exports;
mod faults;
mod methods;
mod promises;
mod replays;
mod riders;
mod support;
