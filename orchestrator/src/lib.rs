//! The lab itself: plan, supervisor, control, command line, experiments, reports.

pub mod bundle;
pub mod calibration;
pub mod campaign;
pub mod capture;
mod cause;
pub mod cli;
pub mod client;
pub mod comparison;
pub mod doctor;
pub mod document;
pub mod experiment;
pub mod graph;
pub mod lab;
pub mod plan;
pub mod report;
pub mod reproduction;
pub mod runtime_dir;
