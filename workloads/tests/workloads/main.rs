//! The workloads, from outside. One program: each more would link burn and polars once more.
#![allow(missing_docs)]

mod click_through;
mod common;
mod encoder;
mod fetched;
mod gradients;
mod held_out;
mod image_models;
mod language_model;
mod models;
mod molecules;
mod mri_reconstruction;
mod objectives;
mod sequence_to_sequence;
mod speech;
mod speech_data;
mod splits;
mod targets;
mod training;
mod variants;
