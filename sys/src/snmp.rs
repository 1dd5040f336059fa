//! Counters of a network namespace, as `/proc` shows them.

use std::path::Path;
use std::{fs, io};

/// UDP datagrams, over both versions of IP, that programs in the network namespace of a process have taken from their sockets
/// (`udpInDatagrams`, RFC 4113). `process` is the process's directory in `/proc`.
///
/// # Errors
/// There is no such process, or the kernel does not count them.
pub fn datagrams_taken(process: &Path) -> io::Result<u64> {
    let of_ipv4 = ipv4(&fs::read_to_string(process.join("net/snmp"))?);
    // Not there in a kernel without IPv6.
    let of_ipv6 = fs::read_to_string(process.join("net/snmp6")).ok().and_then(|table| ipv6(&table));
    of_ipv4.map(|count| count + of_ipv6.unwrap_or(0)).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// A line of names, then one of numbers.
fn ipv4(table: &str) -> Option<u64> {
    let mut lines = table.lines().filter_map(|line| line.strip_prefix("Udp:")).map(str::split_whitespace);
    let mut pairs = lines.next()?.zip(lines.next()?);
    pairs.find(|(name, _)| *name == "InDatagrams")?.1.parse().ok()
}

/// A name and a number in each line.
fn ipv6(table: &str) -> Option<u64> {
    let mut pairs = table.lines().filter_map(|line| line.split_once(char::is_whitespace));
    pairs.find(|(name, _)| *name == "Udp6InDatagrams")?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_name() {
        let snmp = "Ip: InReceives\nIp: 9\nUdp: NoPorts InDatagrams InErrors\nUdp: 1 1234 0\n";
        assert_eq!(ipv4(snmp), Some(1234));
        assert_eq!(ipv6("Ip6InReceives                   \t9\nUdp6InDatagrams \t77\n"), Some(77));
        for nonsense in ["", "Udp: InDatagrams\n", "Udp: InDatagrams\nUdp: many\n", "Udp: A\nUdp: 1\n"] {
            assert_eq!(ipv4(nonsense), None);
        }
        assert!(datagrams_taken(Path::new("/proc/self")).is_ok());
        assert!(datagrams_taken(Path::new("/proc/0")).is_err());
    }
}
