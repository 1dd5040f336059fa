//! What the file says of links: both directions, each part by itself and as they fit together.

use super::Resolver;
use crate::topology::file::{Quality, RadioLink, Reverse};
use crate::topology::{LinkQuality, QualityChange, QualityPart, RateChange};
use crate::units::{Delay, Percent};
use crate::yaml::span;

impl Resolver<'_> {
    /// Both directions of a radio link, up and down: what the file gives holds for both, and its `reverse` for down.
    pub(super) fn radio(
        &mut self,
        [up, down]: [LinkQuality; 2],
        file: Option<&RadioLink>,
    ) -> [LinkQuality; 2] {
        let Some(file) = file else { return [up, down] };
        let both = self.change(file.quality());
        let up = both.applied_to(up);
        let down = match &file.reverse {
            Some(reverse) => self.quality(both.applied_to(down), reverse.quality()),
            None => both.applied_to(down),
        };
        if self.fits(up, file.quality()) && file.reverse.is_none() {
            self.fits(down, file.quality());
        }
        [up, down]
    }

    pub(super) fn reverse(&mut self, base: LinkQuality, file: Option<&Reverse>) -> LinkQuality {
        file.map_or(base, |reverse| self.quality(base, reverse.quality()))
    }

    /// What `base` becomes by what the file says.
    pub(super) fn quality(&mut self, base: LinkQuality, file: Quality<'_>) -> LinkQuality {
        let quality = self.change(file).applied_to(base);
        self.fits(quality, file);
        quality
    }

    fn change(&mut self, file: Quality<'_>) -> QualityChange {
        QualityChange {
            one_way_delay: file.one_way_delay.and_then(|delay| self.errors.value(delay)).map(Delay::get),
            jitter: file.jitter.and_then(|jitter| self.errors.value(jitter)),
            loss: file.loss.and_then(|loss| self.errors.value(loss)),
            duplicate: file.duplicate.and_then(|share| self.errors.value(share)).map(Percent::fraction),
            reorder: file.reorder.and_then(|share| self.errors.value(share)).map(Percent::fraction),
            rate: file.rate.and_then(|rate| self.errors.value(rate)).map(RateChange::from),
            queue: file.queue.and_then(|queue| self.errors.value(queue)).map(|queue| queue.0 as u32),
        }
    }

    /// Whether the parts of a quality fit together; if not, where the file says so.
    fn fits(&mut self, quality: LinkQuality, file: Quality<'_>) -> bool {
        let Err((part, problem)) = quality.check() else { return true };
        let at = match part {
            QualityPart::Jitter => file.jitter.map(span),
            QualityPart::Reorder => file.reorder.map(span),
            QualityPart::Queue => file.queue.map(span),
        };
        // What does not fit may have come from elsewhere, and the delay alone be new.
        let at = at.or(file.one_way_delay.map(span)).unwrap_or_default();
        self.errors.report(at, problem.message, |error| error.hint(problem.hint));
        false
    }
}
