//! What of their CPU quotas the servers have used, and for how long they were held back.

use super::super::super::{Figure, Material, Table};
use super::DRAWN;
use crate::report::{Cpu, processors};
use samp_chart::{Bar, Bars, Entry, Key, Part};
use std::time::Duration;

/// The figure, where servers have a quota.
pub(super) fn figure(material: &Material) -> Option<Figure> {
    let thousandths = material.run.topology.emulation.server_cpu?.get();
    let quota = f64::from(thousandths) / 1000.0;
    let mut servers: Vec<_> = processors(&material.run.records, quota).into_iter().collect();
    servers.sort_by(|(_, a), (_, b)| b.share.total_cmp(&a.share));
    let title = "CPU time of the servers";
    let bar = |(name, cpu): &(&str, Cpu)| {
        let percent = 100.0 * cpu.share;
        let tip =
            format!("{name}: {percent:.1} % of its quota; {:.1} % in the busiest second", 100.0 * cpu.most);
        let part = Part { class: "s1".into(), is_pale: false, from: 0.0, length: percent, tip };
        let value = format!("{percent:.0} / {:.0} %", 100.0 * cpu.share_held_back());
        Bar { name: (*name).to_owned(), href: None, parts: vec![part], value }
    };
    let picture = Bars {
        title: title.to_owned(),
        label: "% of the quota / of the periods, held back",
        rows: servers.iter().take(DRAWN).map(bar).collect(),
        legend: vec![Entry { class: "s1".into(), name: "used".into(), key: Key::Box }],
        width: 640.0,
    };
    let row = |(name, cpu): &(&str, Cpu)| {
        let ms = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1000.0);
        vec![
            (*name).to_owned(),
            ms(cpu.used),
            format!("{:.1}", 100.0 * cpu.share),
            format!("{:.1}", 100.0 * cpu.most),
            cpu.periods.to_string(),
            cpu.periods_held_back.to_string(),
            ms(cpu.held_back),
            cpu.work().map_or("-".to_owned(), |work| format!("{:.0}", work.as_secs_f64() * 1e6)),
        ]
    };
    let header = [
        "server",
        "used ms",
        "% of quota",
        "% in busiest second",
        "periods run in",
        "held back in",
        "held back ms",
        "µs a message",
    ];
    let caption = format!(
        "Each server may use {} % of one processor. Held back is the share of the quota's periods, among those in which it ran, \
         in which it had used it up and had to wait for the next one. A datagram in a tunnel is taken for a tenth of a message.",
        f64::from(thousandths) / 10.0
    );
    Some(Figure {
        id: "servers-cpu".into(),
        title: title.to_owned(),
        caption,
        picture: Some(picture.picture()),
        table: Table::of(&header, servers.iter().map(row)),
        is_half: false,
    })
}
