//! The E-model (ITU-T G.107): what a call sounds like, from its losses and its delay.
//!
//! Everything that is not measured has the default of G.107, which makes R = 93.2. The codec is G.711 with concealment of
//! losses (ITU-T G.113 Appendix I: Ie = 0, Bpl = 25.1), losses count as random (BurstR = 1), and echo is cancelled.

/// R with all defaults of G.107 §7.7.
const R_DEFAULT: f64 = 93.2;
/// Equipment impairment of G.711.
const IE: f64 = 0.0;
/// Its packet-loss robustness, with concealment.
const BPL: f64 = 25.1;

/// The transmission rating factor R, with `lost` of all packets missing (0 to 1) and so many milliseconds from mouth to ear.
pub(super) fn rating(lost: f64, delay_ms: f64) -> f64 {
    R_DEFAULT - delay_impairment(delay_ms) - equipment_impairment(lost)
}

/// Idd (G.107 §7.4): nothing up to 100 ms.
fn delay_impairment(delay_ms: f64) -> f64 {
    if delay_ms <= 100.0 {
        return 0.0;
    }
    let x = (delay_ms / 100.0).log2();
    let part = |x: f64| (1.0 + x.powi(6)).powf(1.0 / 6.0);
    25.0 * (part(x) - 3.0 * part(x / 3.0) + 2.0)
}

/// Ie,eff (G.107 §7.5).
fn equipment_impairment(lost: f64) -> f64 {
    let percent = 100.0 * lost;
    IE + (95.0 - IE) * percent / (percent + BPL)
}

/// The mean opinion score that a rating means, 1 to 4.5 (G.107 Annex B).
pub(super) fn opinion(r: f64) -> f64 {
    match r {
        ..=0.0 => 1.0,
        100.0.. => 4.5,
        _ => (1.0 + 0.035 * r + 7e-6 * r * (r - 60.0) * (100.0 - r)).max(1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn near(value: f64, expected: f64) {
        assert!((value - expected).abs() < 0.05, "{value} is not {expected}");
    }

    #[test]
    fn the_published_points_are_met() {
        // G.107: all defaults make R = 93.2 and MOS = 4.41.
        near(rating(0.0, 0.0), 93.2);
        near(opinion(93.2), 4.41);
        // G.107 Annex B, table B.1: R = 90, 80, 70, 60 and 50 are MOS 4.34, 4.03, 3.60, 3.10 and 2.58.
        for (r, mos) in [(90.0, 4.34), (80.0, 4.03), (70.0, 3.60), (60.0, 3.10), (50.0, 2.58)] {
            near(opinion(r), mos);
        }
        assert_eq!((opinion(-5.0), opinion(120.0)), (1.0, 4.5));
        assert!((0..=1000).all(|r| opinion(f64::from(r) / 10.0) >= 1.0));
        // A loss of Bpl percent costs half of what there is to lose.
        near(rating(0.251, 0.0), 93.2 - 47.5);
        // Delay begins to matter at 100 ms and costs more and more.
        assert_eq!(delay_impairment(100.0), 0.0);
        assert!(delay_impairment(200.0) < 4.0 && delay_impairment(400.0) > 20.0);
    }
}
