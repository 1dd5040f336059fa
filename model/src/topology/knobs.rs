//! The topology file's knobs, `samp:`, `media:` and `emulation:`, with their defaults filled in.

use super::file::{Addressing, Cache, CacheLifetime, Emulation, Media, Password, PerProcess, Samp};
use super::resolve::SIP_DOMAIN;
use crate::settings::{
    AddressProfile, AddressSettings, CacheSettings, Confirm, DhcpServer, EmulationSettings, MediaSettings,
    Profile, SampSettings,
};
use crate::units::{Delay, Interval, Percent};
use crate::yaml::{Errors, Keyword, Value, Whole, Word, span, span_of_all};
use serde_yaml::Spanned;
use std::num::NonZeroU16;
use std::time::Duration;

/// The shortest time between router advertisements (RFC 6275 §7.5, MinRtrAdvInterval).
const SHORTEST_RA_INTERVAL: Duration = Duration::from_millis(30);

/// What dnsmasq makes of shorter leases.
const SHORTEST_DNSMASQ_LEASE: Duration = Duration::from_secs(120);

/// Users with passwords of their own, at most.
pub(super) const MAX_USERS: usize = 256;

/// SAMP's knobs, with defaults where the file says nothing.
pub(super) fn samp(errors: &mut Errors, file: Option<&Samp>) -> SampSettings {
    let Some(file) = file else { return SampSettings::default() };
    let mut settings =
        SampSettings::of_profile(errors.value_or(file.profile.as_ref(), Word(Profile::Recommended)).0);
    let ms = Duration::from_millis;

    interval(errors, &mut settings.delta, file.delta.as_ref(), ms(1));
    settings.discovery_deadline = 4 * settings.delta;
    interval(errors, &mut settings.discovery_deadline, file.discovery_deadline.as_ref(), settings.delta);
    interval(errors, &mut settings.stale_deadline, file.stale_deadline.as_ref(), ms(1));
    interval(errors, &mut settings.ring, file.ring.as_ref(), ms(1));
    interval(errors, &mut settings.anchor_timeout, file.anchor_timeout.as_ref(), ms(1));
    interval(errors, &mut settings.anchor_probe, file.anchor_probe.as_ref(), ms(100));
    interval(errors, &mut settings.t1, file.t1.as_ref(), ms(10));
    interval(errors, &mut settings.t2, file.t2.as_ref(), settings.t1);
    interval(errors, &mut settings.t4, file.t4.as_ref(), ms(10));
    interval(errors, &mut settings.chord.stabilize_period, file.stabilize_period.as_ref(), ms(10));
    interval(errors, &mut settings.chord.peer_timeout, file.peer_timeout.as_ref(), ms(10));
    seconds(errors, &mut settings.registration_lifetime, file.registration_lifetime.as_ref());
    seconds(errors, &mut settings.min_expires, file.min_expires.as_ref());
    cache(errors, &mut settings.tier1, file.tier1.as_ref());
    cache(errors, &mut settings.tier2, file.tier2.as_ref());

    word(errors, &mut settings.anchor_select, file.anchor_select.as_ref());
    word(errors, &mut settings.mode, file.mode.as_ref());
    word(errors, &mut settings.confirm, file.confirm.as_ref());
    word(errors, &mut settings.discover, file.discover.as_ref());
    word(errors, &mut settings.update_order, file.update_order.as_ref());
    word(errors, &mut settings.stale, file.stale.as_ref());
    word(errors, &mut settings.hierarchical_registration, file.hierarchical_registration.as_ref());
    interval(errors, &mut settings.overload_lag, file.overload_lag.as_ref(), ms(1));
    if let Some(Whole(most)) = file.max_transactions.as_ref().and_then(|value| errors.value(value)) {
        settings.max_transactions = most as usize;
    }
    if let Some(Whole(rate)) = file.source_rate.as_ref().and_then(|value| errors.value(value)) {
        settings.source_rate = rate as u32;
    }
    word(errors, &mut settings.auth, file.auth.as_ref());
    word(errors, &mut settings.records, file.records.as_ref());
    passwords(errors, &mut settings, file);
    if settings.auth.is_on() && settings.confirm == Confirm::Paper {
        let given = file.auth.as_ref().map_or(0..0, span);
        errors.report(given, "the paper's confirmation of an anchor cannot be authenticated", |error| {
            error.hint("add `confirm: standard`")
        });
    }
    if let Some(Whole(ttl)) = file.multicast_ttl.as_ref().and_then(|ttl| errors.value(ttl)) {
        settings.multicast_ttl = ttl as u8;
    }
    if let Some(group) = file.discovery_group6.as_ref().and_then(|group| errors.value(group)) {
        settings.discovery_group6 = group.0;
    }
    if let Some(Whole(successors)) = file.successors.as_ref().and_then(|value| errors.value(value)) {
        settings.chord.successors = successors as usize;
    }
    if let Some(Whole(replicas)) = file.replicas.as_ref().and_then(|value| errors.value(value)) {
        settings.chord.replicas = replicas as usize;
    }
    word(errors, &mut settings.chord.durability, file.durability.as_ref());
    if let Some(Whole(virtual_nodes)) = file.virtual_nodes.as_ref().and_then(|value| errors.value(value)) {
        settings.chord.virtual_nodes = virtual_nodes as usize;
    }
    let most = settings.chord.successors + 1;
    if settings.chord.replicas > most
        && let Some(replicas) = &file.replicas
    {
        let message = "more replicas than a home server and its successors can hold";
        errors.report(span(replicas), message, |error| {
            error.hint(format!("at most `successors` + 1, which is {most}"))
        });
    }
    settings
}

