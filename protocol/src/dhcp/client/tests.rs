//! The client against a server, and against silence.

use super::super::server::Server;
use super::*;
use samp_model::settings::AddressProfile;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 1);
const GIVEN: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 2);
const SECOND: Duration = Duration::from_secs(1);
const FOUR_MESSAGES: [&str; 5] = ["discover", "got offer", "request", "got ack", "bound 10.0.1.2"];

/// A client that has just come to a link, and a server there that expects it.
fn on_link(profile: AddressProfile, seed: u64) -> (Client, Server) {
    let settings = AddressSettings { lease: 1000 * SECOND, ..AddressSettings::of_profile(profile) };
    let mut server = Server::new(SERVER, 24, &settings);
    server.expect(MAC, GIVEN);
    let mut client = Client::new(MAC, settings, seed);
    client.handle_link_up(Time::ZERO);
    (client, server)
}

/// What happens until then, each thing with its instant. The server answers at once what `hears` says that it hears.
fn play(
    client: &mut Client,
    server: &Server,
    until: Duration,
    hears: impl Fn(&Message, Destination) -> bool,
) -> Vec<(Duration, String)> {
    let word = |kind: DhcpMessage| format!("{kind:?}").to_lowercase();
    let mut now = Time::ZERO;
    let mut story = Vec::new();
    loop {
        while let Some(output) = client.poll_output() {
            let told = match output {
                ClientOutput::Send(message, destination) => {
                    let wire = Message::decode(&message.encode()).expect("its own message");
                    assert_eq!(wire, message);
                    if let Some(answer) = server.answer(&wire).filter(|_| hears(&wire, destination)) {
                        client.handle_message(now, &answer);
                    }
                    match destination {
                        Destination::Unbound => word(message.kind),
                        Destination::Broadcast => word(message.kind) + " to all",
                        Destination::Server(_) => word(message.kind) + " to the server",
                    }
                }
                ClientOutput::Received(kind) => format!("got {}", word(kind)),
                ClientOutput::Bound(lease) => format!("bound {}", lease.address),
                ClientOutput::Lost => "lost".to_owned(),
            };
            story.push((now.since(Time::ZERO), told));
        }
        match client.poll_timeout() {
            Some(due) if due.since(Time::ZERO) <= until => {
                now = due;
                client.handle_timeout(now);
            }
            _ => return story,
        }
    }
}

fn words(story: &[(Duration, String)]) -> Vec<&str> {
    story.iter().map(|(_, word)| word.as_str()).collect()
}

#[test]
fn by_the_letter_it_takes_a_delay_and_four_messages() {
    for seed in 0..50 {
        let (mut client, server) = on_link(AddressProfile::Rfc, seed);
        let story = play(&mut client, &server, 20 * SECOND, |_, _| true);
        assert_eq!(words(&story), FOUR_MESSAGES);
        let delay = story[0].0;
        assert!(SECOND <= delay && delay <= 10 * SECOND, "{delay:?}");
        assert_eq!(story[4].0, delay);
    }
}

#[test]
fn fast_it_takes_two_messages_and_no_delay() {
    let (mut client, server) = on_link(AddressProfile::Fast, 1);
    let story = play(&mut client, &server, SECOND, |_, _| true);
    assert_eq!(words(&story), ["discover", "got ack", "bound 10.0.1.2"]);
    assert_eq!(story[2].0, Duration::ZERO);
}

#[test]
fn a_server_without_rapid_commit_offers() {
    let (mut client, _) = on_link(AddressProfile::Fast, 1);
    let (_, server) = on_link(AddressProfile::Rfc, 1);
    assert_eq!(words(&play(&mut client, &server, SECOND, |_, _| true)), FOUR_MESSAGES);
}

#[test]
fn silence_is_met_with_back_off() {
    for seed in 0..50 {
        let (mut client, server) = on_link(AddressProfile::Rfc, seed);
        let story = play(&mut client, &server, 300 * SECOND, |_, _| false);
        assert!(story.iter().all(|(_, word)| word == "discover"));
        let means = [4, 8, 16, 32, 64, 64].map(|seconds| seconds * SECOND);
        for (pair, mean) in story.windows(2).zip(means) {
            let waited = pair[1].0 - pair[0].0;
            assert!(mean - SECOND <= waited && waited <= mean + SECOND, "{waited:?} for {mean:?}");
        }
        assert!(story.len() > 6, "{story:?}");
    }
}

