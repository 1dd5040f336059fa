//! The programs that the file gives to nodes.

use super::{DraftKind, DraftNode, Resolver};
use crate::diagnostic::{quote, suggest_name};
use crate::topology::NodeId;
use crate::topology::program::{self, Mistake, Program};
use crate::yaml::{span, span_of_all};
use serde_yaml::Spanned;

impl<'f> Resolver<'f> {
    /// The programs of all nodes, one after the other; bad ones are reported.
    pub(super) fn bind_programs(&mut self, all_named: bool) -> Vec<Option<Program>> {
        let directory = self.directory.clone();
        let mut programs = Vec::with_capacity(self.nodes.len());
        for node in 0..self.nodes.len() {
            let DraftNode { kind, program, .. } = &self.nodes[node];
            let mobile = matches!(kind, DraftKind::MobileNode { .. });
            let bound = program.map(|program| self.bind_program(program, &directory, mobile, all_named));
            programs.push(bound.flatten());
        }
        programs
    }

    fn bind_program(
        &mut self,
        program: &'f Spanned<Vec<Spanned<String>>>,
        directory: &str,
        itself_mobile: bool,
        all_named: bool,
    ) -> Option<Program> {
        let texts = &program.value;
        if texts.first().is_none_or(|first| first.value.is_empty()) || texts.len() > program::MAX_ARGUMENTS {
            let message = "a program is a list: what to run, then its arguments";
            self.errors.report(span_of_all(program), message, |error| {
                error.hint(format!(
                    "write `program: [sipp, -sn, uas]`, at most {} words",
                    program::MAX_ARGUMENTS
                ))
            });
            return None;
        }
        let mut arguments = Vec::with_capacity(texts.len());
        for text in texts {
            if text.value.len() > program::MAX_ARGUMENT || text.value.contains('\0') {
                self.errors.report(span(text), "this cannot be an argument of a program", |error| {
                    error.hint(format!("at most {} bytes, none of them zero", program::MAX_ARGUMENT))
                });
                continue;
            }
            let find = |name: &str| {
                let id = *self.ids.get(name)?;
                Some((NodeId(id), matches!(self.nodes[id].kind, DraftKind::MobileNode { .. })))
            };
            match program::argument(&text.value, directory, itself_mobile, find) {
                Ok(argument) => arguments.push(argument),
                Err(mistake) => self.report_argument(text, &mistake, all_named),
            }
        }
        (arguments.len() == texts.len()).then(|| Program::new(arguments))
    }

    fn report_argument(&mut self, text: &Spanned<String>, mistake: &Mistake<'_>, all_named: bool) {
        const FILLED_IN: &str = "`{address}`, `{host}`, `{name}`, `{address_of_record}`, of another node as `{s1.address}`, or `{dir}`";
        let (message, hint) = match mistake {
            Mistake::NoNode(_) if !all_named => return,
            Mistake::NoNode(name) => {
                let names = self.nodes.iter().map(|node| node.name.as_str());
                let hint = suggest_name(name, names).unwrap_or_else(|| "define it under `nodes:`".to_owned());
                (format!("there is no node {}", quote(name)), hint)
            }
            Mistake::Brace => (
                "a brace without its other half".to_owned(),
                "write `{{` or `}}` for a brace itself".to_owned(),
            ),
            Mistake::Unknown(inside) => (
                format!("nothing is known as {}", quote(inside)),
                format!("what can be filled in: {FILLED_IN}"),
            ),
            Mistake::Lacks(inside) => (
                format!("{} is a mobile node's only", quote(inside)),
                format!("what can be filled in: {FILLED_IN}"),
            ),
        };
        self.errors.report(span(text), message, |error| error.hint(hint));
    }
}
