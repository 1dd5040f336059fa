//! A document as Markdown: what to see at a glance, for a pull request or a job's summary.

use super::{Document, Table};
use std::fmt::Write;

/// Figures whose tables are part of a summary, where a document has them.
const TABLES: [&str; 7] = [
    "segments-downlink",
    "segments-registration--anchor-kept",
    "segments-registration--new-anchor",
    "call-set-up",
    "prediction",
    "effects",
    "assertions",
];

/// The document in GitHub's Markdown.
pub fn markdown(document: &Document) -> String {
    let mut text = format!("## {}\n\n{}\n\n", escaped(&document.title), escaped(&document.about.join(" · ")));
    // Writing to a String cannot fail.
    for reason in &document.invalid_because {
        let _ = writeln!(text, "> **Invalid:** {}\n", escaped(reason));
    }
    let keys = document.keys.iter().map(|key| vec![key.name.clone(), key.value.clone(), key.detail.clone()]);
    text += &table(&Table::of(&["", "", ""], keys));
    for figure in document.figures().filter(|figure| TABLES.contains(&figure.id.as_str())) {
        let _ = write!(
            text,
            "\n<details><summary>{}</summary>\n\n{}\n{}\n\n</details>\n",
            escaped(&figure.title),
            table(&figure.table),
            escaped(&figure.caption)
        );
    }
    text
}

fn table(table: &Table) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<_> = cells.iter().map(|cell| escaped(cell)).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule: Vec<_> =
        (0..table.header.len()).map(|column| if column == 0 { "---" } else { "---:" }).collect();
    let rows: String = table.rows.iter().map(|row| line(row)).collect();
    format!("{}| {} |\n{rows}", line(&table.header), rule.join(" | "))
}

/// Text that is nothing but text: no element, no link, nobody's name.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        match character {
            '\n' | '\r' | '\t' => escaped.push(' '),
            '<' | '>' | '&' | '@' | '#' => {
                let _ = write!(escaped, "&#{};", u32::from(character));
            }
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '!' => {
                escaped.push('\\');
                escaped.push(character);
            }
            other => escaped.push(other),
        }
    }
    // What looks like an address becomes none.
    escaped.replace("://", "&#58;//").replace("www.", "www&#46;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_nothing_but_text() {
        assert_eq!(escaped("a|b\nc"), "a\\|b c");
        assert_eq!(escaped("<b>@you #1"), "&#60;b&#62;&#64;you &#35;1");
        assert_eq!(escaped("[x](http://y) `z`"), "\\[x\\](http&#58;//y) \\`z\\`");
    }

    #[test]
    fn tables_have_as_many_columns_as_their_header() {
        let table = Table::of(&["a", "b"], [vec!["1".into(), "2|3".into()]]);
        assert_eq!(super::table(&table), "| a | b |\n| --- | ---: |\n| 1 | 2\\|3 |\n");
    }
}
