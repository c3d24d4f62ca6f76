use proptest::prelude::*;

use super::*;

const SEQUENCE: u32 = 9;

fn message(kind: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = ((HEADER + body.len()) as u32).to_ne_bytes().to_vec();
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&2_u16.to_ne_bytes());
    bytes.extend_from_slice(&sequence.to_ne_bytes());
    bytes.extend_from_slice(&0_u32.to_ne_bytes());
    bytes.extend_from_slice(body);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = ((ATTRIBUTE + value.len()) as u16).to_ne_bytes().to_vec();
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// A listener with 3 waiting of 128, on `address`:8080.
fn listener(family: i32, address: &[u8]) -> Vec<u8> {
    let mut body = vec![0; MESSAGE];
    body[0] = family as u8;
    body[1] = 10;
    body[4..6].copy_from_slice(&8080_u16.to_be_bytes());
    body[8..8 + address.len()].copy_from_slice(address);
    body[44..48].copy_from_slice(&7_u32.to_ne_bytes());
    body[48..52].copy_from_slice(&1_u32.to_ne_bytes());
    body[56..60].copy_from_slice(&3_u32.to_ne_bytes());
    body[60..64].copy_from_slice(&128_u32.to_ne_bytes());
    body[68..72].copy_from_slice(&4242_u32.to_ne_bytes());
    body
}

fn read(bytes: &[u8]) -> (Vec<Entry>, Result<Progress, WireError>) {
    let mut entries = Vec::new();
    let outcome = decode(bytes, SEQUENCE, &mut |entry| entries.push(*entry));
    (entries, outcome)
}

#[test]
fn a_listener_is_read_with_its_drops_and_cgroup() {
    let mut body = listener(libc::AF_INET, &[127, 0, 0, 1]);
    let words: Vec<u8> = (100..109_u32).flat_map(u32::to_ne_bytes).collect();
    body.extend(attribute(ATTR_SKMEMINFO, &words));
    body.extend(attribute(8, &[0]));
    body.extend(attribute(ATTR_CGROUP_ID, &77_u64.to_ne_bytes()));
    let mut bytes = message(TCPDIAG_GETSOCK, SEQUENCE, &body);
    bytes.extend(message(NLMSG_DONE, SEQUENCE, &[0; 4]));
    let (entries, outcome) = read(&bytes);
    assert_eq!(outcome, Ok(Progress::Done));
    let entry = entries.first().expect("one listener");
    assert_eq!(entry.own, "127.0.0.1:8080".parse().expect("address"));
    assert_eq!(entry.state, states::LISTEN);
    assert_eq!((entry.queued, entry.backlog, entry.inode), (3, 128, 4242));
    assert_eq!((entry.cookie, entry.drops, entry.cgroup), (7 | 1 << 32, Some(108), Some(77)));
}

#[test]
fn addresses_keep_their_family_and_mapped_ones_become_ipv4() {
    for (family, octets, text) in [
        (libc::AF_INET, vec![0; 4], "0.0.0.0:8080"),
        (libc::AF_INET6, vec![0; 16], "[::]:8080"),
        (libc::AF_INET6, vec![0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1], "10.0.0.1:8080"),
    ] {
        let (entries, _) = read(&message(TCPDIAG_GETSOCK, SEQUENCE, &listener(family, &octets)));
        assert_eq!(entries.first().map(|entry| entry.own.to_string()).as_deref(), Some(text));
    }
}

#[test]
fn refusals_are_errors_and_what_is_left_of_another_dump_is_passed_over() {
    let refused = message(NLMSG_ERROR, SEQUENCE, &(-libc::ENOENT).to_ne_bytes());
    assert_eq!(read(&refused).1, Err(WireError::Refused(libc::ENOENT)));
    for errno in [libc::ENOENT, libc::EOPNOTSUPP] {
        assert!(WireError::Refused(errno).to_string().contains("tcp_diag"), "errno {errno}");
    }
    let failed = message(NLMSG_DONE, SEQUENCE, &(-libc::EINVAL).to_ne_bytes());
    assert_eq!(read(&failed).1, Err(WireError::Refused(libc::EINVAL)));
    let old = message(NLMSG_ERROR, SEQUENCE - 1, &(-libc::ENOENT).to_ne_bytes());
    assert_eq!(read(&old), (vec![], Ok(Progress::More)));
}

#[test]
fn every_cut_of_an_answer_is_an_error() {
    let whole = message(TCPDIAG_GETSOCK, SEQUENCE, &listener(libc::AF_INET, &[127, 0, 0, 1]));
    for length in 1..whole.len() {
        assert!(
            matches!(read(&whole[..length]), (entries, Err(WireError::Malformed(_))) if entries.is_empty())
        );
    }
}

#[test]
fn a_request_has_the_size_it_says() {
    let plain = Query { states: states::LISTEN, with_drops: true, own_port: None };
    let bytes = plain.encode(3);
    assert_eq!(bytes.len(), HEADER + REQUEST);
    assert_eq!(bytes[HEADER..HEADER + 4], [libc::AF_UNSPEC as u8, 0, 0, 1 << 6]);
    assert_eq!(u32_at(&bytes, HEADER + IDENTITY + IDENTITY_LENGTH), Some(states::LISTEN));
    let filtered = Query { own_port: Some((32_768, 60_999)), ..plain }.encode(3);
    assert_eq!(filtered.len(), HEADER + REQUEST + ATTRIBUTE + 16);
    assert_eq!(u32_at(&filtered, 0), Some(filtered.len() as u32));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), sequence in any::<u32>()) {
        let _ = decode(&bytes, sequence, &mut |_| {});
    }

    #[test]
    fn no_body_makes_it_panic(family in prop_oneof![Just(2_u8), Just(10), any::<u8>()], mut body in proptest::collection::vec(any::<u8>(), 72..140)) {
        body[0] = family;
        let _ = read(&message(TCPDIAG_GETSOCK, SEQUENCE, &body));
    }
}