/// Users of one's own.
fn passwords(errors: &mut Errors, settings: &mut SampSettings, file: &Samp) {
    for (name, password) in file.passwords.0.iter().take(MAX_USERS + 1) {
        let user = &name.value;
        let is_good =
            (1..=32).contains(&user.len()) && user.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !is_good {
            errors.report(span(name), "this is no user's name", |error| {
                error.hint("write 1 to 32 letters, digits and `-`")
            });
        } else if !settings.auth.is_on() {
            errors.report(span(name), "nobody is asked for a password", |error| {
                error.hint("add `auth: digest`")
            });
        } else if settings.passwords.len() == MAX_USERS {
            errors.report(span(name), format!("more than {MAX_USERS} users"), |error| error);
        } else if let Some(Password(password)) = errors.value(password) {
            settings.passwords.insert(format!("sip:{user}@{SIP_DOMAIN}"), password);
        }
    }
}

fn cache(errors: &mut Errors, settings: &mut CacheSettings, file: Option<&Cache>) {
    let Some(file) = file else { return };
    word(errors, &mut settings.enabled, file.enabled.as_ref());
    settings.size = errors.value_or(file.size.as_ref(), Whole(settings.size as u64)).0 as usize;
    match file.lifetime.as_ref().and_then(|lifetime| errors.value(lifetime)) {
        Some(CacheLifetime::Adaptive) => settings.adaptive = true,
        Some(CacheLifetime::Fixed(Some(lifetime))) => settings.lifetime = lifetime.get(),
        Some(CacheLifetime::Fixed(None)) | None => {}
    }
}

/// The media's knobs.
pub(super) fn media(errors: &mut Errors, file: Option<&Media>) -> MediaSettings {
    let mut settings = MediaSettings::default();
    let Some(file) = file else { return settings };
    interval(errors, &mut settings.packet_interval, file.packet_interval.as_ref(), Duration::from_millis(1));
    settings.payload_bytes =
        errors.value_or(file.payload_bytes.as_ref(), Whole(settings.payload_bytes as u64)).0 as usize;
    settings
}

/// How mobile nodes get their addresses.
pub(super) fn addressing(errors: &mut Errors, file: Option<&Addressing>) -> AddressSettings {
    let Some(file) = file else { return AddressSettings::default() };
    let mut settings =
        AddressSettings::of_profile(errors.value_or(file.profile.as_ref(), Word(AddressProfile::Rfc)).0);
    word(errors, &mut settings.address, file.address.as_ref());
    word(errors, &mut settings.dhcp_server, file.dhcp_server.as_ref());
    span_of_time(errors, &mut settings.dhcp_delay, file.dhcp_delay.as_ref(), Delay::get);
    interval(errors, &mut settings.dhcp_retransmit, file.dhcp_retransmit.as_ref(), Duration::from_millis(10));
    word(errors, &mut settings.rapid_commit, file.rapid_commit.as_ref());
    seconds(errors, &mut settings.lease, file.lease.as_ref());
    if settings.dhcp_server == DhcpServer::Dnsmasq
        && settings.lease < SHORTEST_DNSMASQ_LEASE
        && let Some(lease) = &file.lease
    {
        errors.report(span(lease), "dnsmasq lends no address for so short", |error| {
            error.hint("two minutes at least: 120s; or leave `dhcp_server` out")
        });
    }
    span_of_time(errors, &mut settings.rs_delay, file.rs_delay.as_ref(), Delay::get);
    interval(errors, &mut settings.rs_interval, file.rs_interval.as_ref(), Duration::from_millis(10));
    span_of_time(errors, &mut settings.ra_interval, file.ra_interval.as_ref(), Interval::get);
    if let Some(file) = &file.ra_interval
        && settings.ra_interval[0] < SHORTEST_RA_INTERVAL
    {
        errors.report(span_of_all(file), "advertisements come too often", |error| {
            error.hint("every 30ms at most, by RFC 6275: [30ms, 70ms]")
        });
    }
    span_of_time(errors, &mut settings.ra_delay, file.ra_delay.as_ref(), Delay::get);
    word(errors, &mut settings.dad, file.dad.as_ref());
    settings
}

