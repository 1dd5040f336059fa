//! Stems: what happened when, and how much of it.

use crate::frame::BELOW;
use crate::{Axis, Entry, Frame, Key, Picture, Scale, class, legend, mark, px};
use maud::html;

/// Series of stems over time.
#[derive(Clone, Debug)]
pub struct Stems<'a> {
    /// What they show.
    pub title: String,
    /// Time.
    pub x: Scale<'a>,
    /// How much.
    pub y: Scale<'a>,
    /// The series by name.
    pub series: Vec<(String, Vec<Stem>)>,
    /// What else happened.
    pub events: Vec<Event>,
    /// Width and height of the frame, in pixels.
    pub size: [f64; 2],
}

/// One stem.
#[derive(Clone, Debug)]
pub struct Stem {
    /// When.
    pub x: f64,
    /// How much.
    pub y: f64,
    /// What it is, for who points at it.
    pub tip: String,
    /// Where more is said about it, if it is.
    pub href: Option<String>,
}

/// Something that happened at an instant.
#[derive(Clone, Debug)]
pub struct Event {
    /// When.
    pub x: f64,
    /// What, for who points at it.
    pub tip: String,
}

impl Stems<'_> {
    /// As a picture.
    pub fn picture(&self) -> Picture {
        const LEFT: f64 = 48.0;
        let [width, height] = self.size;
        let right = LEFT + width;
        let series = self.series.iter().enumerate().map(|(index, (name, _))| Entry {
            class: class(index),
            name: name.clone(),
            key: Key::Mark(index),
        });
        let done = Entry { class: "bad".into(), name: "done to the lab".into(), key: Key::Tick };
        let entries: Vec<_> = series.chain((!self.events.is_empty()).then_some(done)).collect();
        let (keys, high) = legend(&entries, [LEFT, 4.0, right]);
        let frame = Frame { left: LEFT, top: high + 26.0, right, bottom: high + 26.0 + height };
        let stems = || self.series.iter().flat_map(|(_, stems)| stems);
        let instants = stems().map(|stem| stem.x).chain(self.events.iter().map(|event| event.x));
        let x = Axis::tight(instants.collect::<Vec<_>>().into_iter(), self.x.is_log, LEFT, right);
        let y = Axis::round(stems().map(|stem| stem.y), self.y.is_log, frame.bottom, frame.top);
        let body = html! {
            (keys)
            (frame.abscissa(&x, self.x.label))
            (frame.ordinate(&y, self.y.label))
            @for event in &self.events {
                g class="bad" {
                    path class="thin" d={ "M" (px(x.place(event.x))) " " (px(frame.top)) "V" (px(frame.bottom)) } {
                        title { (event.tip) }
                    }
                }
            }
            @for (index, (_, stems)) in self.series.iter().enumerate() {
                g class=(class(index)) {
                    @for stem in stems {
                        // Series of one instant stand side by side.
                        @let at = x.place(stem.x) + 3.0 * index as f64;
                        @let drawn = html! {
                            path class="thin" d={ "M" (px(at)) " " (px(frame.bottom)) "V" (px(y.place(stem.y))) } {}
                            path class="fill" d=(mark(index)) transform={ "translate(" (px(at)) " " (px(y.place(stem.y))) ")" } {
                                title { (stem.tip) }
                            }
                        };
                        @match &stem.href {
                            Some(href) => a href=(href) { (drawn) },
                            None => (drawn),
                        }
                    }
                }
            }
        };
        Picture { title: self.title.clone(), width: right + 20.0, height: frame.bottom + BELOW, body }
    }
}
