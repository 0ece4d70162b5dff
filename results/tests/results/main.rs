//! Records, scores, charts and verdicts, from outside. One program: each more would link polars once more.
#![allow(missing_docs)]

mod algoperf;
mod algoperf_defects;
mod algoperf_reference;
mod archive;
mod board;
mod bootstrap;
mod charts;
mod common;
mod compare;
mod history;
mod logtree;
mod records;
mod render;
mod report;
mod score_goldens;
mod score_properties;
mod synthetic;
mod tables;