/// What is asked of the emulation.
pub(super) fn emulation(errors: &mut Errors, file: Option<&Emulation>) -> EmulationSettings {
    let mut settings = EmulationSettings::default();
    let Some(file) = file else { return settings };
    settings.links = errors.value_or(file.links.as_ref(), Word(settings.links)).0;
    settings.attach = errors.value_or(file.attach.as_ref(), Word(settings.attach)).0;
    word(errors, &mut settings.trigger, file.trigger.as_ref());
    delay(errors, &mut settings.gap, file.gap.as_ref());
    delay(errors, &mut settings.make_before_break, file.make_before_break.as_ref());
    delay(errors, &mut settings.going_down, file.going_down.as_ref());
    word(errors, &mut settings.tunnels, file.tunnels.as_ref());
    settings.nodes_per_process = errors.value_or(file.nodes_per_process.as_ref(), PerProcess(None)).0;
    settings.server_cpu = file.server_cpu.as_ref().and_then(|share| server_cpu(errors, share));
    let work = file.server_work.as_ref().and_then(|work| errors.value(work));
    settings.server_work = work.map(Interval::get);
    settings
}

/// The servers' CPU quota, in thousandths of a processor: the kernel takes 1 ms a second at least.
fn server_cpu(errors: &mut Errors, file: &Value<Percent>) -> Option<NonZeroU16> {
    let thousandths = errors.value(file)?.fraction() * 1000.0;
    let quota = NonZeroU16::new(thousandths.round() as u16);
    if quota.is_none_or(|quota| (thousandths - f64::from(quota.get())).abs() > 1e-6) {
        errors.report(span(file), "no server can have just this much of a processor", |error| {
            error.hint("0.1% to 100%, in steps of 0.1%; leave it out for as much as there is")
        });
    }
    quota
}

/// Sets a lifetime of SIP's that the file may give.
fn seconds(errors: &mut Errors, setting: &mut Duration, file: Option<&Value<Interval>>) {
    interval(errors, setting, file, Duration::from_secs(1));
    if setting.subsec_nanos() != 0
        && let Some(lifetime) = file
    {
        errors.report(span(lifetime), "lifetimes count in whole seconds", |error| {
            error.hint("write it without a fraction of a second")
        });
    }
}

/// Sets the shortest and the longest of some times, which the file may give as a list.
fn span_of_time<T: Copy>(
    errors: &mut Errors,
    setting: &mut [Duration; 2],
    file: Option<&Spanned<Vec<Value<T>>>>,
    get: fn(T) -> Duration,
) {
    let Some(file) = file else { return };
    let [shortest, longest] = &file.value[..] else {
        return errors.report(span_of_all(file), "these are not two times", |error| {
            error.hint("write the shortest and the longest, as [1s, 3s]")
        });
    };
    let (Some(shortest), Some(longest)) = (errors.value(shortest), errors.value(longest)) else { return };
    *setting = [get(shortest), get(longest)];
    if setting[0] > setting[1] {
        errors.report(span_of_all(file), "the shortest time is longer than the longest", |error| {
            error.hint("write the shorter one first")
        });
    }
}

/// Sets a time that the file may give, and that may be 0.
fn delay(errors: &mut Errors, setting: &mut Duration, file: Option<&Value<Delay>>) {
    if let Some(delay) = file.and_then(|file| errors.value(file)) {
        *setting = delay.get();
    }
}

/// Sets a word that the file may give.
fn word<T: Keyword>(errors: &mut Errors, setting: &mut T, file: Option<&Value<Word<T>>>) {
    *setting = errors.value_or(file, Word(*setting)).0;
}

/// Sets a time that the file may give, and that is at least `least`.
fn interval(errors: &mut Errors, setting: &mut Duration, file: Option<&Value<Interval>>, least: Duration) {
    let Some(file) = file else { return };
    let Some(interval) = errors.value(file) else { return };
    *setting = interval.get();
    if *setting < least {
        errors
            .report(span(file), "this time is too short", |error| error.hint(format!("at least {least:?}")));
    }
}
