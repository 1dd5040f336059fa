//! The page: what is hostile stays text, and nothing comes from elsewhere.

use super::super::Key;
use super::*;
use samp_chart::Picture;

const HOSTILE: &str = "</script><script>alert(1)</script><img src=x onerror=\"alert(2)\">'\"&";

fn hostile() -> Document {
    let text = || HOSTILE.to_owned();
    let figure = |id: &str| Figure {
        id: id.to_owned(),
        title: text(),
        caption: text(),
        picture: Some(Picture {
            title: text(),
            width: 10.0,
            height: 10.0,
            body: html! { text { (HOSTILE) } },
        }),
        table: Table { header: vec![text(), text()], rows: vec![vec![text(), text()]] },
        is_half: false,
    };
    Document {
        title: text(),
        kind: "run",
        about: vec![text()],
        invalid_because: vec![text()],
        keys: vec![Key { name: text(), value: text(), detail: text() }],
        sections: vec![Section {
            id: "one",
            title: "One",
            text: vec![text()],
            figures: vec![figure("a")],
            choices: vec![Choice {
                group: text(),
                label: text(),
                took: Some(1.0),
                href: "#b".to_owned(),
                figures: vec![figure("b"), figure("c")],
            }],
        }],
    }
}

#[test]
fn whatever_is_text_stays_text() {
    let page = page(&hostile());
    assert!(!page.contains("<script") && !page.contains("<img"), "{page}");
    // Everything that was text is there, escaped.
    assert!(page.matches("&lt;/script&gt;").count() > 10);
    // Quotes do not end attributes.
    let attributes =
        page.split('<').flat_map(|tag| tag.split('>').next()).filter(|tag| tag.contains("onerror"));
    assert_eq!(attributes.filter(|tag| !tag.contains("onerror=&quot;")).count(), 0);
}

#[test]
fn the_policy_allows_the_style_sheet_and_nothing_else() {
    let page = page(&hostile());
    let style = page.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
    let hash = base64(&Sha256::digest(style));
    assert!(page.contains(&format!("default-src 'none'; style-src 'sha256-{hash}'")));
    assert!(!page.contains(" style=") && !page.contains("http://") && !page.contains("https://"));
}

#[test]
fn base64_has_the_rfcs_vectors() {
    for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
        assert_eq!(base64(bytes.as_bytes()), text);
    }
}

#[test]
fn shades_go_from_first_to_last() {
    assert_eq!(
        [None, Some(0.0), Some(1.0), Some(5.1), Some(10.0)].map(|took| shade(took, 10.0)),
        [0, 1, 1, 3, 5]
    );
    assert_eq!(shade(Some(1.0), 0.0), 0);
}