#[test]
fn requests_that_nobody_answers_lead_to_a_new_beginning() {
    let (mut client, _) = on_link(AddressProfile::Fast, 3);
    let (_, server) = on_link(AddressProfile::Rfc, 3);
    let story = play(&mut client, &server, 60 * SECOND, |message, _| message.kind == DhcpMessage::Discover);
    let expected =
        ["discover", "got offer", "request", "request", "request", "request", "request", "discover"];
    assert_eq!(&words(&story)[..8], expected);
}

#[test]
fn a_refusal_leads_to_a_new_beginning() {
    let (mut client, mut server) = on_link(AddressProfile::Rfc, 3);
    client.handle_timeout(client.poll_timeout().expect("a delay"));
    let Some(ClientOutput::Send(discover, _)) = client.poll_output() else { panic!("no DISCOVER") };
    let now = Time::ZERO + 10 * SECOND;
    client.handle_message(now, &server.answer(&discover).expect("an OFFER"));
    server.expect(MAC, Ipv4Addr::new(10, 0, 1, 77));
    let story = play(&mut client, &server, 60 * SECOND, |_, _| true);
    let mut expected = vec!["got offer", "request", "got nak"];
    expected.extend(["discover", "got offer", "request", "got ack", "bound 10.0.1.77"]);
    assert_eq!(words(&story), expected);
}

#[test]
fn a_lease_is_renewed_with_its_server_then_with_anybody_and_is_over_in_the_end() {
    // The lease of 1000 s: T1 is at 500 s, T2 at 875 s.
    let at_start = |client: &mut Client, server: &Server| {
        assert_eq!(words(&play(client, server, SECOND, |_, _| true)).last(), Some(&"bound 10.0.1.2"));
    };
    let fast = || on_link(AddressProfile::Fast, 5);

    let (mut client, server) = fast();
    at_start(&mut client, &server);
    let story = play(&mut client, &server, 1100 * SECOND, |_, _| true);
    let renewed = (500 * SECOND, "request to the server".to_owned());
    assert_eq!(story[..2], [renewed, (500 * SECOND, "got ack".to_owned())]);
    assert_eq!(story[2], (1000 * SECOND, "request to the server".to_owned()));

    let (mut client, server) = fast();
    at_start(&mut client, &server);
    let story = play(&mut client, &server, 900 * SECOND, |_, to| to == Destination::Broadcast);
    let rebound = story.iter().position(|(_, word)| word == "request to all").expect("rebinding");
    assert_eq!(story[rebound].0, 875 * SECOND);
    assert_eq!(story[rebound + 1].1, "got ack");
    assert!(rebound > 2 && story[..rebound].iter().all(|(_, word)| word == "request to the server"));

    let (mut client, server) = fast();
    at_start(&mut client, &server);
    let story = play(&mut client, &server, 1000 * SECOND, |_, _| false);
    let lost = story.iter().position(|(_, word)| word == "lost").expect("the end");
    assert_eq!(story[lost].0, 1000 * SECOND);
    assert_eq!(story[lost + 1].1, "discover");
}

#[test]
fn another_link_ends_what_went_on_and_the_old_answers_are_not_heard() {
    let (mut client, server) = on_link(AddressProfile::Rfc, 9);
    client.handle_timeout(client.poll_timeout().expect("a delay"));
    let Some(ClientOutput::Send(discover, Destination::Unbound)) = client.poll_output() else {
        panic!("no DISCOVER")
    };
    let offer = server.answer(&discover).expect("an OFFER");
    let now = Time::ZERO + 10 * SECOND;
    client.handle_link_up(now);
    client.handle_message(now, &offer);
    assert_eq!(client.poll_output(), None);
    client.handle_timeout(client.poll_timeout().expect("a delay"));
    // A new transaction: the offer of the old one is nobody's.
    client.poll_output().expect("a DISCOVER");
    client.handle_message(now, &offer);
    client.handle_message(now, &Message { mac: [9; 6], ..offer });
    assert_eq!(client.poll_output(), None);
}
