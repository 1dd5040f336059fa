//! `graph`: a topology or a lab as a drawing.

use super::super::{Drawing, Exit, Failure, Subject, Terminal, Which};
use super::{find, live};
use crate::graph::{Graph, dot, mermaid, svg};
use samp_model::topology;
use serde::Serialize;
use std::path::Path;

/// Draws.
pub(super) fn graph(terminal: &Terminal, subject: &Subject, output: Drawing) -> Result<Exit, Failure> {
    let is_lab = |name: &str| -> Result<bool, Failure> {
        Ok(!Path::new(name).is_file() && live()?.iter().any(|dir| dir.name() == name))
    };
    let lab = |which: &Which| -> Result<String, Failure> {
        Ok(draw(&Graph::of_lab(&find(which)?.status()?), output))
    };
    let drawing = match subject {
        Subject::Lab(which) => lab(which)?,
        Subject::Either(name) if is_lab(name)? => lab(&Which::Named(name.clone()))?,
        Subject::Either(file) => {
            let topology = topology::load(Path::new(file)).map_err(Failure::invalid)?;
            draw(&Graph::of_topology(&topology), output)
        }
    };
    #[derive(Serialize)]
    struct Drawn {
        output: &'static str,
        drawing: String,
    }
    let output = match output {
        Drawing::Dot => "dot",
        Drawing::Mermaid => "mermaid",
        Drawing::Svg => "svg",
    };
    terminal.show(&Drawn { output, drawing }, |drawn| drawn.drawing.clone())?;
    Ok(Exit::Success)
}

fn draw(graph: &Graph<'_>, output: Drawing) -> String {
    match output {
        Drawing::Dot => dot(graph),
        Drawing::Mermaid => mermaid(graph),
        Drawing::Svg => svg(graph),
    }
}
